"""How much each window counts at each of its voxels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.gaussian import gaussian_profiles, gaussian_weights
from flare_infer.spec import Mode
from flare_infer.windows import Start, WindowPlan

__all__ = ["MapWeights", "ShareWeights", "window_weights"]


@dataclass(frozen=True, eq=False)
class MapWeights:
    """One weight map for all windows; what they sum to must be divided out.

    Parameters
    ----------
    map : (z, y, x) float32 array
        Of one window.
    """

    map: NDArray[np.float32]
    summed = True

    def plane(self, start: Start, k: int) -> NDArray[np.float32]:
        """Return the weights (y, x) in plane ``k`` of the window that starts there."""
        plane: NDArray[np.float32] = self.map[k]
        return plane


@dataclass(frozen=True, eq=False)
class ShareWeights:
    """Weights that sum to 1 at every voxel, for windows at all combinations of axis positions.

    The sum of an outer product over a full grid is the outer product of three sums, so each axis is
    divided by its own sum beforehand: no sum of weights is kept, nothing is divided later.

    Parameters
    ----------
    shares : three mappings
        For each axis, from the start of a window to its weights along the axis.
    """

    shares: tuple[Mapping[int, NDArray[np.float32]], ...]
    summed = False

    def plane(self, start: Start, k: int) -> NDArray[np.float32]:
        """Return the weights (y, x) in plane ``k`` of the window that starts there."""
        z, y, x = (share[first] for share, first in zip(self.shares, start, strict=True))
        plane: NDArray[np.float32] = np.multiply.outer(z[k] * y, x)
        return plane


def window_weights(
    windows: WindowPlan, shape: Sequence[int], *, mode: Mode
) -> MapWeights | ShareWeights:
    """Return the weights of a plan's windows over a padded shape.

    ``exact``: nnU-Net's map. ``fast``: the same curves without float16's rounding; shares where the
    windows form a full grid.

    Examples
    --------
    >>> weights = window_weights(WindowPlan(patch=(1, 1, 4)), (1, 1, 6), mode="fast")
    >>> a, b = (weights.plane((0, 0, x), 0)[0] for x in (0, 2))
    >>> (a[:2].tolist(), (a[2:] + b[:2]).tolist(), b[2:].tolist())
    ([1.0, 1.0], [1.0, 1.0], [1.0, 1.0])
    """
    if mode == "exact":
        return MapWeights(gaussian_weights(windows.patch).astype(np.float32))
    profiles = gaussian_profiles(windows.patch)
    if windows.layout != "grid":
        z, y, x = profiles
        product = np.multiply.outer(np.multiply.outer(z, y), x).astype(np.float32)
        return MapWeights(np.maximum(product, np.finfo(np.float32).tiny))
    axes = zip(windows.axis_starts(shape), profiles, shape, strict=True)
    return ShareWeights(tuple(_shares(*axis) for axis in axes))


def _shares(
    starts: Sequence[int], profile: NDArray[Any], length: int
) -> dict[int, NDArray[np.float32]]:
    total = np.zeros(length)
    for first in starts:
        total[first : first + len(profile)] += profile
    return {
        first: (profile / total[first : first + len(profile)]).astype(np.float32)
        for first in starts
    }
