"""Rules compiled to lookup tables: one axis a source, one cell for each set of labels."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion.rules import Row, Rule, Source

__all__ = ["FusionTable", "compile_table", "frozen_table"]


@dataclass(frozen=True, eq=False)
class FusionTable:
    """A compiled rule.

    Parameters
    ----------
    name : str
        The rule's name.
    sources : tuple of Source
        One for each axis.
    labels : (n_1, ..., n_k) unsigned integer array
        The fused label where source ``i`` holds its class number ``j_i``; read-only.
    origins : (n_1, ..., n_k) uint8 array
        `Origin` of that label; read-only.
    """

    name: str
    sources: tuple[Source, ...]
    labels: NDArray[Any]
    origins: NDArray[np.uint8]

    def __getitem__(self, labels: tuple[int, ...]) -> int:
        """Return the fused label of one label for each source."""
        cell = tuple(
            _class_of(source, label) for source, label in zip(self.sources, labels, strict=True)
        )
        return int(self.labels[cell])


def compile_table(
    rule: Rule, *, options: Mapping[str, Any] | None = None, annotated: Iterable[int] | None = None
) -> FusionTable:
    """Compile a rule, its options and a case's annotated classes to a table.

    Parameters
    ----------
    rule : Rule
    options : mapping, optional
        Values of the rule's options; the rest keeps its default.
    annotated : iterable of int, optional
        The classes K that the case's annotators looked for; needed where an active row asks for
        it.

    Returns
    -------
    FusionTable
        Kept for the next call with equal arguments.

    Raises
    ------
    ValueError
        If an option is unknown, K is needed and missing, or the rule leaves a combination open.

    Examples
    --------
    >>> from flare_fusion.rules import fusion_rule
    >>> table = compile_table(fusion_rule("s1-labeled"), options={"tie": "B"})
    >>> table.labels.shape, table[3, 0, 0], table[3, 4, 3], table[3, 4, 0], table[3, 3, 14]
    ((14, 14, 15), 3, 3, 4, 14)
    """
    resolved = rule.resolved_options(options or {})
    known = None if annotated is None else frozenset(int(label) for label in annotated)
    rows = rule.active_rows(resolved)
    asks = any(row.asks_annotated for row in rows)
    if asks and known is None:
        raise ValueError(
            f"rule {rule.name} must know the annotated classes of the case (K); "
            "pass annotated={...}"
        )
    return _compiled(rule, rows, known if asks else None)


def frozen_table(
    name: str, sources: tuple[Source, ...], labels: NDArray[Any], origins: NDArray[Any]
) -> FusionTable:
    """Return a table of these cells, in the smallest types and read-only."""
    small = labels.astype(np.min_scalar_type(int(labels.max())))
    origins = origins.astype(np.uint8)
    small.flags.writeable = origins.flags.writeable = False
    return FusionTable(name, sources, small, origins)


@lru_cache(maxsize=256)
def _compiled(rule: Rule, rows: tuple[Row, ...], annotated: frozenset[int] | None) -> FusionTable:
    values = _open_grid(rule.sources)
    shape = tuple(len(source.classes) for source in rule.sources)
    labels = np.full(shape, -1, np.int64)
    origins = np.zeros(shape, np.uint8)
    for row in rows:
        fits, taken = _fit(rule, row, dict(zip(rule.source_names, values, strict=True)), annotated)
        chosen = np.broadcast_to(fits, shape) & (labels < 0)
        labels[chosen] = np.broadcast_to(taken, shape)[chosen]
        origins[chosen] = row.origin
    if (labels < 0).any():
        cell = tuple(int(k) for k in np.argwhere(labels < 0)[0])
        case = ", ".join(
            f"{source.name} = {source.classes[k]}"
            for source, k in zip(rule.sources, cell, strict=True)
        )
        raise ValueError(f"rule {rule.name} has no row for {case}")
    return frozen_table(rule.name, rule.sources, labels, origins)


def _fit(
    rule: Rule, row: Row, values: Mapping[str, NDArray[Any]], annotated: frozenset[int] | None
) -> tuple[NDArray[np.bool_], NDArray[Any]]:
    """Return where a row fits and which label it takes there, both broadcastable to the table."""
    fits = np.ones((1,) * len(values), bool)
    letters: dict[str, NDArray[Any]] = {"0": np.zeros_like(fits, np.int64)}
    letters["tumor"] = letters["0"] + rule.tumor
    organs = np.asarray(rule.organs)
    for source, pattern in row.when:
        letter, _, restriction = pattern.partition(" ")
        value = values[source]
        if letter in letters:
            fits = fits & (value == letters[letter])
        else:
            fits = fits & np.isin(value, organs)
            for name, other in letters.items():
                if name not in ("0", "tumor"):
                    fits = fits & (value != other)
            letters[letter] = value
        if restriction:
            known = np.isin(value, sorted(annotated or ()))
            fits = fits & (known if restriction == "annotated" else ~known)
    return fits, letters[row.take]


def _open_grid(sources: Sequence[Source]) -> list[NDArray[Any]]:
    """Return each source's classes along an axis of its own."""
    return list(np.ix_(*(np.asarray(source.classes, np.int64) for source in sources)))


def _class_of(source: Source, label: int) -> int:
    if label not in source.labels:
        raise ValueError(f"{source.name} must hold one of {source.labels}, got {label}")
    return source.classes.index(label) if label in source.classes else 0
