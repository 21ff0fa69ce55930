"""The bell that weights a window: most in its middle, nowhere 0."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flare_infer.windows import Shape

__all__ = ["gaussian_profiles", "gaussian_weights"]

_SIGMA_OF_SIDE = 1 / 8
_PEAK = 10.0
_CUT_OFF_SIGMAS = 4.0


def gaussian_profiles(patch: Sequence[int]) -> list[NDArray[np.float64]]:
    """Return the window's weight along each axis; their outer product is the weight map.

    A normal curve around voxel ``n // 2`` with sigma ``n / 8``, cut off beyond four sigma as
    ``scipy.ndimage.gaussian_filter`` does, with peak 1.
    """
    return [_profile(int(side)) for side in patch]


@lru_cache(maxsize=8)
def gaussian_weights(patch: Shape) -> NDArray[np.float16]:
    """Return nnU-Net's weight map of a window, (z, y, x) float16, peak 10, nowhere 0.

    Weights that float16 cannot hold take the smallest one that it can, so that no voxel is left
    without weight. Read-only; cached by size.

    Examples
    --------
    >>> weights = gaussian_weights((8, 8, 8))
    >>> float(weights.max()), bool((weights > 0).all())
    (10.0, True)
    """
    z, y, x = (_smoothed_impulse(side) for side in patch)
    # Filtered axis after axis, an impulse is this product to the last bit, in this order.
    smooth = (z[:, None] * y)[:, :, None] * x
    smooth /= smooth.max() / _PEAK
    weights: NDArray[np.float16] = smooth.astype(np.float16)
    weights[weights == 0] = weights[weights > 0].min()
    weights.flags.writeable = False
    return weights


def _profile(side: int) -> NDArray[np.float64]:
    curve = _smoothed_impulse(side)
    curve /= curve.max()
    # Beyond four sigma the filter gives 0: such a voxel still needs a weight.
    curve[curve == 0] = curve[curve > 0].min()
    return curve


def _smoothed_impulse(side: int) -> NDArray[np.float64]:
    """Return what scipy's ``gaussian_filter1d`` makes of a 1 at ``side // 2``, bit by bit."""
    sigma = side * _SIGMA_OF_SIDE
    radius = int(_CUT_OFF_SIGMAS * sigma + 0.5)
    offsets = np.arange(-radius, radius + 1)
    kernel = np.exp(-0.5 / (sigma * sigma) * offsets**2)
    kernel /= kernel.sum()
    middle = side // 2
    first, last = max(0, middle - radius), min(side, middle + radius + 1)
    curve = np.zeros(side)
    curve[first:last] = kernel[first - middle + radius : last - middle + radius]
    return curve
