"""Fusion rules as data: a truth table written row by row.

A rule names its sources, the labels that each may hold, its options, and rows. The rows are
tried from the top for every combination of labels, and the first that fits decides. The built-in
rules are TOML files of this package; a rule of your own is such a file.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from enum import IntEnum
from importlib import resources
from pathlib import Path
from typing import Any

__all__ = ["Option", "Origin", "Row", "Rule", "Source", "fusion_rule", "rule_names"]

_PATTERN = re.compile(r"(?P<label>0|tumor|[a-z])(?P<annotated> annotated)?")


class Origin(IntEnum):
    """Where the label of a fused voxel came from."""

    BACKGROUND = 0
    GROUND_TRUTH = 1
    AGREEMENT = 2
    A_ONLY = 3
    B_ONLY = 4
    VOTE = 5
    TIE = 6
    TUMOR = 7
    PSEUDO_ONLY = 8
    T1_ONLY = 9


@dataclass(frozen=True, kw_only=True)
class Source:
    """One label map that a rule reads.

    Parameters
    ----------
    name : str
        Its key in the mapping that `fuse` takes.
    labels : tuple of int
        What it may hold, 0 included; anything else is an error in the data.
    matters : tuple of int, optional
        If given, the rule sees these labels and reads all others as 0.
    """

    name: str
    labels: tuple[int, ...]
    matters: tuple[int, ...] = ()

    @property
    def classes(self) -> tuple[int, ...]:
        """The labels that the rule tells apart, one axis of its table."""
        return (0, *self.matters) if self.matters else self.labels


@dataclass(frozen=True, kw_only=True)
class Option:
    """A decision that the publication leaves open."""

    name: str
    default: bool | str
    choices: tuple[bool | str, ...]
    about: str = ""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row: if these options hold and these patterns fit, take this label.

    Parameters
    ----------
    when : tuple of (source, pattern)
        Patterns are ``"0"``, ``"tumor"`` or a letter that stands for any organ; `` annotated``
        behind it asks that the case was annotated for it. A source that is not named may hold
        anything.
    take : str
        ``"0"``, ``"tumor"`` or a letter of ``when``.
    origin : Origin
    condition : tuple of (option, value)
    number : int
        Row of the published table, 0 for none.
    """

    when: tuple[tuple[str, str], ...]
    take: str
    origin: Origin
    condition: tuple[tuple[str, bool | str], ...] = ()
    number: int = 0


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A fusion rule.

    Parameters
    ----------
    name, title : str
    organs : tuple of int
        What the letters of the rows stand for.
    tumor : int
    sources : tuple of Source
    rows : tuple of Row
    options : tuple of Option
    """

    name: str
    title: str
    organs: tuple[int, ...]
    tumor: int
    sources: tuple[Source, ...]
    rows: tuple[Row, ...]
    options: tuple[Option, ...] = ()

    def __post_init__(self) -> None:
        sources = [source.name for source in self.sources]
        if not sources or len(set(sources)) != len(sources):
            raise ValueError(f"rule {self.name}: sources must have unique names, got {sources}")
        for row in self.rows:
            _check_row(self, row)

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, in the order of the table's axes."""
        return tuple(source.name for source in self.sources)

    def active_rows(self, options: Mapping[str, bool | str]) -> tuple[Row, ...]:
        """Return the rows that hold under these options."""
        return tuple(
            row for row in self.rows if all(options[name] == value for name, value in row.condition)
        )

    def resolved_options(self, given: Mapping[str, Any]) -> dict[str, bool | str]:
        """Return every option's value, defaults filled in; unknown names or values raise."""
        known = {option.name: option for option in self.options}
        for name, value in given.items():
            if name not in known:
                offered = ", ".join(known) or "none"
                raise ValueError(
                    f"rule {self.name} has no option {name!r}; its options are: {offered}"
                )
            if value not in known[name].choices:
                choices = ", ".join(str(choice) for choice in known[name].choices)
                raise ValueError(f"option {name} must be one of {choices}, got {value!r}")
        return {name: given.get(name, option.default) for name, option in known.items()}


