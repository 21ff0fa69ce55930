"""One pass over label maps on a device, by one kernel."""

from __future__ import annotations

from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion.device_kernel import KernelText, class_offsets, fusion_kernel
from flare_fusion.label_check import check_labels
from flare_fusion.tables import FusionTable

__all__ = ["fuse_on_device"]

_WORD = np.dtype(np.uint64)


def fuse_on_device(
    table: FusionTable,
    arrays: list[NDArray[Any]],
    xp: ModuleType,
    *,
    provenance: bool,
    agreement: bool,
) -> tuple[NDArray[Any], NDArray[np.uint8] | None, NDArray[np.int64]]:
    """Return labels, origins where asked for, and the voxels of each cell of the table.

    Parameters
    ----------
    table : FusionTable
    arrays : list of (z, y, x) integer array
        On one device, in the order of the table's sources, of one shape.
    xp : module
        CuPy.
    provenance, agreement : bool

    Returns
    -------
    labels, origins : array on the device
    counts : integer array in main memory
        Of use with ``agreement`` only.

    Raises
    ------
    ValueError
        If a source holds a label that the rule does not know.

    Notes
    -----
    The call waits for the kernel, which tells whether a label was unknown. Bytes that lie without
    gaps, a multiple of eight of them, are taken eight at a time.
    """
    shape, size = arrays[0].shape, arrays[0].size
    order = "C" if any(not array.flags.f_contiguous for array in arrays) else "F"
    wanted = [table.labels.dtype, *([np.dtype(np.uint8)] if provenance else [])]
    written = [xp.empty(shape, kind, order=order) for kind in wanted]
    packed = all(_is_words(array, order) for array in (*arrays, *written))
    text = fusion_kernel(
        table,
        tuple(array.dtype.name for array in arrays),
        packed=packed,
        provenance=provenance,
        agreement=agreement,
    )
    counts = xp.zeros(table.labels.size if agreement else 1, _WORD)
    # CuPy's device, which has a number.
    device: Any = arrays[0].device
    offsets, labels, origins = _tables(table, xp, device.id)
    parts = [_as_words(part, order) if packed else part for part in (*arrays, *written)]
    _kernel(text, xp)(
        *parts[: len(arrays)],
        offsets,
        labels,
        *([origins] if provenance else []),
        *parts[len(arrays) :],
        counts,
    )
    found: NDArray[np.int64] = xp.asnumpy(counts).astype(np.int64)
    if found[0]:
        for source, array in zip(table.sources, arrays, strict=True):
            check_labels(source, array, xp)
    # Background is not counted by the kernel: most threads would wait for each other.
    found[0] = size - found[1:].sum()
    return written[0], written[1] if provenance else None, found


def _is_words(array: NDArray[Any], order: str) -> bool:
    """Return whether an array's bytes can be read eight at a time."""
    dense = array.flags.c_contiguous if order == "C" else array.flags.f_contiguous
    return bool(
        array.dtype.kind in "ub"
        and array.dtype.itemsize == 1
        and dense
        and array.size
        and array.size % _WORD.itemsize == 0
        # CuPy's pointer, which NumPy's arrays lack.
        and array.data.ptr % _WORD.itemsize == 0  # type: ignore[attr-defined]
    )


def _as_words(array: NDArray[Any], order: str) -> NDArray[np.uint64]:
    return (array if order == "C" else array.T).reshape(-1).view(_WORD)


@lru_cache(maxsize=32)
def _tables(table: FusionTable, xp: ModuleType, _device: int) -> tuple[Any, Any, Any]:
    """Return what the kernel looks up, once for each device."""
    return (
        xp.asarray(class_offsets(table)),
        xp.asarray(table.labels.ravel()),
        xp.asarray(table.origins.ravel()),
    )


@lru_cache(maxsize=256)
def _kernel(text: KernelText, xp: ModuleType) -> Any:
    return xp.ElementwiseKernel(text.inputs, text.outputs, text.body, text.name)
