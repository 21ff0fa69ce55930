"""The text of a recipe as tables: keys checked, readings chosen, layers laid over each other."""

from __future__ import annotations

import copy
import json
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from importlib import resources
from typing import Any

from flare_train.stages.kinds import KINDS

__all__ = [
    "Reading",
    "changes_layer",
    "chosen_readings",
    "merge_layers",
    "nearest",
    "parse_document",
    "shared_scale",
    "with_effects",
]

_KEYS = frozenset(
    {"title", "about", "organs", "tumor", "model", "scores", "seed", "every", "stages", "readings",
     "scale", "phantom"}
)  # fmt: skip
_SCALES = ("small", "mini", "unit")
_NEEDED = ("title", "organs", "tumor", "model", "stages")


@dataclass(frozen=True, kw_only=True)
class Reading:
    """A choice that a paper leaves open.

    Parameters
    ----------
    name, about : str
    used, default : str
        Which option holds, and which one the document follows.
    options : tuple of str
    replaced : bool
        Whether the scale, or a change by hand, sets something else over what the option says.
    """

    name: str
    about: str
    used: str
    default: str
    options: tuple[str, ...]
    replaced: bool = False


def parse_document(text: str, recipe: str) -> dict[str, Any]:
    """Return the tables of a document.

    Raises
    ------
    ValueError
        If it is no TOML, or a key is unknown (the nearest is given) or missing.

    Examples
    --------
    >>> parse_document("titel = 1", "mine")
    Traceback (most recent call last):
    ...
    ValueError: recipe mine: unknown key 'titel'; did you mean 'title'?
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"recipe {recipe} is no readable TOML: {error}") from error
    for key in document:
        if key not in _KEYS:
            raise ValueError(f"recipe {recipe}: unknown key {key!r}{nearest(key, _KEYS)}")
    for key in _NEEDED:
        if key not in document:
            raise ValueError(f"recipe {recipe} lacks the key {key!r}")
    for key in document.get("scale", {}):
        if key not in _SCALES:
            raise ValueError(f"recipe {recipe}: unknown scale {key!r}{nearest(key, _SCALES)}")
    for layer in (document, *document.get("scale", {}).values()):
        for key in layer.get("every", {}):
            if key not in KINDS:
                raise ValueError(f"recipe {recipe}: unknown kind every.{key}{nearest(key, KINDS)}")
    return document


def shared_scale(name: str) -> dict[str, Any]:
    """Return what a scale changes in every recipe.

    Examples
    --------
    >>> shared_scale("mini")["phantom"]["preset"]
    'mini'
    """
    source = resources.files("flare_train") / "scales.toml"
    tables: dict[str, Any] = tomllib.loads(source.read_text(encoding="utf-8"))[name]
    return tables


def chosen_readings(
    document: Mapping[str, Any], asked: Mapping[str, str], recipe: str
) -> tuple[Reading, ...]:
    """Return every reading of a document with the option that was asked for, or its own.

    Raises
    ------
    ValueError
        If a reading or option is unknown.
    """
    tables = document.get("readings", {})
    for name in asked:
        if name not in tables:
            hint = nearest(name, tables)
            known = ", ".join(tables) or "none"
            raise ValueError(
                f"recipe {recipe} has no reading {name!r}{hint}; its readings: {known}"
            )
    chosen = []
    for name, table in tables.items():
        if set(table) != {"about", "use", "options"}:
            raise ValueError(f"recipe {recipe}: readings.{name} must hold about, use and options")
        used, options = asked.get(name, table["use"]), tuple(table["options"])
        if used not in options:
            raise ValueError(f"reading {name} must be one of {', '.join(options)}, got {used!r}")
        chosen.append(
            Reading(
                name=name,
                about=table["about"],
                used=used,
                default=table["use"],
                options=options,
            )
        )
    return tuple(chosen)


def merge_layers(layers: Sequence[Mapping[str, Any]], recipe: str) -> dict[str, Any]:
    """Lay tables over each other, within each of them ``every`` under ``stages``.

    Returns
    -------
    dict
        Without ``every``, ``readings`` and ``scale``, which are settled.

    Raises
    ------
    ValueError
        If a layer changes a stage that there is not.
    """
    stages: dict[str, Any] = {}
    result: dict[str, Any] = {}
    for layer in layers:
        for name, table in layer.get("stages", {}).items():
            if name not in stages and name != "data" and "kind" not in table:
                hint = nearest(name, stages)
                raise ValueError(f"recipe {recipe}: no stage is named {name!r}{hint}")
            stages.setdefault(name, {"kind": table.get("kind", "")})
        _lay_over(stages, _every(layer, stages))
        _lay_over(stages, layer.get("stages", {}))
        settled = ("stages", "every", "readings", "scale")
        _lay_over(result, {key: value for key, value in layer.items() if key not in settled})
    return {**result, "stages": stages}


def changes_layer(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings by dotted name as tables.

    Examples
    --------
    >>> changes_layer({"stages.swift.config.batch": 4})
    {'stages': {'swift': {'config': {'batch': 4}}}}
    """
    nested: dict[str, Any] = {}
    for name, value in changes.items():
        *tables, last = name.split(".")
        if tables[:1] != ["stages"] or len(tables) < 2:
            raise ValueError(f"a change must name stages.STAGE.SETTING, got {name!r}")
        place = nested
        for part in tables:
            place = place.setdefault(part, {})
        place[last] = value
    return nested


def with_effects(
    readings: Sequence[Reading], tables: Mapping[str, Any], document: Mapping[str, Any]
) -> tuple[Reading, ...]:
    """Mark the readings some of whose settings the final document does not have."""
    marked = []
    for reading in readings:
        option = tables[reading.name]["options"][reading.used]
        wanted = [
            *_leaves(option.get("stages", {})),
            *_leaves(_every(option, document["stages"])),
        ]
        replaced = any(
            json.dumps(_value(document["stages"], path)) != json.dumps(value)
            for path, value in wanted
        )
        marked.append(replace(reading, replaced=replaced))
    return tuple(marked)


def nearest(name: str, known: Mapping[str, Any] | Sequence[str] | frozenset[str]) -> str:
    """Return a question about the name that was perhaps meant, or nothing."""
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def _every(layer: Mapping[str, Any], stages: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tables of ``every`` as tables of the stages that they concern."""
    shared = layer.get("every", {})
    return {
        name: copy.deepcopy(shared[table["kind"]])
        for name, table in stages.items()
        if table["kind"] in shared
    }


def _lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for name, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(name), dict):
            _lay_over(below[name], value)
        else:
            below[name] = copy.deepcopy(value)


def _leaves(
    table: Mapping[str, Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _value(table: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        if not isinstance(table, Mapping) or part not in table:
            return None
        table = table[part]
    return table
