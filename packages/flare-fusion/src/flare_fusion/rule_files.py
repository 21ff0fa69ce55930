"""Rules read from TOML: what a file must hold, and what a wrong one is told."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from typing import Any

from flare_fusion.rules import Option, Origin, Row, Rule, Source
from flare_fusion.spelling import did_you_mean

__all__ = ["parse_rule"]

_Table = Mapping[str, Any]


def parse_rule(data: bytes, *, name: str, file: str) -> Rule:
    """Return the rule that a TOML file describes.

    Parameters
    ----------
    data : bytes
        The file.
    name : str
        What to call the rule.
    file : str
        What to call the file in messages.

    Returns
    -------
    Rule

    Raises
    ------
    ValueError
        If it is no TOML or no rule, with the key or row that is wrong.

    Examples
    --------
    >>> parse_rule(b'title = "mine"', name="mine", file="mine.toml")
    Traceback (most recent call last):
    ValueError: mine.toml: not a fusion rule: the file lacks the key 'organs'
    """
    try:
        table = tomllib.loads(data.decode())
        _check_keys(
            table,
            "the file",
            required=("title", "organs", "tumor", "sources", "rows"),
            optional=("options",),
        )
        organs = tuple(_label(label, "organs") for label in _list(table["organs"], "organs"))
        tumor = _label(table["tumor"], "tumor")
        return Rule(
            name=name,
            title=str(table["title"]),
            organs=organs,
            tumor=tumor,
            sources=tuple(
                _source(entry, organs, tumor) for entry in _list(table["sources"], "sources")
            ),
            rows=tuple(
                _row(entry, number + 1) for number, entry in enumerate(_list(table["rows"], "rows"))
            ),
            options=tuple(
                _option(key, entry)
                for key, entry in _mapping(table.get("options", {}), "options").items()
            ),
        )
    except ValueError as error:
        raise ValueError(f"{file}: not a fusion rule: {error}") from error


def _source(entry: Any, organs: tuple[int, ...], tumor: int) -> Source:
    entry = _mapping(entry, "a source")
    _check_keys(entry, "a source", required=("name", "labels"), optional=("matters",))
    where = f"source {entry['name']}"
    named = {"organs": (0, *organs), "all": tuple(sorted({0, *organs, tumor}))}
    labels = entry["labels"]
    if isinstance(labels, str):
        if labels not in named:
            raise ValueError(
                f"{where}: labels must be organs, all or a list of labels, got {labels!r}"
                + did_you_mean(labels, named)
            )
        held = named[labels]
    else:
        held = tuple(sorted({0, *(_label(each, where) for each in _list(labels, where))}))
    matters = tuple(_label(each, where) for each in _list(entry.get("matters", []), where))
    return Source(name=str(entry["name"]), labels=held, matters=matters)


def _option(name: str, entry: Any) -> Option:
    where = f"option {name}"
    entry = _mapping(entry, where)
    _check_keys(entry, where, required=("default",), optional=("choices", "about"))
    choices = tuple(_list(entry.get("choices", [False, True]), where))
    return Option(
        name=name, default=entry["default"], choices=choices, about=str(entry.get("about", ""))
    )


def _row(entry: Any, place: int) -> Row:
    where = f"row {place} of the file"
    entry = _mapping(entry, where)
    _check_keys(entry, where, required=("when", "take", "origin"), optional=("if", "number"))
    origin = str(entry["origin"]).upper().replace(" ", "_")
    if origin not in Origin.__members__:
        known = [each.name.lower().replace("_", " ") for each in Origin]
        raise ValueError(
            f"{where}: origin must be one of {', '.join(known)}, got {entry['origin']!r}"
            + did_you_mean(entry["origin"], known)
        )
    return Row(
        when=tuple((name, str(value)) for name, value in _mapping(entry["when"], where).items()),
        take=str(entry["take"]),
        origin=Origin[origin],
        condition=tuple(_mapping(entry.get("if", {}), where).items()),
        number=int(entry.get("number", 0)),
    )


def _check_keys(
    entry: _Table, where: str, *, required: tuple[str, ...], optional: tuple[str, ...]
) -> None:
    known = (*required, *optional)
    for key in entry:
        if key not in known:
            raise ValueError(f"{where} has the unknown key {key!r}{did_you_mean(key, known)}")
    for key in required:
        if key not in entry:
            raise ValueError(f"{where} lacks the key {key!r}")


def _label(value: Any, where: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 1 << 16:
        raise ValueError(f"{where}: a label must be a whole number 0 to 65535, got {value!r}")
    return value


def _list(value: Any, where: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{where} must be a list, got {value!r}")
    return value


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError(f"{where} must be a table of keys, got {value!r}")
    return value
