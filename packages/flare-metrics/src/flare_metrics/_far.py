"""Nearest distances where the partner is not next door.

Three exact ways. Along rows: the distance to the nearest target in each row is known from two
sweeps, so only the rows around a query are visited. A k-d tree: for few queries, or far ones.
All pairs: on a device, and for a handful.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arrays import array_module, is_on_host
from flare_metrics._field import Spacing, lengths_mm, marked_field, within_box

__all__ = ["far_distances", "far_seconds"]

# Rough costs, to choose by.
_SWEEP_SECONDS = 6e-9
_VISIT_SECONDS = 4e-9
_TREE_SECONDS = 3e-7
_QUERY_SECONDS = 3e-6
_START_SECONDS = 2e-4
_ROWS_AROUND = 800
_PAIRS_AT_ONCE = 1 << 24


def far_seconds(queries: int, targets: int, voxels: int) -> float:
    """Estimate what `far_distances` would take on the host."""
    rows = voxels * _SWEEP_SECONDS + queries * _ROWS_AROUND / 4 * _VISIT_SECONDS
    tree = targets * _TREE_SECONDS + queries * _QUERY_SECONDS
    return _START_SECONDS + min(rows, tree)


def far_distances(
    queries: NDArray[np.int32],
    targets: NDArray[np.int32],
    *,
    spacing_mm: Spacing,
    limit_mm: float = math.inf,
) -> NDArray[np.float64]:
    """Return the distance in mm from each query to the nearest target, infinity beyond a limit.

    Parameters
    ----------
    queries, targets : (3, n), (3, m) int32 array
        Corner coordinates, at least one each.
    spacing_mm : (3,) float
    limit_mm : float

    Returns
    -------
    (n,) float64 array
    """
    if not is_on_host(queries):
        all_pairs: NDArray[np.float64] = _all_pairs(queries, targets, spacing_mm, limit_mm)
        return all_pairs
    distances = np.full(queries.shape[1], math.inf)
    disc = _disc(spacing_mm, min(limit_mm, _disc_radius_mm(spacing_mm)))
    near = within_box(queries, targets, disc.reach)
    if near.size and _rows_seconds(queries[:, near], disc) < _tree_seconds(near.size, targets):
        _search_rows(queries[:, near], targets, disc, near, distances)
        if limit_mm <= disc.radius_mm:
            return distances
    unknown = np.flatnonzero(np.isinf(distances))
    if unknown.size:
        distances[unknown] = _by_tree(queries[:, unknown], targets, spacing_mm, limit_mm)
    return distances


@dataclass(frozen=True, eq=False)
class _Disc:
    """Steps (z, y) to all rows within a radius, nearest first, with the squares of distance."""

    radius_mm: float
    row_mm: float
    steps: NDArray[np.int64]
    squares: NDArray[np.float64]
    starts: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        z, y = (int(n) for n in np.abs(self.steps).max(axis=1))
        return z, y, int(self.radius_mm / self.row_mm) + 1


@lru_cache(maxsize=64)
def _disc(spacing_mm: Spacing, radius_mm: float) -> _Disc:
    reach = [int(radius_mm / spacing) + 1 for spacing in spacing_mm[:2]]
    steps = np.mgrid[tuple(slice(-n, n + 1) for n in reach)].reshape(2, -1)
    squares = (steps[0] * spacing_mm[0]) ** 2 + (steps[1] * spacing_mm[1]) ** 2
    order = np.argsort(squares, kind="stable")
    order = order[squares[order] ** 0.5 <= radius_mm]
    steps, squares = steps[:, order], squares[order]
    starts = np.flatnonzero(np.diff(squares, prepend=-1.0, append=math.inf))
    return _Disc(radius_mm, spacing_mm[2], steps, squares, tuple(starts.tolist()))


def _disc_radius_mm(spacing_mm: Spacing) -> float:
    return float((_ROWS_AROUND * spacing_mm[0] * spacing_mm[1] / math.pi) ** 0.5)


def _rows_seconds(queries: NDArray[np.int32], disc: _Disc) -> float:
    extents = queries.max(axis=1) - queries.min(axis=1)
    voxels = math.prod(
        int(n) + 2 * margin + 1 for n, margin in zip(extents, disc.reach, strict=True)
    )
    visits = queries.shape[1] * disc.squares.size / 2
    return float(voxels * _SWEEP_SECONDS + visits * _VISIT_SECONDS)


def _tree_seconds(queries: int, targets: NDArray[np.int32]) -> float:
    return float(targets.shape[1] * _TREE_SECONDS + queries * _QUERY_SECONDS)


def _search_rows(
    queries: NDArray[np.int32],
    targets: NDArray[np.int32],
    disc: _Disc,
    near: NDArray[np.intp],
    distances: NDArray[np.float64],
) -> None:
    """Write the distances up to the radius of the disc."""
    marks, at, strides = marked_field(queries, targets, disc.reach)
    gaps = _row_gaps(marks.reshape(-1, strides[1])).reshape(-1)
    del marks
    steps = disc.steps[0] * strides[0] + disc.steps[1] * strides[1]
    # By gap in voxels: the square of its length.
    gap_squares = (np.arange(int(gaps.max()) + 1) * disc.row_mm) ** 2
    best = np.full(at.size, math.inf)
    for start, stop in zip(disc.starts[:-1], disc.starts[1:], strict=True):
        unbeaten = np.flatnonzero(best > disc.squares[start])
        if unbeaten.size < at.size:
            done = np.flatnonzero(best <= disc.squares[start])
            distances[near.take(done)] = best.take(done) ** 0.5
            best, at, near = best.take(unbeaten), at.take(unbeaten), near.take(unbeaten)
        if not at.size:
            return
        gap = gaps.take(at + steps[start])
        for step in steps[start + 1 : stop]:
            np.minimum(gap, gaps.take(at + step), out=gap)
        squares = gap_squares.take(gap)
        squares += disc.squares[start]
        np.minimum(best, squares, out=best)
    lengths = best**0.5
    sure = np.flatnonzero(lengths <= disc.radius_mm)
    distances[near.take(sure)] = lengths.take(sure)


def _row_gaps(marks: NDArray[np.bool_]) -> NDArray[Any]:
    """Return the distance in voxels from each voxel to the nearest mark in its row."""
    width = marks.shape[1]
    kind = np.int16 if width < 1 << 13 else np.int32
    # A row without marks must lose against any other.
    none = kind(4 * width + 8)
    index = np.arange(width, dtype=kind)
    last = np.where(marks, index, -none)
    np.maximum.accumulate(last, axis=1, out=last)
    following = np.where(marks, index, none + index[-1])[:, ::-1]
    following = np.minimum.accumulate(following, axis=1)[:, ::-1]
    np.subtract(index, last, out=last)
    np.minimum(last, following - index, out=last)
    return last


def _by_tree(
    queries: NDArray[np.int32],
    targets: NDArray[np.int32],
    spacing_mm: Spacing,
    limit_mm: float,
) -> NDArray[np.float64]:
    from scipy.spatial import cKDTree

    scale = np.asarray(spacing_mm)[:, None]
    tree = cKDTree((targets * scale).T, balanced_tree=False, compact_nodes=False)
    # A target at the very limit must not be lost to rounding.
    bound = limit_mm * (1 + 1e-9) + 1e-9
    _, partners = tree.query((queries * scale).T, distance_upper_bound=bound)
    distances = np.full(queries.shape[1], math.inf)
    found = np.flatnonzero(partners < targets.shape[1])
    steps = queries[:, found] - targets[:, partners[found]]
    lengths = lengths_mm(steps, spacing_mm)
    distances[found] = np.where(lengths <= limit_mm, lengths, math.inf)
    return distances


def _all_pairs(queries: Any, targets: Any, spacing_mm: Spacing, limit_mm: float) -> Any:
    """On a device every pair is quicker than a tree."""
    xp = array_module(queries)
    distances = xp.empty(queries.shape[1])
    piece = max(1, _PAIRS_AT_ONCE // targets.shape[1])
    for start in range(0, queries.shape[1], piece):
        part = slice(start, start + piece)
        steps = queries[:, part, None] - targets[:, None, :]
        distances[part] = lengths_mm(steps, spacing_mm).min(axis=1)
    distances[distances > limit_mm] = math.inf
    return distances
