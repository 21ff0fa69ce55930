"""Slices brought to an even, straight grid: shear within slices, interpolation between them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io._dicom_geometry import Arrangement

__all__ = ["PADDING_HU", "on_even_grid"]

PADDING_HU = -1024.0
"""Value of the corners that a shear opens: air."""


def on_even_grid(stack: NDArray[Any], arrangement: Arrangement) -> NDArray[Any]:
    """Return the stack on the arrangement's grid, in the stack's own type.

    Parameters
    ----------
    stack : (n, y, x) array
        The slices as read, in the arrangement's order.

    Returns
    -------
    (z, y, x) array
        The very same array where nothing is sheared, missing or uneven. Slices that lie on the grid
        keep their values to the bit, unless they are sheared; interpolated integers are rounded to
        nearest.
    """
    if arrangement.shift_mm.any():
        stack = _sheared(stack, arrangement)
    if arrangement.count == len(stack) and _on_grid(arrangement):
        return stack
    return _interpolated(stack, arrangement)


def _on_grid(arrangement: Arrangement) -> bool:
    apart = np.abs(arrangement.distances_mm - arrangement.targets_mm).max()
    return bool(apart <= arrangement.tolerance_mm)


def _sheared(stack: NDArray[Any], arrangement: Arrangement) -> NDArray[Any]:
    """Move each slice sideways to where it lies in the patient, linear interpolation."""
    from scipy import ndimage

    margins = arrangement.margins
    sheared = np.empty((len(stack), *arrangement.shape[1:]), dtype=stack.dtype)
    per_mm = arrangement.shift_mm / arrangement.pixel_spacing_mm
    for k, distance in enumerate(arrangement.distances_mm):
        moved = ndimage.affine_transform(
            stack[k].astype(np.float64),
            np.ones(2),
            offset=-(distance * per_mm + margins[:, 0]),
            output_shape=arrangement.shape[1:],
            order=1,
            mode="constant",
            cval=PADDING_HU,
        )
        sheared[k] = _as_type(moved, stack.dtype)
    return sheared


def _interpolated(stack: NDArray[Any], arrangement: Arrangement) -> NDArray[Any]:
    """Interpolate linearly between the two nearest slices."""
    known = arrangement.distances_mm
    grid = np.empty((arrangement.count, *stack.shape[1:]), dtype=stack.dtype)
    for k, target in enumerate(arrangement.targets_mm):
        nearest = int(np.abs(known - target).argmin())
        if abs(known[nearest] - target) <= arrangement.tolerance_mm:
            grid[k] = stack[nearest]
            continue
        above = int(np.searchsorted(known, target))
        weight = (target - known[above - 1]) / (known[above] - known[above - 1])
        mixed = (1 - weight) * stack[above - 1].astype(np.float64) + weight * stack[above]
        grid[k] = _as_type(mixed, stack.dtype)
    return grid


def _as_type(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    return (np.rint(values) if dtype.kind == "i" else values).astype(dtype)
