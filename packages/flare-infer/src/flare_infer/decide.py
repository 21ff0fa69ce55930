"""From logits on the network's grid to labels on the cropped original grid.

An array of channels x full size never exists.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.components import remove_small_components
from flare_infer.heads import Head
from flare_infer.spec import Mode, ModelSpec
from flare_infer.upsample import upsampled_labels
from flare_io.preparation import Preparation
from flare_io.resample import (
    AxisOperator,
    axis_operator,
    resample_image,
    resample_labels,
    separate_axis,
)

__all__ = ["decide_labels"]


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
        ``exact`` computes in float64 and rounds to float16 before the decision, as nnU-Net does;
        ``fast`` computes in float32.

    Returns
    -------
    (z, y, x) uint8 or uint16 array
        On ``preparation.cropped_shape``.

    Notes
    -----
    Cost: that of `flare_infer.upsample.upsampled_labels`, or of resampling labels. Memory beside
    the result: a few planes, however long the scan. Logits of order 3 (no published model) are
    resampled whole, a channel at a time.
    """
    shape = preparation.cropped_shape
    if spec.order == "resample-decide":
        if tuple(logits.shape[1:]) == shape:
            labels = _plane_by_plane(logits, spec.head)
        elif spec.preprocessing.logits_order == 3:
            labels = _cubic_labels(logits, preparation, spec)
        else:
            operators = _operators(logits.shape[1:], preparation, spec)
            labels = upsampled_labels(logits, operators, spec.head, half=mode == "exact")
        return _tidied(labels, spec, preparation.cropped_spacing_mm)
    return resample_labels(
        _tidied(_plane_by_plane(logits, spec.head), spec, preparation.spacing_mm),
        shape,
        rule="nearest" if spec.order == "decide-resample" else "linear",
        separate_axis=_coarse_axis(preparation, spec),
    )


def _plane_by_plane(logits: NDArray[Any], head: Head) -> NDArray[Any]:
    labels = np.empty(logits.shape[1:], dtype=head.dtype)
    for z, plane in enumerate(labels):
        # float16 is compared by software, one number at a time.
        plane[...] = head.decide(logits[:, z].astype(np.float32, copy=False))
    return labels


def _tidied(
    labels: NDArray[Any], spec: ModelSpec, spacing_mm: tuple[float, float, float]
) -> NDArray[Any]:
    if spec.components is None:
        return labels
    return remove_small_components(labels, spec.components, spacing_mm=spacing_mm)


def _cubic_labels(logits: NDArray[Any], preparation: Preparation, spec: ModelSpec) -> NDArray[Any]:
    shape, coarse = preparation.cropped_shape, _coarse_axis(preparation, spec)
    order_z = spec.preprocessing.logits_order_z

    def read(channel: int) -> NDArray[Any]:
        return resample_image(
            logits[channel], shape, order=3, separate_axis=coarse, order_separate=order_z
        )

    return spec.head.decide_channels(read, shape)


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
