"""Distance from each corner of one surface to the nearest corner of another.

Most corners have a partner nearby: the offsets of a ball are tried in order of length, and the
first that hits is the distance. What the ball leaves, or what would take longer there, is found
another way; see `flare_metrics._far`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arrays import array_module
from flare_metrics._far import far_distances, far_seconds
from flare_metrics._field import Spacing, lengths_mm, marked_field, within_box

__all__ = ["nearest_distances"]

# Larger balls lose against the other ways, whatever the surface.
_BALL_OFFSETS = 3000
_LOOKUP_SECONDS = 3e-9
_SHELL_SECONDS = 2e-5
# Once so few lookups are left, they go in one piece.
_LAST_LOOKUPS = 1 << 17


def nearest_distances(
    queries: NDArray[np.int32],
    targets: NDArray[np.int32],
    *,
    spacing_mm: Spacing,
    limit_mm: float = math.inf,
) -> NDArray[np.float64]:
    """Return the distance in mm from each query to the nearest target.

    Parameters
    ----------
    queries, targets : (3, n), (3, m) int32 array
        Corner coordinates (z, y, x), each corner once.
    spacing_mm : (3,) float
    limit_mm : float
        Distances beyond it come out as infinity, and cost less.

    Returns
    -------
    (n,) float64 array
        All infinity where there are no targets.

    Notes
    -----
    A length is the root of the squares of step times spacing, summed in array order: the
    arithmetic of ``scipy.ndimage.distance_transform_edt``, to the last bit.

    Examples
    --------
    >>> near = np.zeros((3, 1), np.int32)
    >>> nearest_distances(near, near + 2, spacing_mm=(5.0, 1.0, 1.0)).round(3).tolist()
    [10.392]
    """
    xp = array_module(queries)
    distances: NDArray[np.float64] = xp.full(queries.shape[1], math.inf)
    if not (queries.size and targets.size):
        return distances
    ball = _ball(spacing_mm, min(limit_mm, _largest_radius_mm(spacing_mm)))
    near = within_box(queries, targets, ball.reach)
    unknown = _search_ball(queries, targets, ball, near, distances)
    if limit_mm > ball.radius_mm:
        # Outside the ball there may still be something.
        unknown = xp.flatnonzero(xp.isinf(distances))
    if unknown.size:
        distances[unknown] = far_distances(
            queries[:, unknown], targets, spacing_mm=spacing_mm, limit_mm=limit_mm
        )
    return distances


@dataclass(frozen=True, eq=False)
class _Ball:
    """Steps to all corners within a radius, shortest first, alike lengths together."""

    radius_mm: float
    steps: NDArray[np.int64]
    lengths_mm: NDArray[np.float64]
    starts: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        return tuple(int(n) for n in np.abs(self.steps).max(axis=1))


@lru_cache(maxsize=64)
def _ball(spacing_mm: Spacing, radius_mm: float) -> _Ball:
    reach = [int(radius_mm / spacing * (1 + 1e-9)) for spacing in spacing_mm]
    steps = np.mgrid[tuple(slice(-n, n + 1) for n in reach)].reshape(3, -1)
    lengths = lengths_mm(steps, spacing_mm)
    order = np.argsort(lengths, kind="stable")
    order = order[lengths[order] <= radius_mm]
    steps, lengths = steps[:, order], lengths[order]
    starts = np.flatnonzero(np.diff(lengths, prepend=-1.0, append=math.inf))
    return _Ball(radius_mm, steps, lengths, tuple(starts.tolist()))


@lru_cache(maxsize=64)
def _largest_radius_mm(spacing_mm: Spacing) -> float:
    return float((_BALL_OFFSETS * math.prod(spacing_mm) * 3 / (4 * math.pi)) ** (1 / 3))


def _search_ball(
    queries: NDArray[np.int32],
    targets: NDArray[np.int32],
    ball: _Ball,
    near: NDArray[np.intp],
    distances: NDArray[np.float64],
) -> NDArray[np.intp]:
    """Write the distances found; return the queries given up, which might have one yet."""
    xp = array_module(queries)
    if not near.size:
        return near
    queries = queries[:, near]
    marks, at, strides = marked_field(queries, targets, ball.reach)
    steps = ball.steps[0] * strides[0] + ball.steps[1] * strides[1] + ball.steps[2]
    budget = far_seconds(near.size, targets.shape[1], marks.size)
    for start, stop in zip(ball.starts[:-1], ball.starts[1:], strict=True):
        lookups = near.size * (steps.size - start)
        if lookups <= _LAST_LOOKUPS:
            _search_at_once(marks, at, steps[start:], ball.lengths_mm[start:], near, distances)
            return near[:0]
        hit = marks.take(at + steps[start])
        for step in steps[start + 1 : stop]:
            hit |= marks.take(at + step)
        distances[near[hit]] = ball.lengths_mm[start]
        rest = xp.flatnonzero(~hit)
        near, at = near.take(rest), at.take(rest)
        budget -= _SHELL_SECONDS + (stop - start) * hit.size * _LOOKUP_SECONDS
        if budget < 0:
            return near
    return near[:0]


def _search_at_once(
    marks: NDArray[np.bool_],
    at: NDArray[np.intp],
    steps: NDArray[np.int64],
    lengths: NDArray[np.float64],
    near: NDArray[np.intp],
    distances: NDArray[np.float64],
) -> None:
    xp = array_module(at)
    hits = marks.take(at[:, None] + xp.asarray(steps))
    first = hits.argmax(axis=1)
    found = xp.flatnonzero(hits.any(axis=1))
    distances[near.take(found)] = xp.asarray(lengths).take(first.take(found))
