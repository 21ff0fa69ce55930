"""Upsampling and decision in plain torch, channel by channel: for the CPU, and without Triton."""

from __future__ import annotations

import torch
from torch import Tensor

from flare_infer.device.grids import PlacedLogits, Tables
from flare_infer.heads import LARGEST_HALF_SIGMOID, Head

__all__ = ["decide_planes"]

# More planes at once: fewer calls, more memory for a channel of full size.
_PLANES_AT_ONCE = 8


def decide_planes(
    logits: PlacedLogits, tables: Tables, head: Head, first: int, labels: Tensor
) -> None:
    """Write the labels of some planes of the result.

    Parameters
    ----------
    logits : PlacedLogits
        Holds all planes that these planes read and that lie in its box.
    tables : three AxisTable
        Of the axes z, y, x, of width 1 or 2.
    head : Head
    first : int
        The first plane of the result.
    labels : (planes, y, x) uint8 or int16 tensor
        Written; int16 holds the bits of uint16.

    Notes
    -----
    Arithmetic in float32, along z, then x, then y, as on the host. Memory: some planes of one
    channel of full size.
    """
    for start in range(0, len(labels), _PLANES_AT_ONCE):
        part = labels[start : start + _PLANES_AT_ONCE]
        _decide(logits, tables, head, first + start, part)


def _decide(logits: PlacedLogits, tables: Tables, head: Head, first: int, labels: Tensor) -> None:
    last = first + len(labels)
    labels.zero_()
    best: Tensor | None = None
    if head.zero:
        best = torch.zeros(labels.shape, device=labels.device)
    for channel in head.rivals:
        values = _upsampled(logits, tables, channel, first, last)
        if best is None:
            labels.fill_(_bits(head.labels[channel], labels.dtype))
            best = values
            continue
        labels.masked_fill_(values > best, _bits(head.labels[channel], labels.dtype))
        torch.maximum(best, values, out=best)
    least = float(LARGEST_HALF_SIGMOID) if head.by_sigmoid else 0.0
    for channel in head.painters:
        values = _upsampled(logits, tables, channel, first, last)
        labels.masked_fill_(values > least, _bits(head.labels[channel], labels.dtype))


def _bits(label: int, dtype: torch.dtype) -> int:
    """Return the number of a type that has the bits of an unsigned label."""
    return label - 2**16 if dtype == torch.int16 and label >= 2**15 else label


def _upsampled(logits: PlacedLogits, tables: Tables, channel: int, first: int, last: int) -> Tensor:
    """Return planes ``first`` to ``last`` of one channel on the result's grid."""
    along, rows, columns = tables
    low, high = along.operator.reach(first, last)
    values = _gathered(logits, channel, low, high, (rows.operator.n_in, columns.operator.n_in))
    values = _blended(values, along.start[first:last] - low, along.weights[first:last], axis=0)
    values = _blended(values, columns.start, columns.weights, axis=2)
    return _blended(values, rows.start, rows.weights, axis=1)


def _gathered(
    logits: PlacedLogits, channel: int, low: int, high: int, plane: tuple[int, int]
) -> Tensor:
    """Return planes ``low`` to ``high`` of the network's grid, 0 outside the box."""
    ring, box, offset = logits.ring, logits.box, logits.offset
    planes = torch.zeros((high - low, *plane), device=ring.values.device)
    a, b = max(low, box.start[0]), min(high, box.stop[0])
    rows, columns = (
        slice(n + k, m + k) for n, m, k in zip(box.start[1:], box.stop[1:], offset[1:], strict=True)
    )
    for slots, which in ring.parts(a + offset[0], b + offset[0]):
        target = planes[a - low + which.start : a - low + which.stop, *box.slices[1:]]
        target.copy_(ring.values[channel, slots, rows, columns])
    return planes


def _blended(values: Tensor, start: Tensor, weights: Tensor, *, axis: int) -> Tensor:
    shape = [1, 1, 1]
    shape[axis] = -1
    total = values.index_select(axis, start) * weights[:, 0].reshape(shape)
    for tap in range(1, weights.shape[1]):
        part = values.index_select(axis, start + tap)
        total.addcmul_(part, weights[:, tap].reshape(shape))
    return total
