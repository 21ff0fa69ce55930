"""Agreement of the surfaces of two masks.

The surface of a mask sits on the corners between voxels, each with the area that its 2 x 2 x 2
neighborhood carries; distances are measured from corner to corner. Another convention, of surface
voxels that all count the same, has the names ``"voxel"`` and ``"voxel-pooled"``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from flare_metrics._agreement import Agreement, Edge, Tie, agreement
from flare_metrics._arguments import (
    checked_choice,
    checked_spacing,
    checked_tolerance,
    mask_pair,
)
from flare_metrics._trace import trace_surfaces
from flare_metrics._voxel_surface import voxel_hausdorff, voxel_mean_distance

__all__ = [
    "Definition",
    "Direction",
    "Edge",
    "Tie",
    "average_surface_distance",
    "hausdorff",
    "surface_dice",
]

Definition = Literal["area", "voxel", "voxel-pooled"]
"""What a surface element is and how two directions become one number."""

Direction = Literal["symmetric", "prediction", "reference"]
"""From which surface distances start."""


def surface_dice(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float],
    tolerance_mm: float,
    tie: Tie = "relative",
    edge: Edge = "surface",
) -> float:
    """Share of both surfaces that lies within a tolerance of the other (NSD).

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) bool array
        Masks on the same grid, NumPy or CuPy. Not modified.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0.
    tolerance_mm : float
        Largest distance that still counts as agreement, >= 0.
    tie : {"relative", "strict"}
        ``"relative"`` accepts distances up to ``tolerance_mm * (1 + 1e-6)``, so that a spacing
        that went through float32 changes no score; ``"strict"`` compares as the official scripts
        do.
    edge : {"surface", "ignore"}
        A mask cut by the edge of the array has a surface there, or none that counts.

    Returns
    -------
    float
        In [0, 1]; 1 is full agreement. Both empty: NaN. One empty: 0. NaN too where
        ``edge="ignore"`` leaves neither a surface.

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the shapes differ, or a spacing or the tolerance is out of range.

    Notes
    -----
    Surface elements count by area (3-D) or length (2-D). Equal to ``surface-distance`` 0.1 with
    ``tie="strict"``. One pass over each mask; then work and memory grow with the surfaces.

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
    masks = mask_pair(prediction, reference)
    tolerance = checked_tolerance(tolerance_mm)
    checked_choice("tie", tie, Tie)
    pair = _surfaces(masks, spacing_mm, edge)
    if isinstance(pair, Agreement):
        return pair.surface_dice(tolerance, tie)
    return math.nan if pair == "none" else 0.0


def hausdorff(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float],
    percentile: float = 95.0,
    definition: Definition = "area",
    edge: Edge = "surface",
) -> float:
    """Hausdorff distance in mm, or a percentile of it: how far apart the surfaces come.

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) bool array
        Masks on the same grid, NumPy or CuPy. Not modified.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0.
    percentile : float
        In (0, 100]. 100 is the Hausdorff distance itself, 95 is called HD95.
    definition : {"area", "voxel", "voxel-pooled"}
        ``"area"``: the smallest distance within which that share of the surface area lies, the
        larger of both directions (surface-distance). ``"voxel"``: surface voxels that count one
        each, percentile interpolated, the larger of both directions (MONAI, MetricsReloaded).
        ``"voxel-pooled"``: the same, percentile over both directions together (MedPy).
    edge : {"surface", "ignore"}
        See `surface_dice`; only with ``"area"``.

    Returns
    -------
    float
        Both empty: NaN. One empty: infinity.

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the shapes differ, or an argument is out of range.

    Notes
    -----
    The definitions differ by far more than rounding where a prediction has stray pieces: a result
    without the definition's name cannot be compared. Cost as for `surface_dice`, and a search for
    every corner however far.

    Examples
    --------
    >>> a, b = np.zeros((2, 5, 5, 5), bool)
    >>> a[2, 2, 0] = b[2, 2, 3] = True
    >>> hausdorff(a, b, spacing_mm=(1, 1, 1), percentile=100)
    3.0
    """
    masks = mask_pair(prediction, reference)
    if not 0 < percentile <= 100:
        raise ValueError(f"percentile must be in (0, 100], got {percentile}")
    if checked_choice("definition", definition, Definition) != "area":
        _no_edge(edge)
        spacing = checked_spacing(spacing_mm, masks[0].ndim)
        return voxel_hausdorff(*masks, spacing, percentile, pooled=definition == "voxel-pooled")
    pair = _surfaces(masks, spacing_mm, edge)
    if isinstance(pair, Agreement):
        return pair.hausdorff(percentile)
    return math.nan if pair == "none" else math.inf


