import numpy as np
import pytest

from flare_infer.gaussian import gaussian_profiles, gaussian_weights
from flare_infer.window_weights import window_weights
from flare_infer.windows import WindowPlan


def sums(windows, shape, mode):
    weights = window_weights(windows, shape, mode=mode)
    total = np.zeros(shape)
    for start in windows.starts(shape):
        z, y, x = start
        for k in range(windows.patch[0]):
            plane = weights.plane(start, k)
            assert plane.dtype == np.float32
            total[z + k, y : y + windows.patch[1], x : x + windows.patch[2]] += plane
    return total


@pytest.mark.parametrize("shape", [(8, 8, 8), (9, 20, 13), (31, 8, 16)])
@pytest.mark.parametrize("step", [0.3, 0.5, 1.0])
def test_shares_add_up_to_one_everywhere(shape, step):
    windows = WindowPlan(patch=(8, 8, 8), step=step)
    assert not window_weights(windows, shape, mode="fast").summed
    assert np.allclose(sums(windows, shape, "fast"), 1, atol=1e-6)


def test_shares_are_the_weights_divided_by_their_sums():
    windows, shape = WindowPlan(patch=(6, 4, 8)), (9, 10, 8)
    shares = window_weights(windows, shape, mode="fast")
    z, y, x = gaussian_profiles((6, 4, 8))
    plain = z[:, None, None] * y[None, :, None] * x[None, None, :]
    total = np.zeros(shape)
    for a, b, c in windows.starts(shape):
        total[a : a + 6, b : b + 4, c : c + 8] += plain
    for a, b, c in windows.starts(shape):
        expected = plain / total[a : a + 6, b : b + 4, c : c + 8]
        found = np.stack([shares.plane((a, b, c), k) for k in range(6)])
        assert np.allclose(found, expected, rtol=1e-6)


def test_exact_weights_are_nnunets_map():
    windows = WindowPlan(patch=(6, 4, 8))
    weights = window_weights(windows, (9, 10, 8), mode="exact")
    assert weights.summed
    found = np.stack([weights.plane((0, 0, 0), k) for k in range(6)])
    assert np.array_equal(found, gaussian_weights((6, 4, 8)))


def test_windows_that_may_be_skipped_have_a_map_without_zeros():
    windows = WindowPlan(patch=(6, 4, 8), layout="flare22")
    weights = window_weights(windows, (9, 10, 8), mode="fast")
    assert weights.summed
    assert weights.plane((0, 0, 0), 0).min() > 0
    assert weights.plane((0, 0, 0), 3).max() == 1
