import numpy as np
import pytest
import torch

from flare_infer.device.place import Place
from flare_infer.device.sums import DeviceSums
from flare_infer.window_weights import window_weights
from flare_infer.windows import WindowPlan

from .device_cases import CPU


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_sums_are_those_of_the_weights_in_float64(dtype):
    windows, padded = WindowPlan(patch=(4, 5, 6)), (11, 8, 9)
    weights = window_weights(windows, padded, mode="fast")
    sums = DeviceSums(Place.open(CPU), weights, 2, padded, windows.patch)
    assert sums.ring.values.dtype == torch.float32
    rng, expected = np.random.default_rng(0), np.zeros((2, *padded))
    final = 0
    for start in windows.starts(padded):
        if start[0] > final:
            check(sums, expected, range(final, start[0]))
            final = start[0]
        sums.ring.extend(start[0] + 4)
        prediction = torch.from_numpy(rng.normal(size=(2, 4, 5, 6))).to(dtype)
        prediction = prediction.contiguous(memory_format=torch.channels_last)
        sums.add(start, prediction)
        z, y, x = (share[k] for share, k in zip(weights.shares, start, strict=True))
        place = tuple(slice(k, k + n) for k, n in zip(start, windows.patch, strict=True))
        share = np.einsum("i,j,k->ijk", z, y, x, dtype=np.float64)
        expected[(slice(None), *place)] += prediction.double().numpy() * share
    check(sums, expected, range(final, padded[0]))


def check(sums, expected, planes):
    """Planes that are final, and the one before them, are as they should be."""
    for z in range(max(0, planes.start - 1), planes.stop):
        ((slots, _),) = sums.ring.parts(z, z + 1)
        found = sums.ring.values[:, slots][:, 0].numpy()
        np.testing.assert_allclose(found, expected[:, z], atol=1e-6)
