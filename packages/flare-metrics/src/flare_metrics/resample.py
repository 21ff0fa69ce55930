"""A label map on another grid, by its place in the patient.

Nearest neighbor only: labels have no values between them. Nothing calls this unasked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.files import LabelMap
from flare_metrics.grid import Grid

__all__ = ["resampled"]

# Coordinates halfway between two voxels must not be decided by rounding errors.
_HALF = 0.5 + 1e-6


def resampled(labels: LabelMap, grid: Grid) -> LabelMap:
    """Return a label map on another grid, by nearest neighbor in patient space.

    Parameters
    ----------
    labels : LabelMap
    grid : Grid
        Where the voxels of the result lie.

    Returns
    -------
    LabelMap
        Voxels outside of the given map are 0. Halfway between two voxels the one of higher index
        counts.

    Notes
    -----
    One slice at a time: needs the result and a few slices of memory. Axes that run along those of
    the given map are indexed one by one; an oblique grid takes two to three times as long.

    Examples
    --------
    >>> array = np.arange(8, dtype=np.uint8).reshape(2, 2, 2)
    >>> fine = Grid((2, 2, 4), (1, 1, 0.5), np.diag([1, 1, 0.5, 1]))
    >>> coarse = Grid((2, 2, 2), (1, 1, 1), np.eye(4))
    >>> resampled(LabelMap(array, coarse), fine).array[0].tolist()
    [[0, 1, 1, 0], [2, 3, 3, 0]]
    """
    index = np.linalg.solve(labels.grid.affine, grid.affine)[:3]
    result = np.zeros(grid.shape, labels.array.dtype)
    straight = np.abs(index[:, :3]) > 1e-6 * np.abs(index[:, :3]).max(axis=1, keepdims=True)
    if (straight.sum(axis=0) == 1).all() and (straight.sum(axis=1) == 1).all():
        _along_axes(labels.array, index, result)
    else:
        for z in range(grid.shape[0]):
            _oblique_slice(labels.array, index, result[z], z)
    return LabelMap(result, grid)


def _along_axes(source: NDArray[Any], index: NDArray[Any], result: NDArray[Any]) -> None:
    """Fill a grid whose every axis runs along one axis of the source."""
    order = [int(np.abs(index[:, axis]).argmax()) for axis in range(3)]
    turned = source.transpose(order)
    taken, inside = [], []
    for axis, own in enumerate(order):
        steps = np.arange(result.shape[axis])
        nearest = np.floor(index[own, axis] * steps + index[own, 3] + _HALF).astype(np.int64)
        valid = np.flatnonzero((nearest >= 0) & (nearest < turned.shape[axis]))
        inside.append(valid)
        taken.append(nearest[valid])
    for z, nearest in zip(inside[0], taken[0], strict=True):
        result[z][np.ix_(*inside[1:])] = turned[nearest][np.ix_(*taken[1:])]


def _oblique_slice(source: NDArray[Any], index: NDArray[Any], result: NDArray[Any], z: int) -> None:
    rows = np.arange(result.shape[0])[:, None]
    columns = np.arange(result.shape[1])
    inside = np.ones(result.shape, bool)
    nearest = []
    for axis, size in enumerate(source.shape):
        start = index[axis, 0] * z + index[axis, 3] + _HALF
        place = np.floor(start + index[axis, 1] * rows + index[axis, 2] * columns)
        inside &= (place >= 0) & (place < size)
        nearest.append(place)
    result[inside] = source[tuple(place[inside].astype(np.int64) for place in nearest)]
