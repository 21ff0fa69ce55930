"""Where the windows of a sliding-window pass lie, and how they are weighted."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["WindowPlan", "gaussian_profiles", "gaussian_weights", "window_starts"]

Shape = tuple[int, int, int]
_SIGMA_OF_SIDE = 1 / 8
_PEAK = 10.0


@dataclass(frozen=True, kw_only=True)
class WindowPlan:
    """Size and spacing of the windows.

    Parameters
    ----------
    patch : (3,) int
        Size of a window in voxels (z, y, x) of the network's grid.
    step : float
        Distance of neighboring windows as a share of the window, in (0, 1].
    mirror_axes : tuple of int
        Axes (0 = z) along which the net was trained with mirrored input; test-time augmentation
        averages over all their combinations.

    Examples
    --------
    >>> plan = WindowPlan(patch=(4, 4, 4))
    >>> plan.starts((6, 4, 4))
    [(0, 0, 0), (2, 0, 0)]
    """

    patch: Shape
    step: float = 0.5
    mirror_axes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        patch = tuple(int(side) for side in self.patch)
        axes = tuple(int(axis) for axis in self.mirror_axes)
        if len(patch) != 3 or min(patch) < 1:
            raise ValueError(f"patch must be three positive sizes (z, y, x), got {self.patch}")
        if not 0 < self.step <= 1:
            raise ValueError(f"step must be in (0, 1], got {self.step}")
        if len(set(axes)) != len(axes) or not set(axes) <= {0, 1, 2}:
            raise ValueError(f"mirror_axes must be different axes of 0, 1, 2, got {axes}")
        object.__setattr__(self, "patch", patch)
        object.__setattr__(self, "mirror_axes", axes)

    def padded_shape(self, shape: Sequence[int]) -> Shape:
        """Return the shape after padding to at least one window."""
        z, y, x = (max(n, side) for n, side in zip(shape, self.patch, strict=True))
        return z, y, x

    def starts(self, shape: Sequence[int]) -> list[Shape]:
        """Return the first voxel of every window over a padded shape, z outermost."""
        z, y, x = (
            window_starts(n, side, step=self.step)
            for n, side in zip(shape, self.patch, strict=True)
        )
        return list(product(z, y, x))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` is the way back."""
        return {
            "patch": list(self.patch),
            "step": self.step,
            "mirror_axes": list(self.mirror_axes),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> WindowPlan:
        """Return the plan of a dict made by `to_dict`."""
        return cls(
            patch=tuple(fields["patch"]),
            step=float(fields["step"]),
            mirror_axes=tuple(fields["mirror_axes"]),
        )


def window_starts(length: int, window: int, *, step: float) -> list[int]:
    """Return where windows start along one axis: evenly, first at 0, last flush with the end.

    The rule of nnU-Net: as few windows as reach from end to end with steps of at most
    ``step * window``, at rounded even distances (halves to the even number).

    Parameters
    ----------
    length, window : int
        Voxels of the axis and of the window; ``length >= window``.
    step : float
        In (0, 1].

    Examples
    --------
    >>> window_starts(110, 64, step=0.5)
    [0, 23, 46]
    """
    if length < window:
        raise ValueError(f"length must be at least the window, got {length} < {window}")
    free = length - window
    count = math.ceil(free / (window * step)) + 1
    if count == 1:
        return [0]
    # Multiplied in this order, as nnU-Net does: the rounding of halves depends on it.
    distance = free / (count - 1)
    return [round(distance * k) for k in range(count)]


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
    from scipy.ndimage import gaussian_filter

    impulse = np.zeros(patch)
    impulse[tuple(side // 2 for side in patch)] = 1
    # Filtered as a volume, not as an outer product: the last bit decides float16's rounding.
    smooth = gaussian_filter(
        impulse, [side * _SIGMA_OF_SIDE for side in patch], 0, mode="constant", cval=0
    )
    smooth /= smooth.max() / _PEAK
    weights: NDArray[np.float16] = smooth.astype(np.float16)
    weights[weights == 0] = weights[weights > 0].min()
    weights.flags.writeable = False
    return weights


def _profile(side: int) -> NDArray[np.float64]:
    from scipy.ndimage import gaussian_filter1d

    impulse = np.zeros(side)
    impulse[side // 2] = 1
    curve: NDArray[np.float64] = gaussian_filter1d(impulse, side * _SIGMA_OF_SIDE, mode="constant")
    curve /= curve.max()
    # Beyond four sigma the filter gives 0: such a voxel still needs a weight.
    curve[curve == 0] = curve[curve > 0].min()
    return curve
