"""Distances between surface voxels that all count the same, as several tools define them.

A surface voxel belongs to the mask and has a face neighbor that does not; outside the array is
background. Distances run between voxel centers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arrays import array_module, on_host
from flare_metrics._nearest import nearest_distances

__all__ = ["voxel_hausdorff", "voxel_mean_distance"]

_Distances = tuple[NDArray[np.float64], NDArray[np.float64]]


def voxel_hausdorff(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    percentile: float,
    *,
    pooled: bool,
) -> float:
    """Return a percentile of the distances in mm; of both directions together, or the larger.

    Examples
    --------
    >>> a, b = np.zeros((2, 1, 9), bool)
    >>> a[0, 0] = b[0, 4] = True
    >>> voxel_hausdorff(a, b, (1.0, 1.0), 95.0, pooled=False)
    4.0
    """
    both = _distances(prediction, reference, spacing_mm)
    if isinstance(both, float):
        return both
    groups = [np.concatenate(both)] if pooled else list(both)
    return max(float(np.percentile(group, percentile)) for group in groups)


def voxel_mean_distance(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    direction: str,
    *,
    pooled: bool,
) -> float:
    """Return the mean distance in mm; the symmetric one of a pooled pair is the mean of means.

    Examples
    --------
    >>> a, b = np.zeros((2, 1, 9), bool)
    >>> a[0, 0] = b[0, 4:6] = True
    >>> voxel_mean_distance(a, b, (1.0, 1.0), "symmetric", pooled=True)
    4.25
    """
    both = _distances(prediction, reference, spacing_mm)
    if isinstance(both, float):
        return both
    if direction != "symmetric":
        return float(both[0 if direction == "prediction" else 1].mean())
    if pooled:
        return float((both[0].mean() + both[1].mean()) / 2)
    return float(np.concatenate(both).mean())


def _distances(
    prediction: NDArray[np.bool_], reference: NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> _Distances | float:
    """Distances both ways, in main memory; NaN or infinity where a mask is empty."""
    surfaces = [_surface_voxels(mask) for mask in (prediction, reference)]
    empty = [surface.shape[1] == 0 for surface in surfaces]
    if any(empty):
        return math.nan if all(empty) else math.inf
    spacing = (1.0,) * (3 - len(spacing_mm)) + spacing_mm
    there = nearest_distances(*surfaces, spacing_mm=spacing)
    back = nearest_distances(*reversed(surfaces), spacing_mm=spacing)
    return on_host(there), on_host(back)


def _surface_voxels(mask: NDArray[np.bool_]) -> Any:
    """Return the (3, n) int32 indices of surface voxels."""
    xp = array_module(mask)
    low = _first_voxel(mask)
    if low is None:
        return xp.zeros((3, 0), np.int32)
    box = mask[low[1]]
    # A border of background, so that the edge of the array is like any other.
    framed = xp.pad(box, 1)
    inner = box.copy()
    for axis in range(mask.ndim):
        for start, stop in ((0, -2), (2, None)):
            part = [slice(1, -1)] * mask.ndim
            part[axis] = slice(start, stop)
            inner &= framed[tuple(part)]
    found = xp.stack(xp.nonzero(box & ~inner)).astype(np.int32)
    found += xp.asarray(low[0], np.int32)[:, None]
    missing = 3 - mask.ndim
    return xp.concatenate([xp.zeros((missing, found.shape[1]), np.int32), found])


def _first_voxel(mask: NDArray[np.bool_]) -> tuple[list[int], tuple[slice, ...]] | None:
    """Return the first corner of the box around a mask, and the box."""
    xp = array_module(mask)
    low, box = [], []
    for axis in range(mask.ndim):
        used = xp.flatnonzero(mask.any(axis=tuple(k for k in range(mask.ndim) if k != axis)))
        if not used.size:
            return None
        low.append(int(used[0]))
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return low, tuple(box)
