"""From logits on the network's grid to labels on the cropped original grid.

Upsampling and decision are one loop over slabs and channels: only the best value so far is kept, so
that an array of channels x full size never exists.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.model import Mode, ModelSpec
from flare_io.preparation import Preparation
from flare_io.resample import AxisOperator, axis_operator, resample_image, separate_axis

__all__ = ["decide_labels"]

_PLANES_AT_ONCE = 16
_HALF_BYTE_LABELS = 255


def decide_labels(
    logits: NDArray[Any], preparation: Preparation, spec: ModelSpec, *, mode: Mode
) -> NDArray[Any]:
    """Resample logits to the cropped original grid and take the label of the largest.

    Parameters
    ----------
    logits : (classes, z, y, x) float16 or float32 array
        On the network's grid.
    preparation : Preparation
        Of the case.
    spec : ModelSpec
        Labels of the channels, and the orders of resampling.
    mode : {"exact", "fast"}
        ``exact`` computes in float64 and rounds to the logits' type before the decision, as nnU-Net
        does; ``fast`` computes in float32.

    Returns
    -------
    (z, y, x) uint8 or uint16 array
        On ``preparation.cropped_shape``. Softmax: the first of equal largest values wins. Regions:
        every channel whose sigmoid exceeds 1/2 writes its label, later channels over earlier ones.

    Notes
    -----
    Cost: one resampling per channel. Memory beside the result: a few dozen planes of the original
    grid, however long the scan. Logits of order 3 (no published model) are resampled whole.
    """
    labels = np.asarray(spec.channel_labels)
    dtype = np.uint8 if labels.max() <= _HALF_BYTE_LABELS else np.uint16
    result = np.zeros(preparation.cropped_shape, dtype=dtype)
    for first, last, channels in _slabs(logits, preparation, spec, mode):
        slab = result[first:last]
        if spec.regions is None:
            best: NDArray[Any] | None = None
            for label, values in zip(labels, channels, strict=True):
                if best is None:
                    best = values
                    slab[...] = label
                    continue
                larger = values > best
                slab[larger] = label
                np.copyto(best, values, where=larger)
        else:
            for label, values in zip(labels, channels, strict=True):
                slab[_exceeds_half(values)] = label
    return result


def _slabs(
    logits: NDArray[Any], preparation: Preparation, spec: ModelSpec, mode: Mode
) -> Iterator[tuple[int, int, Iterator[NDArray[Any]]]]:
    """Yield plane ranges of the result, each with its channels resampled one at a time."""
    preprocessing = spec.preprocessing
    shape = preparation.cropped_shape
    if tuple(logits.shape[1:]) != shape and preprocessing.logits_order == 3:
        coarse = _coarse_axis(preparation, spec)
        order_z = preprocessing.logits_order_z
        whole = (
            resample_image(
                channel, shape, order=3, separate_axis=coarse, order_separate=order_z
            ).astype(logits.dtype)
            for channel in logits
        )
        yield 0, shape[0], whole
        return
    operators = _operators(logits.shape[1:], preparation, spec)
    dtype = np.dtype(np.float64 if mode == "exact" else np.float32)
    for first in range(0, shape[0], _PLANES_AT_ONCE):
        last = min(first + _PLANES_AT_ONCE, shape[0])
        channels = (
            _resampled_planes(channel, operators, first, last, dtype).astype(logits.dtype)
            for channel in logits
        )
        yield first, last, channels


def _operators(
    shape: Sequence[int], preparation: Preparation, spec: ModelSpec
) -> tuple[AxisOperator, AxisOperator, AxisOperator]:
    orders = [spec.preprocessing.logits_order] * 3
    coarse = _coarse_axis(preparation, spec)
    if coarse is not None:
        orders[coarse] = spec.preprocessing.logits_order_z
    z, y, x = (
        axis_operator(n_in, n_out, order)
        for n_in, n_out, order in zip(shape, preparation.cropped_shape, orders, strict=True)
    )
    return z, y, x


def _coarse_axis(preparation: Preparation, spec: ModelSpec) -> int | None:
    return separate_axis(
        preparation.spacing_mm,
        preparation.cropped_spacing_mm,
        threshold=spec.preprocessing.anisotropy_threshold,
    )


def _resampled_planes(
    channel: NDArray[Any],
    operators: tuple[AxisOperator, AxisOperator, AxisOperator],
    first: int,
    last: int,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    along, rows, columns = operators
    start, stop, block = along.rows(first, last)
    planes = channel[start:stop].astype(dtype)
    if along.width > 1:
        flat = block.astype(dtype, copy=False) @ planes.reshape(len(planes), -1)
        planes = flat.reshape(last - first, *planes.shape[1:])
    else:
        planes = planes[along.start[first:last] - start]
    return columns.apply(rows.apply(planes, axis=1), axis=2)


def _exceeds_half(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Return where the float32 sigmoid exceeds 1/2: its rounding near 0 is part of the rule."""
    import torch

    probabilities = torch.sigmoid(torch.from_numpy(values.astype(np.float32, copy=False)))
    result: NDArray[np.bool_] = (probabilities > 0.5).numpy()
    return result
