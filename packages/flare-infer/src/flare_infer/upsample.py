"""Upsampling and decision in one pass: only cells whose corners differ are computed.

A cell lies between neighboring voxels of the network's grid. Where all its corners have the same
sure decision (`flare_infer.certainty`), every voxel of the finer grid inside has it too, proven for
the arithmetic with all its rounding. The few other cells, at borders, are interpolated.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.certainty import (
    PAINTED,
    UNSURE,
    paint_states,
    safe_lead,
    steps_of,
    sure_winners,
)
from flare_infer.heads import Head
from flare_infer.mixed_cells import (
    CellBlock,
    Operators,
    cell_blocks,
    corner_values,
    interpolated,
    picked,
    split,
)

__all__ = ["label_slabs", "upsampled_labels"]


def upsampled_labels(
    logits: NDArray[Any], operators: Operators, head: Head, *, half: bool
) -> NDArray[Any]:
    """Return the labels of whole logits (channels, z, y, x), see `label_slabs`."""
    along, rows, columns = operators
    result = np.empty((along.n_out, rows.n_out, columns.n_out), dtype=head.dtype)
    first = 0
    for slab in label_slabs(np.moveaxis(logits, 1, 0), operators, head, half=half):
        result[first : first + len(slab)] = slab
        first += len(slab)
    return result


def label_slabs(
    planes: Iterable[NDArray[Any]], operators: Operators, head: Head, *, half: bool
) -> Iterator[NDArray[Any]]:
    """Yield the labels of logits that are resampled with operators of order 0 or 1.

    Parameters
    ----------
    planes : iterable of (channels, y, x) float16 or float32 arrays
        The logits from the first plane to the last, finite. Each is asked for when it is needed and
        must not change until two more have been.
    operators : three AxisOperator
        Of the axes z, y, x, with weights that are not negative.
    head : Head
    half : bool
        Interpolate in float64 and round to float16 before deciding, as nnU-Net does; the logits are
        float16 numbers. Otherwise in float32.

    Yields
    ------
    (planes, y, x) uint8 or uint16 array
        New each time; together the whole result. At the end the iterable has been exhausted.

    Notes
    -----
    Cost: a pass over the logits on their own grid, one over the result, and some eight products for
    each voxel of a mixed cell and each channel that could win there. Memory: some planes of the
    network's grid.
    """
    along = operators[0]
    source = enumerate(planes)
    held: dict[int, _Plane] = {}
    for start, group in groupby(range(along.n_out), key=lambda z: int(along.start[z])):
        held = {k: plane for k, plane in held.items() if k >= start}
        while not held or max(held) < start + along.width - 1:
            number, logits = next(source)
            if number >= start:
                held[number] = _Plane.surveyed(logits, head, half=half)
        layer = [held[k] for k in range(start, start + along.width)]
        yield _slab(layer, [along.weights[z] for z in group], operators, (head, half))
    for _ in source:
        pass


@dataclass(frozen=True)
class _Plane:
    """Logits of one plane, and what is sure of them.

    Parameters
    ----------
    logits : (channels, y, x) array
    contenders : (contenders, y, x) array
        Those that compete, background's constant 0 first where the head has one.
    winners : (y, x) uint16 array
        Numbers of contenders, or `UNSURE`.
    painted : tuple of (y, x) uint16 arrays
        For each painter `PAINTED`, 0 or `UNSURE`.
    """

    logits: NDArray[Any]
    contenders: NDArray[Any]
    winners: NDArray[np.uint16]
    painted: tuple[NDArray[np.uint16], ...]

    @classmethod
    def surveyed(cls, logits: NDArray[Any], head: Head, *, half: bool) -> _Plane:
        contenders = _contenders(logits, head)
        winners = np.zeros(logits.shape[1:], dtype=np.uint16)
        if len(contenders) > 1:
            winners = sure_winners(list(steps_of(contenders)), safe_lead(logits.dtype, half=half))
        painted = tuple(paint_states(logits[channel]) for channel in head.painters)
        return cls(logits, contenders, winners, painted)


def _contenders(logits: NDArray[Any], head: Head) -> NDArray[Any]:
    first, last = (head.rivals[0], head.rivals[-1] + 1) if head.rivals else (0, 0)
    whole = last - first == len(head.rivals)
    rivals = logits[first:last] if whole else logits[list(head.rivals)]
    if not head.zero:
        return rivals
    return np.concatenate([np.zeros_like(logits[:1]), rivals])


def _slab(
    layer: Sequence[_Plane],
    weights: Sequence[NDArray[np.float64]],
    operators: Operators,
    how: tuple[Head, bool],
) -> NDArray[Any]:
    """Return the planes of the result that read the same planes of logits, with these weights."""
    head, _ = how
    result = np.zeros((len(weights), operators[1].n_out, operators[2].n_out), dtype=head.dtype)
    if len(layer[0].contenders):
        cells = _cells([plane.winners for plane in layer], operators)
        _write_winners(result, layer, cells, weights, operators, how)
    for number in range(len(head.painters)):
        cells = _cells([plane.painted[number] for plane in layer], operators)
        if cells.any():
            _write_painter(result, layer, cells, weights, operators, (*how, number))
    return result


def _cells(states: Sequence[NDArray[np.uint16]], operators: Operators) -> NDArray[np.uint16]:
    """Return for each cell (y, x) what its corners share, else `UNSURE`."""
    _, rows, columns = operators
    height, width = rows.n_in - rows.width + 1, columns.n_in - columns.width + 1
    cells = reduce(_shared, states)
    cells = reduce(_shared, [cells[k : k + height] for k in range(rows.width)])
    return reduce(_shared, [cells[:, k : k + width] for k in range(columns.width)])


def _shared(a: NDArray[np.uint16], b: NDArray[np.uint16]) -> NDArray[np.uint16]:
    # UNSURE has all bits set: an inequality spread over all bits does without a masked copy.
    different: NDArray[np.uint16] = np.multiply(a != b, np.uint16(UNSURE))
    different |= a
    return different


def _expanded(cells: NDArray[Any], operators: Operators) -> NDArray[Any]:
    """Return a plane of the result in which every voxel has its cell's value."""
    _, rows, columns = operators
    return cells.take(columns.start, axis=1).take(rows.start, axis=0)


