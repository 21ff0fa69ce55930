import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from flare_infer.gaussian import gaussian_profiles, gaussian_weights


def test_weights_follow_the_normal_curve_around_the_center():
    weights = gaussian_weights((16, 16, 16)).astype(float)
    assert weights[8, 8, 8] == 10
    # sigma = 16 / 8 = 2 voxels: two voxels away exp(-1/2).
    assert weights[10, 8, 8] == pytest.approx(10 * np.exp(-0.5), rel=1e-3)
    assert weights[6, 8, 8] == weights[10, 8, 8]


def test_weights_that_float16_cannot_hold_take_the_smallest_it_can():
    weights = gaussian_weights((32, 32, 32))
    assert weights.dtype == np.float16
    # The corner is 16 voxels = 4 sigma away on each axis: exp(-24) * 10 = 4e-10 underflows.
    smallest = weights[weights > 0].min()
    assert weights[0, 0, 0] == smallest > 0
    assert not weights.flags.writeable


def test_profiles_are_the_weights_factors():
    z, y, x = gaussian_profiles((16, 8, 12))
    product = z[:, None, None] * y[None, :, None] * x[None, None, :]
    weights = gaussian_weights((16, 8, 12)).astype(float)
    assert np.allclose(weights, 10 * product, rtol=2e-3, atol=1e-3)
    assert min(z.min(), y.min(), x.min()) > 0


@pytest.mark.parametrize("patch", [(8, 16, 12), (5, 7, 9), (1, 3, 40), (2, 2, 2), (32, 24, 48)])
def test_gaussian_weights_are_a_filtered_impulse_to_the_last_bit(patch):
    impulse = np.zeros(patch)
    impulse[tuple(side // 2 for side in patch)] = 1
    smooth = gaussian_filter(impulse, [side / 8 for side in patch], mode="constant")
    expected = (smooth / (smooth.max() / 10)).astype(np.float16)
    expected[expected == 0] = expected[expected > 0].min()
    assert np.array_equal(gaussian_weights(patch), expected)
