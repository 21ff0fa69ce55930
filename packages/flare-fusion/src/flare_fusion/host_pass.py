"""One pass over label maps in main memory with a table: index, look up, write.

Blocks are small enough for the processor's cache, so that each voxel is read from memory once
and written once, and most of a scan, where no source holds a label, is passed over eight voxels
at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion.label_check import check_labels
from flare_fusion.rules import Source
from flare_fusion.tables import FusionTable

__all__ = ["BLOCK", "fuse_on_host"]

# Voxels of a block, and of a piece for which cell numbers are made: more leaves the cache, fewer
# cost calls.
BLOCK = 1 << 20
_PIECE = 1 << 15


def fuse_on_host(
    table: FusionTable,
    arrays: list[NDArray[Any]],
    *,
    provenance: bool,
    agreement: bool,
    block: int = BLOCK,
) -> tuple[NDArray[Any], NDArray[np.uint8] | None, NDArray[np.int64]]:
    """Return labels, origins where asked for, and the voxels of each cell of the table.

    Parameters
    ----------
    table : FusionTable
    arrays : list of (z, y, x) integer array
        In the order of the table's sources, of one shape.
    provenance, agreement : bool
        Without ``agreement`` the counts are empty.
    block : int
        Voxels worked on at a time.

    Raises
    ------
    ValueError
        If a source holds a label that the rule does not know.
    """
    counts = np.zeros(table.labels.size if agreement else 0, np.int64)
    cells = [table.labels.ravel(), *([table.origins.ravel()] if provenance else [])]
    fused = _fuse_in_blocks(table, arrays, cells, counts, block=block)
    return fused[0], fused[1] if provenance else None, counts


def _fuse_in_blocks(
    table: FusionTable,
    arrays: list[NDArray[Any]],
    cells: list[NDArray[Any]],
    counts: NDArray[np.int64],
    *,
    block: int,
) -> list[NDArray[Any]]:
    """Return an array for each list of cells; add the voxels of each cell to counts."""
    # The stubs want literal flags.
    access: list[Any] = [["readonly"]] * len(arrays) + [["writeonly", "allocate"]] * len(cells)
    with np.nditer(
        [*arrays, *[None] * len(cells)],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=access,
        op_dtypes=[*[array.dtype for array in arrays], *[values.dtype for values in cells]],
        buffersize=block,
        order="K",
    ) as blocks:
        for parts in blocks:
            _fuse_block(table, parts[: len(arrays)], cells, parts[len(arrays) :], counts)
        return list(blocks.operands[len(arrays) :])


def _fuse_block(
    table: FusionTable,
    read: Sequence[NDArray[Any]],
    cells: Sequence[NDArray[Any]],
    written: Sequence[NDArray[Any]],
    counts: NDArray[np.int64],
) -> None:
    size = read[0].size
    words = [_as_words(part) for part in (*read, *written)]
    busy = None
    if all(part is not None for part in words):
        held = reduce(np.bitwise_or, words[: len(read)])
        busy = np.flatnonzero(held)
        if busy.size > 0.7 * held.size:
            # Picking would cost more than it saves.
            busy = None
    if busy is None:
        _look_up(table, read, cells, written, counts)
        return
    picked = [part.take(busy).view(np.uint8) for part in words[: len(read)]]
    found = [np.empty(picked[0].size, values.dtype) for values in cells]
    if busy.size:
        _look_up(table, picked, cells, found, counts)
    if counts.size:
        counts[0] += size - picked[0].size
    for values, part, out, result in zip(cells, words[len(read) :], written, found, strict=True):
        out[...] = values[0]
        part[busy] = result.view(np.uint64)


def _as_words(part: NDArray[Any]) -> Any:
    """Return bytes as words of eight; None where they do not fill such."""
    whole = part.dtype.itemsize == 1 and part.size % 8 == 0 and part.flags.c_contiguous
    return part.view(np.uint64) if whole else None


def _look_up(
    table: FusionTable,
    read: Sequence[NDArray[Any]],
    cells: Sequence[NDArray[Any]],
    written: Sequence[NDArray[Any]],
    counts: NDArray[np.int64],
) -> None:
    for start in range(0, read[0].size, _PIECE):
        piece = slice(start, start + _PIECE)
        index = _index(table, [part[piece] for part in read])
        for values, out in zip(cells, written, strict=True):
            np.take(values, index, out=out[piece], mode="clip")
        if counts.size:
            counts += np.bincount(index, minlength=counts.size)


def _index(table: FusionTable, arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the flat cell number of each voxel."""
    index = None
    strides = np.cumprod([1, *table.labels.shape[:0:-1]])[::-1]
    for source, array, stride in zip(table.sources, arrays, strides, strict=True):
        check_labels(source, array, np)
        part = _class_offsets(source, array, int(stride))
        index = part if index is None else np.add(index, part, out=index)
    assert index is not None
    return index


def _class_offsets(source: Source, array: NDArray[Any], stride: int) -> NDArray[Any]:
    if source.classes == tuple(range(len(source.classes))) and not source.matters:
        multiplied: NDArray[Any] = np.multiply(array, stride, dtype=np.intp)
        return multiplied
    offsets = np.zeros(max(source.labels) + 1, np.intp)
    for number, label in enumerate(source.classes):
        offsets[label] = number * stride
    found: NDArray[Any] = np.take(offsets, array)
    return found