def _write_winners(
    result: NDArray[Any],
    layer: Sequence[_Plane],
    cells: NDArray[np.uint16],
    weights: Sequence[NDArray[np.float64]],
    operators: Operators,
    how: tuple[Head, bool],
) -> None:
    """Write the labels of the largest logits."""
    head, half = how
    zero = (0,) if head.zero else ()
    labels = np.array((*zero, *(head.labels[k] for k in head.rivals)), dtype=head.dtype)
    # Unsure cells take any label here and are written over below.
    result[:] = _expanded(labels.take(np.minimum(cells, len(labels) - 1)), operators)
    planes = [plane.contenders for plane in layer]
    lead = safe_lead(planes[0].dtype, half=half)
    for y, x in cell_blocks(cells == UNSURE, operators):
        values = corner_values(planes, y, x, operators)
        for chosen, contenders in split(values, lead):
            block = CellBlock.of(y[chosen], x[chosen], operators)
            few = picked(values, contenders, chosen).astype(np.float64 if half else np.float32)
            for plane, share in zip(result, weights, strict=True):
                winner = _largest(_rounded(interpolated(few, share, block), half))
                number = contenders.reshape(-1).take(winner * len(chosen) + block.cell)
                plane.reshape(-1)[block.target] = labels.take(number)


def _write_painter(
    result: NDArray[Any],
    layer: Sequence[_Plane],
    cells: NDArray[np.uint16],
    weights: Sequence[NDArray[np.float64]],
    operators: Operators,
    how: tuple[Head, bool, int],
) -> None:
    """Write the label of a channel that decides alone over what is there."""
    head, half, number = how
    channel = head.painters[number]
    label = head.labels[channel]
    result[:, _expanded(cells == PAINTED, operators)] = label
    planes = [plane.logits[channel : channel + 1] for plane in layer]
    for y, x in cell_blocks(cells == UNSURE, operators):
        block = CellBlock.of(y, x, operators)
        values = corner_values(planes, y, x, operators).astype(np.float64 if half else np.float32)
        for plane, share in zip(result, weights, strict=True):
            where = head.paints(_rounded(interpolated(values, share, block), half)[0])
            plane.reshape(-1)[block.target[where]] = label


def _rounded(values: NDArray[Any], half: bool) -> NDArray[Any]:
    return values.astype(np.float16) if half else values


def _largest(values: NDArray[Any]) -> NDArray[np.intp]:
    """Return the first of the largest numbers along the first axis."""
    steps = steps_of(values)
    best, winner = steps[0].copy(), np.zeros(steps.shape[1:], dtype=np.intp)
    for number, each in enumerate(steps[1:], start=1):
        np.maximum(winner, (each > best) * number, out=winner)
        np.maximum(best, each, out=best)
    return winner
