"""What the surfaces of one label in two label maps have in common."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arrays import array_module, on_host
from flare_metrics._field import Spacing
from flare_metrics._nearest import nearest_distances
from flare_metrics._surfels import surfel_measures
from flare_metrics._trace import Surface

__all__ = ["Agreement", "Edge", "Tie", "agreement", "cut_surface", "voxel_count"]

Tie = Literal["relative", "strict"]
"""How a distance equal to the tolerance counts."""

Edge = Literal["surface", "ignore"]
"""Whether a mask cut by the edge of its array has a surface there."""

# Header spacings are float32: 0.4 mm reads as 0.40000000596, and five voxels as more than 2 mm.
_RELATIVE_SLACK = 1e-6
# Roots of sums of the same squares in another order differ by less.
_ROUNDING_BAND = 1e-12
# Per axis, the voxels of a code that lie behind its corner.
_BEHIND = (0b00001111, 0b00110011, 0b01010101)


@dataclass(frozen=True, eq=False)
class Agreement:
    """Surfaces of a prediction and a reference that count, and how much.

    Parameters
    ----------
    prediction, reference : Surface
    measures : (256,) or (16,) float64 array
        Area in mm^2 of each code, or length in mm for two axes.
    spacing_mm : (3,) float
    """

    prediction: Surface
    reference: Surface
    measures: NDArray[np.float64]
    spacing_mm: Spacing

    @cached_property
    def distances_mm(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Distance from each corner of the prediction to the reference, and the reverse."""
        return self._distances(math.inf)

    def surface_dice(self, tolerance_mm: float, tie: Tie) -> float:
        """Return the share of both surfaces within a tolerance of the other; NaN without any."""
        limit = tolerance_mm * (1 + _RELATIVE_SLACK) if tie == "relative" else tolerance_mm
        # Already known where distances were asked for first.
        both = self.__dict__.get("distances_mm") or self._distances(limit)
        if tie == "strict":
            both = (
                _settled(both[0], self.prediction, self.reference, limit, self.spacing_mm),
                _settled(both[1], self.reference, self.prediction, limit, self.spacing_mm),
            )
        sides = self.prediction, self.reference
        total = sum(self._area(side.codes) for side in sides)
        if total == 0:
            return math.nan
        near = zip(sides, both, strict=True)
        return sum(self._area(side.codes[found <= limit]) for side, found in near) / total

    def hausdorff(self, percentile: float) -> float:
        """Return the larger of both directed percentiles by area, in mm."""
        return max(
            _percentile(found, self._areas(side), percentile)
            for found, side in zip(
                self.distances_mm, (self.prediction, self.reference), strict=True
            )
        )

    def mean_distance(self, direction: str) -> float:
        """Return the mean distance in mm by area, from one surface or both (``"symmetric"``)."""
        sides = {
            "prediction": ((self.prediction, self.distances_mm[0]),),
            "reference": ((self.reference, self.distances_mm[1]),),
        }
        used = sides.get(direction) or sides["prediction"] + sides["reference"]
        moment = sum(float((found * self._areas(side)).sum()) for side, found in used)
        return moment / sum(self._area(side.codes) for side, _ in used)

    def _area(self, codes: NDArray[np.uint8]) -> float:
        """Sum areas by counting codes, so that no order of corners changes the last bit."""
        counts = on_host(array_module(codes).bincount(codes, minlength=256))
        return float((counts[: self.measures.size] * self.measures).sum())

    def _areas(self, side: Surface) -> Any:
        return array_module(side.codes).asarray(self.measures).take(side.codes)

    def _distances(self, limit_mm: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        sides = self.prediction.corners, self.reference.corners
        there = nearest_distances(*sides, spacing_mm=self.spacing_mm, limit_mm=limit_mm)
        back = nearest_distances(*sides[::-1], spacing_mm=self.spacing_mm, limit_mm=limit_mm)
        return there, back


def agreement(
    prediction: Surface,
    reference: Surface,
    *,
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    edge: Edge,
) -> Agreement:
    """Bring two surfaces together.

    Parameters
    ----------
    prediction, reference : Surface
    shape : (3,) or (2,) int
        Of the array; a two-dimensional one was traced as a single slice.
    spacing_mm : (3,) or (2,) float
    edge : {"surface", "ignore"}
        ``"ignore"`` drops what lies on the faces of the array.
    """
    spacing = (1.0,) * (3 - len(spacing_mm)) + tuple(float(value) for value in spacing_mm)
    sides = [_kept(surface, shape, edge) for surface in (prediction, reference)]
    return Agreement(sides[0], sides[1], surfel_measures(spacing[-len(spacing_mm) :]), spacing)


def voxel_count(surface: Surface) -> int:
    """Return how many voxels a surface encloses: the sum of run ends minus that of run starts.

    Examples
    --------
    >>> from flare_metrics._trace import trace_surfaces
    >>> voxel_count(trace_surfaces(np.ones((2, 3, 4), np.uint8))[1])
    24
    """
    ends = (surface.codes >> 1 & 1).astype(np.int64) - (surface.codes & 1)
    return int((ends * surface.corners[2]).sum())


def cut_surface(
    surface: Surface, labels: NDArray[Any], label: int, *, axis: int, slices: slice
) -> Surface:
    """Return the surface of a label of which only some slices are kept.

    Parameters
    ----------
    surface : Surface
        Of the whole label.
    labels : (z, y, x) integer array
        The label map that it was traced in.
    label : int
    axis : int
    slices : slice
        The voxels kept, ``start`` and ``stop`` given.
    """
    xp = array_module(labels)
    along = surface.corners[axis]
    codes = surface.codes.copy()
    codes[along == slices.start] &= _BEHIND[axis]
    codes[along == slices.stop] &= 255 - _BEHIND[axis]
    codes[(along < slices.start) | (along > slices.stop)] = 0
    keep = xp.flatnonzero(codes)
    corners, kept = [surface.corners[:, keep]], [codes[keep]]
    for plane, code in ((slices.start, _BEHIND[axis]), (slices.stop, 255 - _BEHIND[axis])):
        inner = _inner_corners(labels, label, axis, plane)
        corners.append(inner)
        kept.append(xp.full(inner.shape[1], code, np.uint8))
    return Surface(xp.concatenate(corners, axis=1), xp.concatenate(kept))


def _inner_corners(labels: NDArray[Any], label: int, axis: int, plane: int) -> NDArray[np.int32]:
    """Corners of a plane in the midst of the label, which no whole surface has."""
    xp = array_module(labels)
    if not 0 < plane < labels.shape[axis]:
        none: NDArray[np.int32] = xp.zeros((3, 0), np.int32)
        return none
    before, after = (labels.take(at, axis=axis) == label for at in (plane - 1, plane))
    both = before & after
    full = both[1:, 1:] & both[:-1, 1:] & both[1:, :-1] & both[:-1, :-1]
    first, second = (found + 1 for found in xp.nonzero(full))
    rows = [first, second]
    rows.insert(axis, xp.full_like(first, plane))
    corners: NDArray[np.int32] = xp.stack(rows).astype(np.int32)
    return corners


def _kept(surface: Surface, shape: Sequence[int], edge: Edge) -> Surface:
    """Return what counts of a surface."""
    corners = surface.corners
    keep = []
    if len(shape) == 2:
        # Both planes of the one slice say the same, and inside it is no contour.
        keep += [corners[0] == 0, surface.codes != 0b1111]
    if edge == "ignore":
        for axis, size in enumerate(shape, 3 - len(shape)):
            keep += [corners[axis] > 0, corners[axis] < size]
    if not keep:
        return surface
    inside = reduce(operator.and_, keep)
    return Surface(corners[:, inside], surface.codes[inside])


def _percentile(distances: Any, areas: Any, percentile: float) -> float:
    if not distances.size:
        return math.inf
    order = distances.argsort()
    shares = areas.take(order).cumsum()
    # Rounding must not carry a share past the one that it equals.
    wanted = float(shares[-1]) * (percentile / 100 - 1e-12)
    rank = min(int((shares < wanted).sum()), distances.size - 1)
    return float(distances[order[rank]])


def _settled(
    distances: NDArray[np.float64],
    queries: Surface,
    targets: Surface,
    limit: float,
    spacing_mm: Spacing,
) -> NDArray[np.float64]:
    """Take the last bit of distances at the limit from the transform that official scripts use.

    Steps of one length, such as (3, 4) and (0, 5), have several roundings, and the transform need
    not find the least of them.
    """
    if all(value.as_integer_ratio()[1] <= 1024 for value in spacing_mm):
        # Squares are exact.
        return distances
    doubtful = on_host(abs(distances - limit) <= _ROUNDING_BAND * limit).nonzero()[0]
    if not doubtful.size:
        return distances
    from scipy.ndimage import distance_transform_edt

    points, others = on_host(queries.corners), on_host(targets.corners)
    low = np.minimum(points.min(axis=1), others.min(axis=1))
    high = np.maximum(points.max(axis=1), others.max(axis=1))
    free = np.ones(high - low + 1, bool)
    free[tuple(others - low[:, None])] = False
    transform = distance_transform_edt(free, sampling=spacing_mm)
    xp = array_module(distances)
    settled = distances.copy()
    settled[xp.asarray(doubtful)] = xp.asarray(transform[tuple(points[:, doubtful] - low[:, None])])
    return settled
