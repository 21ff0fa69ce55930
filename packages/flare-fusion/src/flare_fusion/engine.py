"""One pass over the label maps with a table: index, look up, write.

Blocks are small enough for the processor's cache, so that each voxel is read from memory once
and written once, and most of a scan, where no source holds a label, is passed over eight voxels
at a time. Arrays decide where the work happens: CuPy arrays stay on their device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion._arrays import array_module
from flare_fusion.blockwise import evaluate_rule
from flare_fusion.conflict import CellCounts
from flare_fusion.general import GENERAL_RULES, compile_general
from flare_fusion.label_check import check_labels
from flare_fusion.rules import Rule, Source, fusion_rule
from flare_fusion.staple import StapleRule
from flare_fusion.tables import FusionTable, compile_table
from flare_fusion.votes import VoteRule

__all__ = ["FusionResult", "apply_table", "fuse"]

# Voxels of a block, and of a piece for which cell numbers are made: more leaves the cache, fewer
# cost calls.
_BLOCK = 1 << 20
_PIECE = 1 << 15


@dataclass(frozen=True, eq=False)
class FusionResult:
    """What a fusion returns.

    Parameters
    ----------
    label_map : (z, y, x) array
        In the smallest unsigned type that holds the rule's labels, in the memory order of the
        sources.
    provenance : (z, y, x) uint8 array or None
        `Origin` of each voxel, where it was asked for.
    agreement : CellCounts or None
        Voxels of each combination of labels, where it was asked for; labels that do not matter to
        the rule count as 0. `flare_fusion.conflict.agreement_record` makes figures of it.
    """

    label_map: NDArray[Any]
    provenance: NDArray[np.uint8] | None = None
    agreement: CellCounts | None = None


def fuse(
    sources: Mapping[str, NDArray[Any]],
    *,
    rule: str | Rule,
    annotated: Iterable[int] | None = None,
    provenance: bool = False,
    agreement: bool = False,
    **options: Any,
) -> FusionResult:
    """Fuse label maps of one case by a rule.

    Parameters
    ----------
    sources : mapping of str to (z, y, x) integer array
        Label maps on one grid under the rule's source names, NumPy or CuPy. Not modified.
    rule : str or Rule
        ``"s1-labeled"`` (A, B, partial), ``"s1-unlabeled"`` (A, B, T1, T2, T3), ``"s2-replace"``
        and ``"s2-overlay"`` (partial, pseudo; with ``-tumor`` behind also tumor), ``"s3-merge"``
        (partial, A, B), ``"s4-overlay"`` (organs, tumor); of any names ``"majority"``,
        ``"weighted"``, ``"union"``, ``"intersection"``, ``"agreement"`` and ``"staple"``; a
        ``.toml`` file, or a rule.
    annotated : iterable of int, optional
        The classes K that the case's annotators looked for; rules that ask for it say so.
    provenance : bool
        Return the origin of each voxel too.
    agreement : bool
        Count how often each combination of labels occurs, in the same pass.
    **options
        The rule's options; ``flare-fusion rules`` prints them.

    Returns
    -------
    FusionResult

    Raises
    ------
    TypeError
        If a source does not hold integers.
    ValueError
        If sources are missing, too many, or of unequal shape; hold labels that the rule does not
        know; an option is unknown; or K is needed and missing.

    Notes
    -----
    Cost: one read of the sources and one write of the result, and some nanoseconds for each voxel
    that is labeled in a source; memory beside the result is below 8 MB.

    Examples
    --------
    >>> a = np.array([[[1, 1, 0, 2]]], np.uint8)
    >>> b = np.array([[[1, 3, 4, 0]]], np.uint8)
    >>> partial = np.array([[[0, 3, 0, 14]]], np.uint8)
    >>> result = fuse({"A": a, "B": b, "partial": partial}, rule="s1-labeled", provenance=True)
    >>> result.label_map.tolist(), result.provenance.tolist()
    ([[[1, 3, 4, 14]]], [[[2, 5, 4, 7]]])
    """
    table: FusionTable | VoteRule | StapleRule
    if isinstance(rule, str) and rule in GENERAL_RULES:
        table = compile_general(rule, tuple(sources), options)
    else:
        chosen = rule if isinstance(rule, Rule) else fusion_rule(rule)
        table = compile_table(chosen, options=options, annotated=annotated)
    return apply_table(table, sources, provenance=provenance, agreement=agreement)


def apply_table(
    table: FusionTable | VoteRule | StapleRule,
    sources: Mapping[str, NDArray[Any]],
    *,
    provenance: bool = False,
    agreement: bool = False,
    block: int = _BLOCK,
) -> FusionResult:
    """Fuse label maps with a compiled table, or a rule too large for one; see `fuse`.

    ``block`` is the number of voxels worked on at a time and changes nothing but speed.
    """
    arrays = _checked(table, sources)
    xp = array_module(*arrays)
    if not isinstance(table, FusionTable):
        labels, found, combinations = evaluate_rule(table, arrays, xp, agreement=agreement)
        return FusionResult(labels, found if provenance else None, combinations)
    counts = np.zeros(table.labels.size if agreement else 0, np.int64)
    if xp is np:
        cells = [table.labels.ravel(), *([table.origins.ravel()] if provenance else [])]
        fused = _fuse_in_blocks(table, arrays, cells, counts, block=block)
        label_map, origins = fused[0], fused[1] if provenance else None
    else:
        index = _index(table, arrays, xp)
        label_map = xp.asarray(table.labels).ravel()[index]
        origins = xp.asarray(table.origins).ravel()[index] if provenance else None
        if agreement:
            counts += xp.asnumpy(xp.bincount(index.ravel(), minlength=counts.size))
    return FusionResult(label_map, origins, _cell_counts(table, counts) if agreement else None)


def _checked(
    table: FusionTable | VoteRule | StapleRule, sources: Mapping[str, NDArray[Any]]
) -> list[NDArray[Any]]:
    wanted = [source.name for source in table.sources]
    if set(wanted) != set(sources):
        raise ValueError(
            f"rule {table.name} needs the sources {', '.join(wanted)}, "
            f"got {', '.join(sources) or 'none'}"
        )
    arrays = [sources[name] for name in wanted]
    for name, array in zip(wanted, arrays, strict=True):
        if not hasattr(array, "dtype") or array.dtype.kind not in "iub":
            found = getattr(array, "dtype", type(array).__name__)
            raise TypeError(f"source {name} must be an integer array, got {found}")
        if array.shape != arrays[0].shape:
            raise ValueError(
                f"sources must have one shape, got {arrays[0].shape} for {wanted[0]} and "
                f"{array.shape} for {name}"
            )
    return arrays


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
        index = _index(table, [part[piece] for part in read], np)
        for values, out in zip(cells, written, strict=True):
            np.take(values, index, out=out[piece], mode="clip")
        if counts.size:
            counts += np.bincount(index, minlength=counts.size)


def _cell_counts(table: FusionTable, counts: NDArray[np.int64]) -> CellCounts:
    found = np.flatnonzero(counts)
    classes = np.unravel_index(found, table.labels.shape)
    labels = [
        np.asarray(source.classes)[number]
        for source, number in zip(table.sources, classes, strict=True)
    ]
    return CellCounts(
        sources=tuple(source.name for source in table.sources),
        labels=np.stack(labels, axis=1),
        voxels=counts[found],
    )


def _index(table: FusionTable, arrays: Sequence[NDArray[Any]], xp: ModuleType) -> NDArray[Any]:
    """Return the flat cell number of each voxel."""
    index = None
    strides = np.cumprod([1, *table.labels.shape[:0:-1]])[::-1]
    for source, array, stride in zip(table.sources, arrays, strides, strict=True):
        check_labels(source, array, xp)
        part = _class_offsets(source, array, int(stride), xp)
        index = part if index is None else xp.add(index, part, out=index)
    assert index is not None
    return index


def _class_offsets(
    source: Source, array: NDArray[Any], stride: int, xp: ModuleType
) -> NDArray[Any]:
    if source.classes == tuple(range(len(source.classes))) and not source.matters:
        return xp.multiply(array, stride, dtype=np.intp)  # type: ignore[no-any-return]  # NumPy or CuPy
    offsets = np.zeros(max(source.labels) + 1, np.intp)
    for number, label in enumerate(source.classes):
        offsets[label] = number * stride
    return xp.take(xp.asarray(offsets), array)  # type: ignore[no-any-return]  # NumPy or CuPy
