"""Agreement of the surfaces of two masks.

The surface of a mask sits on the corners between voxels, each with the area that its 2 x 2 x 2
neighborhood carries; distances are measured from corner to corner. A mask that touches the edge
of its array has a surface there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arguments import checked_spacing, checked_tolerance, mask_pair
from flare_metrics._surfels import corner_codes, surfel_measures

__all__ = ["Tie", "surface_dice"]

Tie = Literal["relative", "strict"]
"""How a distance equal to the tolerance counts."""

# Header spacings are float32: 0.4 mm reads as 0.40000000596, and five voxels as more than 2 mm.
_RELATIVE_SLACK = 1e-6
# A k-d tree and a distance transform may differ in the last bits of the same distance.
_ROUNDING_BAND = 1e-9


def surface_dice(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    tie: Tie = "relative",
) -> float:
    """Share of both surfaces that lies within a tolerance of the other (NSD).

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) bool array
        Masks on the same grid. Not modified.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0.
    tolerance_mm : float
        Largest distance that still counts as agreement, >= 0.
    tie : {"relative", "strict"}
        ``"relative"`` accepts distances up to ``tolerance_mm * (1 + 1e-6)``, so that a spacing
        that went through float32 changes no score; ``"strict"`` compares as the official scripts
        do.

    Returns
    -------
    float
        In [0, 1]; 1 is full agreement. Both empty: NaN. One empty: 0.

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the shapes differ, or a spacing or the tolerance is out of range.

    Notes
    -----
    Surface elements count by area (3-D) or length (2-D). Equal to ``surface-distance`` 0.1 with
    ``tie="strict"``. Work and memory grow with the box around both masks, or with their surfaces
    where that is less.

    References
    ----------
    Nikolov S. et al. (2018), Deep learning to achieve clinically applicable segmentation of head
    and neck anatomy for radiotherapy, arXiv 1809.04430.

    Examples
    --------
    Two voxels that are 3 mm apart agree within 3 mm, and nowhere within 1 mm.

    >>> a, b = np.zeros((2, 5, 5, 5), bool)
    >>> a[2, 2, 0] = b[2, 2, 3] = True
    >>> surface_dice(a, b, spacing_mm=(1, 1, 1), tolerance_mm=3)
    1.0
    >>> surface_dice(a, b, spacing_mm=(1, 1, 1), tolerance_mm=1)
    0.0
    """
    prediction, reference = mask_pair(prediction, reference)
    spacing = checked_spacing(spacing_mm, prediction.ndim)
    tolerance = checked_tolerance(tolerance_mm)
    if tie not in ("relative", "strict"):
        raise ValueError(f"tie must be 'relative' or 'strict', got {tie!r}")
    box = _joint_box(prediction, reference)
    if box is None:
        return math.nan
    codes = corner_codes(prediction[box]), corner_codes(reference[box])
    full = (1 << (1 << prediction.ndim)) - 1
    borders = tuple((code != 0) & (code != full) for code in codes)
    if not (borders[0].any() and borders[1].any()):
        return 0.0
    measures = surfel_measures(spacing)
    agreeing = total = 0.0
    for code, border, other in zip(codes, borders, reversed(borders), strict=True):
        near = _near(border, other, spacing, tolerance, tie)
        areas = measures[code[border]]
        agreeing += float(areas[near].sum())
        total += float(areas.sum())
    return agreeing / total


def _joint_box(*masks: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Return the smallest box that holds the foreground of all masks."""
    box: list[slice] = []
    for axis in range(masks[0].ndim):
        rest = tuple(k for k in range(masks[0].ndim) if k != axis)
        used = np.flatnonzero(np.logical_or.reduce([mask.any(axis=rest) for mask in masks]))
        if used.size == 0:
            return None
        box.append(slice(int(used[0]), int(used[-1]) + 1))
    return tuple(box)


def _near(
    border: NDArray[np.bool_],
    other: NDArray[np.bool_],
    spacing_mm: tuple[float, ...],
    tolerance_mm: float,
    tie: Tie,
) -> NDArray[np.bool_]:
    """For each corner of a border, in array order, whether the other border is near."""
    near = other[border]
    if near.all():
        return near
    limit = tolerance_mm * (1 + _RELATIVE_SLACK) if tie == "relative" else tolerance_mm
    unsure = np.argwhere(border)[~near]
    distances = _tree_distances(unsure, np.argwhere(other), spacing_mm, limit)
    if tie == "strict" and (np.abs(distances - limit) <= _ROUNDING_BAND * limit).any():
        # At the very limit the last bit decides, so take the arithmetic that the official
        # scripts take.
        distances = _transform_distances(unsure, other, spacing_mm)
    near[~near] = distances <= limit
    return near


def _tree_distances(
    points: NDArray[np.intp],
    targets: NDArray[np.intp],
    spacing_mm: tuple[float, ...],
    limit: float,
) -> NDArray[np.float64]:
    """Distances from points to the nearest target; infinity beyond the limit."""
    from scipy.spatial import cKDTree

    scale = np.asarray(spacing_mm)
    lower, upper = points.min(axis=0) * scale - limit, points.max(axis=0) * scale + limit
    positions = targets * scale
    # Slack, because a target exactly at the limit must not be lost to rounding.
    slack = _RELATIVE_SLACK * (limit + scale.max())
    inside = ((positions >= lower - slack) & (positions <= upper + slack)).all(axis=1)
    if not inside.any():
        return np.full(len(points), np.inf)
    tree = cKDTree(positions[inside], balanced_tree=False, compact_nodes=False)
    distances, _ = tree.query(points * scale, distance_upper_bound=limit + slack)
    return np.asarray(distances, np.float64)


def _transform_distances(
    points: NDArray[np.intp], other: NDArray[np.bool_], spacing_mm: tuple[float, ...]
) -> NDArray[np.float64]:
    from scipy.ndimage import distance_transform_edt

    distances = distance_transform_edt(~other, sampling=spacing_mm)
    return np.asarray(distances[tuple(points.T)], np.float64)