def average_surface_distance(
    prediction: NDArray[np.bool_],
    reference: NDArray[np.bool_],
    *,
    spacing_mm: Sequence[float],
    direction: Direction = "symmetric",
    definition: Definition = "area",
    edge: Edge = "surface",
) -> float:
    """Mean distance in mm between the surfaces; symmetric (ASSD) or from one of them (ASD).

    Parameters
    ----------
    prediction, reference : (z, y, x) or (y, x) bool array
        Masks on the same grid, NumPy or CuPy. Not modified.
    spacing_mm : (3,) or (2,) float
        Voxel size in array order, > 0.
    direction : {"symmetric", "prediction", "reference"}
        ``"prediction"``: from the prediction's surface to the reference's.
    definition : {"area", "voxel", "voxel-pooled"}
        ``"area"``: weighted by area; symmetric is the mean over both surfaces together.
        ``"voxel"``: the same with surface voxels that count one each (MONAI, MetricsReloaded).
        ``"voxel-pooled"``: MedPy's, whose symmetric value is the mean of the two directed ones.
    edge : {"surface", "ignore"}
        See `surface_dice`; only with ``"area"``.

    Returns
    -------
    float
        Both empty: NaN. One empty: infinity.

    Raises
    ------
    TypeError
        If a mask is not boolean.
    ValueError
        If the shapes differ, or an argument is out of range.

    Notes
    -----
    Cost as for `hausdorff`.

    Examples
    --------
    >>> a, b = np.zeros((2, 5, 5, 5), bool)
    >>> a[2, 2, :2] = b[2, 2, :3] = True
    >>> average_surface_distance(a, b, spacing_mm=(1, 1, 1), direction="prediction")
    0.0
    """
    masks = mask_pair(prediction, reference)
    checked_choice("direction", direction, Direction)
    if checked_choice("definition", definition, Definition) != "area":
        _no_edge(edge)
        spacing = checked_spacing(spacing_mm, masks[0].ndim)
        return voxel_mean_distance(*masks, spacing, direction, pooled=definition == "voxel-pooled")
    pair = _surfaces(masks, spacing_mm, edge)
    if isinstance(pair, Agreement):
        return pair.mean_distance(direction)
    return math.nan if pair == "none" else math.inf


def _surfaces(
    masks: tuple[NDArray[np.bool_], NDArray[np.bool_]], spacing_mm: Sequence[float], edge: Edge
) -> Agreement | Literal["none", "one"]:
    shape = masks[0].shape
    spacing = checked_spacing(spacing_mm, len(shape))
    checked_choice("edge", edge, Edge)
    traced = [
        trace_surfaces(mask.view(np.uint8).reshape((1,) * (3 - mask.ndim) + shape)).get(1)
        for mask in masks
    ]
    prediction, reference = traced
    if prediction is None or reference is None:
        return "none" if prediction is reference else "one"
    pair = agreement(prediction, reference, shape=shape, spacing_mm=spacing, edge=edge)
    sizes = pair.prediction.size, pair.reference.size
    if all(sizes):
        return pair
    return "one" if any(sizes) else "none"


def _no_edge(edge: str) -> None:
    if edge != "surface":
        raise ValueError(f"edge must be 'surface' with surface voxels, got {edge!r}")
