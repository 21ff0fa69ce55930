"""Fusion rules as data: a truth table written row by row.

A rule names its sources, the labels that each may hold, its options, and rows. The rows are
tried from the top for every combination of labels, and the first that fits decides. The built-in
rules are TOML files of this package; a rule of your own is such a file.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from importlib import resources
from pathlib import Path
from typing import Any

from flare_fusion.row_check import check_row
from flare_fusion.spelling import did_you_mean

__all__ = ["Option", "Origin", "Row", "Rule", "Source", "fusion_rule", "rule_names"]


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
    ONE_ONLY = 10


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
        or `` unannotated`` behind it asks that the case was, or was not, annotated for it. A
        source that is not named may hold anything.
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

    @property
    def asks_annotated(self) -> bool:
        """Whether it depends on the annotated classes of the case (K)."""
        return any(pattern.endswith("annotated") for _, pattern in self.when)


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
        labels = (0, *self.organs, self.tumor)
        if len(set(labels)) != len(labels):
            raise ValueError(f"rule {self.name}: organs and tumor must be different labels > 0")
        for source in self.sources:
            if not set(source.matters) <= set(source.labels) - {0}:
                raise ValueError(
                    f"rule {self.name}: source {source.name}: matters must be labels of it, "
                    f"got {list(source.matters)}"
                )
        for option in self.options:
            if option.default not in option.choices:
                raise ValueError(
                    f"rule {self.name}: option {option.name}: default must be one of its choices, "
                    f"got {option.default!r}"
                )
        for row in self.rows:
            check_row(self, row)

    @property
    def source_names(self) -> tuple[str, ...]:
        """Names of the sources, in the order of the table's axes."""
        return tuple(source.name for source in self.sources)

    def active_rows(self, options: Mapping[str, bool | str]) -> tuple[Row, ...]:
        """Return the rows that hold under these options."""
        return tuple(
            row for row in self.rows if all(options[name] == value for name, value in row.condition)
        )

    def asks_annotated(self, options: Mapping[str, bool | str]) -> bool:
        """Return whether a row that holds under these options depends on K."""
        return any(row.asks_annotated for row in self.active_rows(options))

    def resolved_options(self, given: Mapping[str, Any]) -> dict[str, bool | str]:
        """Return every option's value, defaults filled in; unknown names or values raise."""
        known = {option.name: option for option in self.options}
        for name, value in given.items():
            if name not in known:
                offered = ", ".join(known) or "none"
                raise ValueError(
                    f"rule {self.name} has no option {name!r}; its options are: {offered}"
                    + did_you_mean(name, known)
                )
            if value not in known[name].choices:
                choices = ", ".join(str(choice) for choice in known[name].choices)
                raise ValueError(
                    f"option {name} must be one of {choices}, got {value!r}"
                    + did_you_mean(value, known[name].choices)
                )
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
    >>> fusion_rule("s1-labelled")
    Traceback (most recent call last):
    ValueError: rule must be s1-labeled, s1-unlabeled, ... or a .toml file, got 's1-labelled';
    did you mean s1-labeled?
    """
    from flare_fusion.rule_files import parse_rule

    text = os.fspath(name)
    if text.endswith(".toml"):
        return parse_rule(Path(text).read_bytes(), name=Path(text).stem, file=text)
    if text not in rule_names():
        raise ValueError(_unknown_rule(text))
    data = (resources.files("flare_fusion") / "data" / f"{text}.toml").read_bytes()
    return parse_rule(data, name=text, file=f"rule {text}")


def rule_names() -> tuple[str, ...]:
    """Return the names of the built-in table rules."""
    entries = (resources.files("flare_fusion") / "data").iterdir()
    return tuple(sorted(entry.name[:-5] for entry in entries if entry.name.endswith(".toml")))


def _unknown_rule(name: str) -> str:
    from flare_fusion.general import GENERAL_RULES

    if name in GENERAL_RULES:
        return f"rule {name} takes any sources and has no rows; hand its name to fuse"
    names = (*rule_names(), *GENERAL_RULES)
    return (
        f"rule must be {', '.join(names)} or a .toml file, got {name!r}{did_you_mean(name, names)}"
    )
