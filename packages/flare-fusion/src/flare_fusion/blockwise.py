"""Rules without a table: what many sources or labels would make too large, and estimates.

A vote of many sources is evaluated on blocks that fit the cache, as the look-up of a table is.
STAPLE needs whole label maps, and so does a device, whose kernels are launched once.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion.conflict import CellCounts
from flare_fusion.label_check import check_labels
from flare_fusion.rules import Source
from flare_fusion.staple import StapleRule
from flare_fusion.votes import VoteRule

__all__ = ["evaluate_rule"]

# Voxels of a block; a vote holds some arrays of this size beside each other.
_BLOCK = 1 << 15


def evaluate_rule(
    rule: VoteRule | StapleRule,
    arrays: Sequence[NDArray[Any]],
    xp: ModuleType,
    *,
    agreement: bool = False,
    block: int = _BLOCK,
) -> tuple[NDArray[Any], NDArray[np.uint8], CellCounts | None]:
    """Return labels, origins and, where asked for, how often each combination occurs.

    Parameters
    ----------
    rule : VoteRule or StapleRule
    arrays : sequence of (z, y, x) integer array
        In the order of the rule's sources, of one shape.
    xp : module
        NumPy or CuPy, to which the arrays belong.
    agreement : bool
    block : int
        Voxels worked on at a time; changes nothing but speed.

    Raises
    ------
    ValueError
        If a source holds a label that the rule does not know.
    """
    tally = _Tally(rule.sources) if agreement else None
    if xp is np and isinstance(rule, VoteRule):
        fused, origins = _in_blocks(rule, arrays, tally, block)
    else:
        for source, array in zip(rule.sources, arrays, strict=True):
            check_labels(source, array, xp)
        fused, origins = rule.evaluate(arrays, xp)
        if tally is not None:
            tally.add(arrays, xp)
    return fused, origins, None if tally is None else tally.counts()


def _in_blocks(
    rule: VoteRule, arrays: Sequence[NDArray[Any]], tally: _Tally | None, block: int
) -> tuple[NDArray[Any], NDArray[np.uint8]]:
    # The stubs want literal flags.
    access: list[Any] = [["readonly"]] * len(arrays) + [["writeonly", "allocate"]] * 2
    with np.nditer(
        [*arrays, None, None],
        flags=["external_loop", "buffered", "zerosize_ok"],
        op_flags=access,
        op_dtypes=[*[array.dtype for array in arrays], rule.label_type, np.dtype(np.uint8)],
        buffersize=block,
        order="K",
    ) as blocks:
        for *read, labels, origins in blocks:
            for source, part in zip(rule.sources, read, strict=True):
                check_labels(source, part, np)
            if tally is not None:
                tally.add(read, np)
            # Most of a scan is background in every source, on which all rules agree.
            if any(part.any() for part in read):
                labels[...], origins[...] = rule.evaluate(read, np)
            else:
                labels[...] = origins[...] = 0
        fused, found = blocks.operands[len(arrays) :]
    return fused, found


class _Tally:
    """Counts combinations of labels as they come, without a table of all."""

    def __init__(self, sources: Sequence[Source]) -> None:
        self._sources = tuple(source.name for source in sources)
        self._base = sources[0].labels[-1] + 1
        # A combination is a number with a digit for each source.
        if self._base ** len(sources) >= 1 << 63:
            raise ValueError(
                f"agreement counts combinations of up to {int(63 / math.log2(self._base))} sources "
                f"with labels below {self._base}, got {len(sources)} sources"
            )
        self._voxels: dict[int, int] = {}

    def add(self, parts: Sequence[NDArray[Any]], xp: ModuleType) -> None:
        """Count the combinations of a block."""
        code = parts[0].astype(np.int64).ravel()
        for part in parts[1:]:
            code = code * self._base + part.astype(np.int64).ravel()
        found, voxels = xp.unique(code, return_counts=True)
        for each, count in zip(found.tolist(), voxels.tolist(), strict=True):
            self._voxels[each] = self._voxels.get(each, 0) + count

    def counts(self) -> CellCounts:
        """Return all that was counted, in ascending order of the labels."""
        codes = np.array(sorted(self._voxels), np.int64)
        powers = self._base ** np.arange(len(self._sources), dtype=np.int64)[::-1]
        return CellCounts(
            sources=self._sources,
            labels=codes[:, None] // powers % self._base,
            voxels=np.array([self._voxels[code] for code in codes.tolist()], np.int64),
        )
