import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.augment.resolution import blur_, lower_resolution_


def volume(shape=(7, 9, 11), seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def blurred_by_convolution(image, sigmas):
    """Return the blur as batchgeneratorsv2 defines it: its kernel sizes, mirrored borders."""
    image = image.double()[None, None]
    for axis, sigma in enumerate(sigmas):
        wanted = 4 * sigma + 0.5
        size = round(wanted)
        if size % 2 == 0:
            size += 1 if wanted - size >= 0 else -1
        offsets = torch.arange(size).double() - (size - 1) / 2
        kernel = torch.exp(-0.5 * (offsets / sigma) ** 2)
        kernel /= kernel.sum()
        pads = [0] * 6
        pads[4 - 2 * axis] = pads[5 - 2 * axis] = size // 2
        shape = [1] * 5
        shape[2 + axis] = size
        image = F.conv3d(F.pad(image, pads, mode="reflect"), kernel.view(shape))
    return image[0, 0]


@settings(max_examples=20, deadline=None)
@given(st.tuples(*[st.floats(0.5, 1.6)] * 3))
def test_blur_equals_a_padded_convolution(sigmas):
    before = volume()
    after = blur_(before.clone(), sigmas)
    np.testing.assert_allclose(after, blurred_by_convolution(before, sigmas), atol=1e-5)


@pytest.mark.parametrize(("sigma", "weights"), [(0.874, 3), (0.875, 5), (1.0, 5), (1.375, 7)])
def test_blur_reaches_as_far_as_in_batchgenerators(sigma, weights):
    line = torch.zeros(1, 1, 21)
    line[0, 0, 10] = 1
    assert (blur_(line, (sigma,) * 3) != 0).sum() == weights


def test_blur_keeps_constants_and_thin_axes():
    constant = torch.full((1, 2, 3), 2.0)
    torch.testing.assert_close(blur_(constant.clone(), (1.0, 1.0, 1.0)), constant)


@pytest.mark.parametrize("share", [0.5, 0.62, 0.99])
def test_low_resolution_is_nearest_down_and_linear_up(share):
    before = volume()
    deep = lower_resolution_(before.clone(), share, in_plane=False)
    size = [round(length * share) for length in before.shape]
    # Which voxels are kept: those whose middle is nearest to the middle of the coarse ones.
    kept = [
        np.floor((np.arange(n) + 0.5) * length / n).astype(int)
        for n, length in zip(size, before.shape, strict=True)
    ]
    thin = before.numpy()[np.ix_(*kept)]
    expected = thin.astype(np.float64)
    for axis, (n, length) in enumerate(zip(size, before.shape, strict=True)):
        places = np.clip((np.arange(length) + 0.5) * n / length - 0.5, 0, n - 1)
        expected = np.apply_along_axis(
            lambda line, places=places, n=n: np.interp(places, np.arange(n), line), axis, expected
        )
    np.testing.assert_allclose(deep, expected, atol=1e-5)


def test_low_resolution_in_the_plane_treats_slices_alone():
    before = volume()
    flat = lower_resolution_(before.clone(), 0.6, in_plane=True)
    for index, plane in enumerate(before):
        alone = lower_resolution_(plane[None].clone(), 0.6, in_plane=True)
        torch.testing.assert_close(flat[index], alone[0])
    whole = before.clone()
    assert torch.equal(lower_resolution_(whole, 1.0, in_plane=True), before)


def test_low_resolution_of_single_voxels_stays():
    dot = torch.full((1, 1, 1), 4.0)
    assert lower_resolution_(dot.clone(), 0.3, in_plane=False).item() == 4.0
