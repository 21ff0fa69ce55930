"""From logits on the network's grid to labels on the cropped original grid.

An array of channels x full size never exists.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.heads import Head
from flare_infer.islands import remove_small_components
from flare_infer.spec import Mode, ModelSpec
from flare_infer.upsample import label_slabs
from flare_io.preparation import Preparation
from flare_io.resample import AxisOperator, axis_operator, resample_image, separate_axis
from flare_io.resample_labels import resample_labels

__all__ = ["decide_labels", "decided_slabs", "logit_operators"]


def decided_slabs(
    planes: Iterable[NDArray[Any]], preparation: Preparation, spec: ModelSpec, *, mode: Mode
) -> Iterator[NDArray[Any]]:
    """Turn logits into labels, in the order and by the rules of a model.

    Parameters
    ----------
    planes : iterable of (channels, y, x) float arrays
        The logits on the network's grid from the first plane to the last. Each is asked for when it
        is needed and must not change until two more have been. In exact mode float16 numbers.
    preparation : Preparation
        Of the case.
    spec : ModelSpec
        Meaning of the channels, order of deciding and resampling, components to keep.
    mode : {"exact", "fast"}
        ``exact`` computes in float64 and rounds to float16 before the decision, as nnU-Net does;
        ``fast`` computes in float32.

    Yields
    ------
    (planes, y, x) uint8 or uint16 array
        New each time; together ``preparation.cropped_shape``. As early as can be, or one slab with
        all planes where components are removed or labels are decided before they are resampled.

    Notes
    -----
    Cost: that of `flare_infer.upsample.label_slabs`, or of resampling labels. Memory beside the
    slab: a few planes, however long the scan. Logits of order 3 (no published model) are resampled
    whole, a channel at a time.
    """
    shape, head = preparation.cropped_shape, spec.head
    if spec.order != "resample-decide":
        coarse = np.concatenate(list(_plane_by_plane(planes, head)))
        yield resample_labels(
            _tidied(coarse, spec, preparation.spacing_mm),
            shape,
            rule="nearest" if spec.order == "decide-resample" else "linear",
            separate_axis=_coarse_axis(preparation, spec),
        )
        return
    if preparation.shape == shape:
        slabs = _plane_by_plane(planes, head)
    elif spec.preprocessing.logits_order == 3:
        dtype = np.float16 if mode == "exact" else np.float32
        logits = np.stack([plane.astype(dtype) for plane in planes], axis=1)
        slabs = iter([_cubic_labels(logits, preparation, spec)])
    else:
        slabs = label_slabs(planes, logit_operators(preparation, spec), head, half=mode == "exact")
    if spec.components is None:
        yield from slabs
    else:
        yield _tidied(np.concatenate(list(slabs)), spec, preparation.cropped_spacing_mm)


def decide_labels(
    logits: NDArray[Any], preparation: Preparation, spec: ModelSpec, *, mode: Mode
) -> NDArray[Any]:
    """Return all slabs of `decided_slabs` for whole logits (channels, z, y, x) in one array."""
    planes = np.moveaxis(logits, 1, 0)
    return np.concatenate(list(decided_slabs(planes, preparation, spec, mode=mode)))


def logit_operators(
    preparation: Preparation, spec: ModelSpec
) -> tuple[AxisOperator, AxisOperator, AxisOperator]:
    """Return how logits go from the network's grid to the cropped original one, axis by axis."""
    orders = [spec.preprocessing.logits_order] * 3
    coarse = _coarse_axis(preparation, spec)
    if coarse is not None:
        orders[coarse] = spec.preprocessing.logits_order_z
    z, y, x = (
        axis_operator(n_in, n_out, order)
        for n_in, n_out, order in zip(
            preparation.shape, preparation.cropped_shape, orders, strict=True
        )
    )
    return z, y, x


def _plane_by_plane(planes: Iterable[NDArray[Any]], head: Head) -> Iterator[NDArray[Any]]:
    # float16 is compared by software, one number at a time.
    return (head.decide(plane.astype(np.float32, copy=False))[None] for plane in planes)


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


def _coarse_axis(preparation: Preparation, spec: ModelSpec) -> int | None:
    return separate_axis(
        preparation.spacing_mm,
        preparation.cropped_spacing_mm,
        threshold=spec.preprocessing.anisotropy_threshold,
    )
