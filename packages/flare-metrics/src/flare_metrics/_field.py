"""Corners as points of a box: lengths, which lie near others, and marks to look them up."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arrays import array_module

__all__ = ["Spacing", "lengths_mm", "marked_field", "within_box"]

Spacing = tuple[float, ...]


def lengths_mm(steps: Any, spacing_mm: Spacing) -> Any:
    """Return the lengths of (3, n) steps, summed in the order of a distance transform."""
    z, y, x = ((steps[axis] * spacing_mm[axis]) ** 2 for axis in range(3))
    return ((z + y) + x) ** 0.5


def within_box(
    corners: NDArray[np.int32], others: NDArray[np.int32], reach: tuple[int, ...]
) -> NDArray[np.intp]:
    """Return which corners lie in the box around others, widened by a reach."""
    xp = array_module(corners)
    keep = None
    for axis, margin in enumerate(reach):
        low, high = int(others[axis].min()) - margin, int(others[axis].max()) + margin
        if int(corners[axis].min()) < low or int(corners[axis].max()) > high:
            inside = (corners[axis] >= low) & (corners[axis] <= high)
            keep = inside if keep is None else keep & inside
    if keep is None:
        keep = xp.ones(corners.shape[1], bool)
    indices: NDArray[np.intp] = xp.flatnonzero(keep)
    return indices


def marked_field(
    queries: NDArray[np.int32], targets: NDArray[np.int32], reach: tuple[int, ...]
) -> tuple[Any, Any, tuple[int, int]]:
    """Mark the targets in a box that no query can leave by a step within reach.

    Returns
    -------
    marks : (n,) bool array
        The box, flat.
    at : (n,) int64 array
        Where the queries lie in it.
    strides : (2,) int
        Of a slice and of a row.
    """
    xp = array_module(queries)
    low = [int(queries[axis].min()) - reach[axis] for axis in range(3)]
    high = [int(queries[axis].max()) + reach[axis] for axis in range(3)]
    shape = [b - a + 1 for a, b in zip(low, high, strict=True)]
    strides = shape[1] * shape[2], shape[2]
    base = low[0] * strides[0] + low[1] * strides[1] + low[2]
    marks = xp.zeros(strides[0] * shape[0], bool)
    inside = targets[:, within_box(targets, queries, reach)]
    marks[_flat(inside, strides, base)] = True
    return marks, _flat(queries, strides, base), strides


def _flat(corners: NDArray[np.int32], strides: tuple[int, int], base: int) -> Any:
    at = corners[0].astype(np.int64)
    at *= strides[0]
    at += corners[1] * np.int64(strides[1])
    at += corners[2]
    at -= base
    return at