def fusion_rule(name: str | os.PathLike[str]) -> Rule:
    """Return a built-in rule by name, or one of your own from a TOML file.

    Parameters
    ----------
    name : str or path
        One of `rule_names`, or a path that ends in ``.toml``.

    Raises
    ------
    ValueError
        If there is no such rule, or the file is not one.

    Examples
    --------
    >>> fusion_rule("s1-labeled").source_names
    ('A', 'B', 'partial')
    >>> fusion_rule("s1")
    Traceback (most recent call last):
    ValueError: rule must be s1-labeled, s1-unlabeled, s2-overlay, s2-replace or a .toml file,
    got 's1'
    """
    if os.fspath(name).endswith(".toml"):
        return _from_toml(Path(name).read_bytes(), Path(name).stem, os.fspath(name))
    if name not in rule_names():
        raise ValueError(
            f"rule must be {', '.join(rule_names())} or a .toml file, got {os.fspath(name)!r}"
        )
    data = (resources.files("flare_fusion") / "data" / f"{name}.toml").read_bytes()
    return _from_toml(data, os.fspath(name), f"rule {name}")


def rule_names() -> tuple[str, ...]:
    """Return the names of the built-in table rules."""
    entries = (resources.files("flare_fusion") / "data").iterdir()
    return tuple(sorted(entry.name[:-5] for entry in entries if entry.name.endswith(".toml")))


def _check_row(rule: Rule, row: Row) -> None:
    where = f"rule {rule.name}, row {row.number or rule.rows.index(row) + 1}"
    letters = set()
    for source, pattern in row.when:
        if source not in rule.source_names:
            raise ValueError(f"{where}: no source {source!r}")
        match = _PATTERN.fullmatch(pattern)
        if match is None or (pattern.startswith("0") and match["annotated"]):
            raise ValueError(f"{where}: {pattern!r} is no pattern; use 0, tumor, or a letter")
        letters.add(match["label"])
    if row.take not in letters | {"0", "tumor"}:
        raise ValueError(
            f"{where}: take must be 0, tumor or a letter of its patterns, got {row.take!r}"
        )
    known = {option.name: option.choices for option in rule.options}
    for name, value in row.condition:
        if value not in known.get(name, ()):
            raise ValueError(f"{where}: no option {name} = {value}")


def _from_toml(data: bytes, name: str, file: str) -> Rule:
    try:
        table = tomllib.loads(data.decode())
        _only_keys(table, {"title", "organs", "tumor", "sources", "options", "rows"})
        organs, tumor = tuple(table["organs"]), int(table["tumor"])
        label_sets = {"organs": (0, *organs), "all": tuple(sorted({0, *organs, tumor}))}
        return Rule(
            name=name,
            title=str(table["title"]),
            organs=organs,
            tumor=tumor,
            sources=tuple(_source(entry, label_sets) for entry in table["sources"]),
            rows=tuple(_row(entry) for entry in table["rows"]),
            options=tuple(_option(key, entry) for key, entry in table.get("options", {}).items()),
        )
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file}: not a fusion rule: {error}") from error


def _source(entry: dict[str, Any], label_sets: Mapping[str, tuple[int, ...]]) -> Source:
    _only_keys(entry, {"name", "labels", "matters"})
    labels = entry["labels"]
    allowed = label_sets[labels] if isinstance(labels, str) else tuple(sorted({0, *labels}))
    return Source(name=entry["name"], labels=allowed, matters=tuple(entry.get("matters", ())))


def _option(name: str, entry: dict[str, Any]) -> Option:
    _only_keys(entry, {"default", "choices", "about"})
    choices = tuple(entry.get("choices", (False, True)))
    return Option(
        name=name, default=entry["default"], choices=choices, about=entry.get("about", "")
    )


def _row(entry: dict[str, Any]) -> Row:
    _only_keys(entry, {"when", "take", "origin", "if", "number"})
    return Row(
        when=tuple(entry["when"].items()),
        take=entry["take"],
        origin=Origin[entry["origin"].upper().replace(" ", "_")],
        condition=tuple(entry.get("if", {}).items()),
        number=entry.get("number", 0),
    )


def _only_keys(entry: Mapping[str, Any], known: set[str]) -> None:
    for key in entry:
        if key not in known:
            near = get_close_matches(key, known, 1)
            raise ValueError(
                f"unknown key {key!r}" + (f"; did you mean {near[0]}?" if near else "")
            )
