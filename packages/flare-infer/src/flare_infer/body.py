"""Where in a CT the body is, in cells of about a centimeter."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["body_mask"]

_CELL_MM = 8.0
# Between air and lung (about -800 HU) and fat (-100): half a cell of tissue counts.
_TISSUE_HU = -500.0
# Samples of about 2 mm are enough for the mean of a cell.
_SAMPLE_MM = 2.0


def body_mask(
    array: NDArray[Any], *, spacing_mm: Sequence[float], margin_mm: float
) -> NDArray[np.bool_] | None:
    """Return which cells of a CT hold body or are near it.

    Parameters
    ----------
    array : (z, y, x) array
        In HU.
    spacing_mm : (3,) float
    margin_mm : float
        Cells up to so far from the body count as well.

    Returns
    -------
    (cells, cells, cells) bool array or None
        The volume divided into equal cells of about 8 mm. None if there is no body.

    Notes
    -----
    A cell is tissue if its mean exceeds -500 HU. What is thinner than three cells, such as the
    table, is taken away; what tissue encloses in a plane, such as lungs, is added. Every piece
    stays: a second body, an arm, a body at the rim.

    Cost: one look at a sample every 2 mm. Memory: a few planes and the cells.

    Examples
    --------
    >>> ct = np.full((4, 40, 60), -1000)
    >>> ct[:, :, 30:] = 40
    >>> body_mask(ct, spacing_mm=(8, 8, 8), margin_mm=0)[2, 20].nonzero()[0][[0, -1]].tolist()
    [30, 59]
    """
    tissue = _cell_means(array, spacing_mm) > _TISSUE_HU
    # Behind the border the body goes on, or a thin volume would be all border.
    thick = ~_spread(~tissue, (1, 1, 1))
    # Once more than it was eroded, for what is thin at the tip of something thick.
    kept = _spread(thick, (2, 2, 2)) & tissue
    if not kept.any():
        return None
    filled = _filled_planes(kept)
    cells = [n * s / m for n, s, m in zip(array.shape, spacing_mm, kept.shape, strict=True)]
    return widened(filled, margin_mm=margin_mm, cell_mm=cells)


def widened(
    mask: NDArray[np.bool_], *, margin_mm: float, cell_mm: Sequence[float]
) -> NDArray[np.bool_]:
    """Return a mask with all that lies within a margin along each axis, in whole cells.

    Examples
    --------
    >>> widened(np.arange(7).reshape(1, 1, 7) == 3, margin_mm=10, cell_mm=(8, 8, 8)).ravel()
    array([False,  True,  True,  True,  True,  True, False])
    """
    return _spread(mask, [int(np.ceil(margin_mm / side)) for side in cell_mm])


# The few steps of morphology are written out: loading scipy takes longer than all else that a cold
# run does beside the network.
def _spread(mask: NDArray[np.bool_], radii: Sequence[int]) -> NDArray[np.bool_]:
    """Return the cells in whose box of 2 radii + 1 cells there is one of the mask."""
    for axis, radius in enumerate(radii):
        source = np.moveaxis(mask, axis, 0)
        mask = mask.copy()
        spread = np.moveaxis(mask, axis, 0)
        for step in range(1, min(radius, len(source) - 1) + 1):
            spread[step:] |= source[:-step]
            spread[:-step] |= source[step:]
    return mask


def _filled_planes(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return a mask with what it encloses in each plane, seen along rows and columns."""
    free = ~np.pad(mask, ((0, 0), (1, 1), (1, 1)))
    outside = np.zeros_like(free)
    for rim in (outside[:, 0], outside[:, -1], outside[:, :, 0], outside[:, :, -1]):
        rim[...] = True
    count = 0
    while count != (count := int(np.count_nonzero(outside))):
        for radii in ((0, 1, 0), (0, 0, 1)):
            outside = _spread(outside, radii) & free
    return ~outside[:, 1:-1, 1:-1]


def _cell_means(array: NDArray[Any], spacing_mm: Sequence[float]) -> NDArray[np.float32]:
    strides = [max(1, int(_SAMPLE_MM / side)) for side in spacing_mm]
    samples = array[tuple(slice(None, None, stride) for stride in strides)]
    counts = [
        min(n, max(1, round(whole * side / _CELL_MM)))
        for n, whole, side in zip(samples.shape, array.shape, spacing_mm, strict=True)
    ]
    means = np.empty(counts, dtype=np.float32)
    # One layer of cells at a time: in float32 the whole would take twice the scan's memory.
    for layer, (first, last) in enumerate(pairwise(_edges(len(samples), counts[0]))):
        plane = samples[first:last].mean(axis=0, dtype=np.float32)
        for axis, count in ((0, counts[1]), (1, counts[2])):
            edges = _edges(plane.shape[axis], count)
            plane = np.add.reduceat(plane, edges[:-1], axis=axis)
            plane /= np.diff(edges).reshape((-1, 1) if axis == 0 else (1, -1))
        means[layer] = plane
    return means


def _edges(length: int, count: int) -> NDArray[np.intp]:
    """Return where so many equal parts of an axis begin, and its end."""
    edges: NDArray[np.intp] = np.arange(count + 1) * length // count
    return edges
