"""From logits on the network's grid to labels on the cropped original grid.

Upsampling and decision are one loop over slabs and channels: only the best value so far is kept, so
that an array of channels x full size never exists.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.components import remove_small_components
from flare_infer.spec import Mode, ModelSpec
from flare_io.preparation import Preparation
from flare_io.resample import (
    AxisOperator,
    axis_operator,
    resample_image,
    resample_labels,
    separate_axis,
)

__all__ = ["decide_labels", "decide_network_labels"]

_PLANES_AT_ONCE = 16


def decide_labels(
    logits: NDArray[Any], preparation: Preparation, spec: ModelSpec, *, mode: Mode
) -> NDArray[Any]:
    """Turn logits into labels, in the order and by the rules of a model.

    Parameters
    ----------
    logits : (channels, z, y, x) float16 or float32 array
        On the network's grid.
    preparation : Preparation
        Of the case.
    spec : ModelSpec
        Meaning of the channels, order of deciding and resampling, components to keep.
    mode : {"exact", "fast"}
        ``exact`` computes in float64 and rounds to the logits' type before the decision, as nnU-Net
        does; ``fast`` computes in float32.

    Returns
    -------
    (z, y, x) uint8 or uint16 array
        On ``preparation.cropped_shape``.

    Notes
    -----
    Cost: one resampling per channel. Memory beside the result: a few dozen planes of the original
    grid, however long the scan. Logits of order 3 (no published model) are resampled whole.
    """
    head = spec.head
    if spec.order == "resample-decide":
        result = np.empty(preparation.cropped_shape, dtype=head.dtype)
        for first, last, read in _slabs(logits, preparation, spec, mode):
            slab = result[first:last]
            slab[...] = head.decide_channels(read, slab.shape)
        return _tidied(result, spec, preparation.cropped_spacing_mm)
    decided = _tidied(decide_network_labels(logits, spec), spec, preparation.spacing_mm)
    return resample_labels(
        decided,
        preparation.cropped_shape,
        rule="nearest" if spec.order == "decide-resample" else "linear",
        separate_axis=_coarse_axis(preparation, spec),
    )


def decide_network_labels(logits: NDArray[Any], spec: ModelSpec) -> NDArray[Any]:
    """Return the labels of logits (channels, z, y, x) on the network's own grid."""
    return spec.head.decide(logits)


def _tidied(
    labels: NDArray[Any], spec: ModelSpec, spacing_mm: tuple[float, float, float]
) -> NDArray[Any]:
    if spec.components is None:
        return labels
    return remove_small_components(labels, spec.components, spacing_mm=spacing_mm)


def _slabs(
    logits: NDArray[Any], preparation: Preparation, spec: ModelSpec, mode: Mode
) -> Iterator[tuple[int, int, Callable[[int], NDArray[Any]]]]:
    """Yield plane ranges of the result, each with a function that resamples one channel to them."""
    preprocessing = spec.preprocessing
    shape = preparation.cropped_shape
    if tuple(logits.shape[1:]) != shape and preprocessing.logits_order == 3:
        coarse = _coarse_axis(preparation, spec)
        order_z = preprocessing.logits_order_z

        def read_whole(channel: int) -> NDArray[Any]:
            return resample_image(
                logits[channel], shape, order=3, separate_axis=coarse, order_separate=order_z
            ).astype(logits.dtype)

        yield 0, shape[0], read_whole
        return
    operators = _operators(logits.shape[1:], preparation, spec)
    dtype = np.dtype(np.float64 if mode == "exact" else np.float32)
    for first in range(0, shape[0], _PLANES_AT_ONCE):
        last = min(first + _PLANES_AT_ONCE, shape[0])

        def read(channel: int, first: int = first, last: int = last) -> NDArray[Any]:
            planes = _resampled_planes(logits[channel], operators, first, last, dtype)
            return planes.astype(logits.dtype)

        yield first, last, read


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
