"""Interpolation in the few cells whose corners are not decided alike."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.certainty import Lead, steps_of
from flare_io.resample import AxisOperator

__all__ = [
    "CellBlock",
    "Operators",
    "cell_blocks",
    "corner_values",
    "interpolated",
    "picked",
    "split",
]

Operators = tuple[AxisOperator, AxisOperator, AxisOperator]
# Larger blocks leave the processor's cache, smaller ones are mostly calls.
_CELLS_AT_ONCE = 8192
# Nearly all mixed cells lie between two classes.
_FEW = (2, 4)


@dataclass(frozen=True)
class CellBlock:
    """Some cells of a layer between planes, and the voxels of the result that lie in them.

    Parameters
    ----------
    y, x : (cells,) int array
        First corner of each cell in the planes of logits.
    cell : (voxels,) int array
        The cell of each voxel.
    row_weights, column_weights : (taps, voxels) float64 array
    target : (voxels,) int array
        Place of each voxel in a plane of the result, flat.
    """

    y: NDArray[np.intp]
    x: NDArray[np.intp]
    cell: NDArray[np.intp]
    row_weights: NDArray[np.float64]
    column_weights: NDArray[np.float64]
    target: NDArray[np.intp]

    @classmethod
    def of(cls, y: NDArray[np.intp], x: NDArray[np.intp], operators: Operators) -> CellBlock:
        """Return the block of cells with these first corners."""
        _, rows, columns = operators
        top, height = (span[y] for span in _spans(rows))
        left, width = (span[x] for span in _spans(columns))
        count = height * width
        cell = np.repeat(np.arange(len(y)), count)
        within = np.arange(len(cell)) - np.repeat(np.cumsum(count) - count, count)
        down, right = np.divmod(within, width[cell])
        down += top[cell]
        right += left[cell]
        return cls(
            y=y,
            x=x,
            cell=cell,
            row_weights=np.ascontiguousarray(rows.weights[down].T),
            column_weights=np.ascontiguousarray(columns.weights[right].T),
            target=down * columns.n_out + right,
        )


def cell_blocks(
    mixed: NDArray[np.bool_], operators: Operators
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Yield the first corners (y, x) of the cells where a mask is true, some at a time."""
    _, rows, columns = operators
    flat = np.flatnonzero(mixed)
    y, x = np.divmod(flat, mixed.shape[1])
    # Coming down to a coarser grid, some cells hold no voxel.
    filled = (_spans(rows)[1][y] > 0) & (_spans(columns)[1][x] > 0)
    y, x = y[filled], x[filled]
    for first in range(0, len(y), _CELLS_AT_ONCE):
        last = first + _CELLS_AT_ONCE
        yield y[first:last], x[first:last]


def corner_values(
    planes: Sequence[NDArray[Any]], y: NDArray[np.intp], x: NDArray[np.intp], operators: Operators
) -> NDArray[Any]:
    """Return the logits at the corners of cells.

    Parameters
    ----------
    planes : sequence of (channels, y, x) arrays
        One for each tap along z.
    y, x : (cells,) int array

    Returns
    -------
    (corners, channels, cells) array
        Of the type of the planes; corners in the order z, y, x.
    """
    _, rows, columns = operators
    channels, _, width = planes[0].shape
    taps = list(product(range(len(planes)), range(rows.width), range(columns.width)))
    values = np.empty((len(taps), channels, len(y)), dtype=planes[0].dtype)
    first = y * width + x
    flat = [plane.reshape(channels, -1) for plane in planes]
    for corner, (z, down, right) in zip(values, taps, strict=True):
        flat[z].take(first + (down * width + right), axis=1, out=corner, mode="clip")
    return values


def split(values: NDArray[Any], lead: Lead) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Sort cells by how many contenders could win somewhere inside.

    A contender is out if another one leads it safely at all corners.

    Parameters
    ----------
    values : (corners, contenders, cells) array
    lead : Lead

    Yields
    ------
    cells : (n,) int array
    contenders : (k, n) int array
        Those that could win, ascending, filled up with some that are out.
    """
    steps = steps_of(values)
    contenders = steps.shape[1]
    # Any contender may be the measure; the winner at the first corner leads most others.
    measure = picked(steps, steps[0].argmax(axis=0)[None], np.arange(steps.shape[2]))
    behind = steps <= measure - steps.dtype.type(lead.steps)
    if lead.above >= 0:
        behind &= np.maximum(np.abs(steps), np.abs(measure)) > lead.above
    alive = ~behind.all(axis=0)
    count = alive.sum(axis=0)
    lowest = 0
    for few in (*(k for k in _FEW if k < contenders), contenders):
        cells = np.flatnonzero((count > lowest) & (count <= few))
        lowest = few
        if len(cells):
            yield cells, _first_alive(alive[:, cells], few)


def picked(
    values: NDArray[Any], contenders: NDArray[np.intp], cells: NDArray[np.intp]
) -> NDArray[Any]:
    """Return the values (corners, k, n) of some contenders at some cells.

    Parameters
    ----------
    values : (corners, contenders, cells) array
    contenders : (k, n) int array
        Of each cell that is chosen.
    cells : (n,) int array
        Those that are chosen.

    Examples
    --------
    >>> values = np.arange(6).reshape(1, 2, 3)
    >>> picked(values, np.array([[1, 0]]), np.array([0, 2])).tolist()
    [[[3, 2]]]
    """
    # Several times as fast as indexing by arrays along two axes.
    flat = values.reshape(len(values), -1)
    taken: NDArray[Any] = flat.take(contenders * values.shape[2] + cells, axis=1)
    return taken


def interpolated(
    values: NDArray[Any], weights: NDArray[np.float64], block: CellBlock
) -> NDArray[Any]:
    """Return the logits (contenders, voxels) of a block's voxels in one plane of the result.

    Parameters
    ----------
    values : (corners, contenders, cells) array
        float64 or float32, which is computed in.
    weights : (z taps,) float64 array
    block : CellBlock
    """
    dtype = values.dtype
    shape = (len(weights), len(block.row_weights), len(block.column_weights))
    corners = values.reshape(*shape, *values.shape[1:])
    layer = _blend(corners, weights.astype(dtype))
    across = block.column_weights.astype(dtype, copy=False)
    lines = [_blend(row.take(block.cell, axis=-1), across) for row in layer]
    return _blend(lines, block.row_weights.astype(dtype, copy=False))


@lru_cache(maxsize=16)
def _spans(operator: AxisOperator) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return for each input place the first output that starts there, and how many do."""
    places = np.arange(operator.n_in)
    first = np.searchsorted(operator.start, places, side="left")
    return first, np.searchsorted(operator.start, places, side="right") - first


def _first_alive(alive: NDArray[np.bool_], few: int) -> NDArray[np.intp]:
    if few == len(alive):
        return np.repeat(np.arange(few)[:, None], alive.shape[1], axis=1)
    if few == 2:
        return np.stack([alive.argmax(axis=0), len(alive) - 1 - alive[::-1].argmax(axis=0)])
    order: NDArray[np.intp] = np.argsort(~alive, axis=0, kind="stable")[:few]
    return order


def _blend(values: Any, weights: NDArray[Any]) -> NDArray[Any]:
    """Return the sum over the first axis, each entry times its weight or its row of weights."""
    total: NDArray[Any] = values[0] * weights[0]
    for value, weight in zip(values[1:], weights[1:], strict=True):
        total += value * weight
    return total
