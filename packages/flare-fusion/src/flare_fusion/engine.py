"""Fusion of one case: check the sources, then one pass over them where they lie.

Arrays decide where the work happens: CuPy arrays stay on their device.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion._arrays import array_module
from flare_fusion.blockwise import evaluate_rule
from flare_fusion.conflict import CellCounts
from flare_fusion.device_pass import fuse_on_device
from flare_fusion.general import GENERAL_RULES, compile_general
from flare_fusion.host_pass import BLOCK, fuse_on_host
from flare_fusion.rules import Rule, fusion_rule
from flare_fusion.staple import StapleRule
from flare_fusion.tables import FusionTable, compile_table
from flare_fusion.votes import VoteRule

__all__ = ["FusionResult", "apply_table", "fuse"]


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
    block: int = BLOCK,
) -> FusionResult:
    """Fuse label maps with a compiled table, or a rule too large for one; see `fuse`.

    ``block`` is the number of voxels worked on at a time and changes nothing but speed.
    """
    arrays = _checked(table, sources)
    xp = array_module(*arrays)
    if not isinstance(table, FusionTable):
        labels, found, combinations = evaluate_rule(table, arrays, xp, agreement=agreement)
        return FusionResult(labels, found if provenance else None, combinations)
    if xp is np:
        label_map, origins, counts = fuse_on_host(
            table, arrays, provenance=provenance, agreement=agreement, block=block
        )
    else:
        label_map, origins, counts = fuse_on_device(
            table, arrays, xp, provenance=provenance, agreement=agreement
        )
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
