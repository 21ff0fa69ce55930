"""Recipes: TOML documents that describe a whole system, read into a graph of stages.

A document holds the published numbers. ``[every.KIND]`` is what all stages of a kind share,
``[stages.NAME]`` one stage, ``[readings.NAME]`` a choice that the paper leaves open with what each
option changes, and ``[scale.NAME]`` what a smaller run changes. Later ones win: document, readings,
scale, changes by hand; and within each of them ``stages`` over ``every``. Nothing here loads torch.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from importlib import resources
from pathlib import Path
from typing import Any

from flare_train.recipe_stages import recipe_stages
from flare_train.stages.graph import Stage

__all__ = ["SCALES", "Reading", "Recipe", "read_recipe", "recipe_names", "recipe_text"]

SCALES = ("full", "small", "mini", "unit")
_KEYS = frozenset(
    {"title", "about", "organs", "tumor", "model", "scores", "seed", "every", "stages", "readings",
     "scale", "phantom"}
)  # fmt: skip


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


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe at one scale, ready to run.

    Parameters
    ----------
    name, title, about, scale : str
    stages : tuple of Stage
    model : str
        The stage whose model folder is the result.
    scores : mapping of str to str
        Rows of the table of results, each with its stage of kind ``score``.
    readings : tuple of Reading
    organs : tuple of int
        Label ids of the organs.
    tumor : int
        Label id of the tumor.
    document : mapping
        All settings after overlays and changes.
    sha256 : str
        Of the document's text.
    """

    name: str
    title: str
    about: str
    scale: str
    stages: tuple[Stage, ...]
    model: str
    scores: Mapping[str, str]
    readings: tuple[Reading, ...]
    organs: tuple[int, ...]
    tumor: int
    document: Mapping[str, Any]
    sha256: str


def recipe_names() -> tuple[str, ...]:
    """Return the names of the recipes that come with the package.

    Examples
    --------
    >>> "s1-swift" in recipe_names()
    True
    """
    entries = resources.files("flare_train.recipes").iterdir()
    return tuple(sorted(entry.name[:-5] for entry in entries if entry.name.endswith(".toml")))


def recipe_text(name: str | os.PathLike[str]) -> str:
    """Return the text of a recipe.

    Parameters
    ----------
    name : str or path
        A name of `recipe_names`, or a path that ends in ``.toml``.

    Raises
    ------
    ValueError
        If there is no such recipe.
    """
    text = os.fspath(name)
    if text.endswith(".toml"):
        return Path(text).read_text(encoding="utf-8")
    names = recipe_names()
    if text not in names:
        raise ValueError(
            f"no recipe is named {text!r}{_hint(text, names)}; recipes are {', '.join(names)}, or "
            "the path of a .toml file"
        )
    source = resources.files("flare_train.recipes") / f"{text}.toml"
    return source.read_text(encoding="utf-8")


def read_recipe(
    name: str | os.PathLike[str],
    *,
    scale: str = "full",
    dataset: os.PathLike[str] | str | None = None,
    readings: Mapping[str, str] | None = None,
    changes: Mapping[str, Any] | None = None,
    seed: int | None = None,
) -> Recipe:
    """Read a recipe and check every setting of it.

    Parameters
    ----------
    name : str or path
        See `recipe_text`.
    scale : {"full", "small", "mini", "unit"}
    dataset : path, optional
        The data. Without it the scale's phantoms are drawn.
    readings : mapping of str to str, optional
        Options in place of those that the document follows.
    changes : mapping of str to object, optional
        Values by dotted name, such as ``{"stages.swift.config.batch": 4}``.
    seed : int, optional
        Of phantoms and training.

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        If the document does not parse; a key, reading, option or scale is unknown (the nearest is
        given); a setting breaks its rule; or there are no data.

    Examples
    --------
    >>> recipe = read_recipe("s1-swift", scale="unit", readings={"tie": "A"})
    >>> [stage.name for stage in recipe.stages][:3]
    ['data', 'fine-cases', 'fine']
    >>> next(reading.used for reading in recipe.readings if reading.name == "tie")
    'A'
    """
    text = recipe_text(name)
    where = Path(os.fspath(name)).name.removesuffix(".toml")
    document = _parse(text, where)
    layers = [document]
    chosen = _chosen_readings(document, readings or {}, where)
    options = document.get("readings", {})
    layers += [options[reading.name]["options"][reading.used] for reading in chosen]
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    if scale != "full":
        known = document.get("scale", {})
        if scale not in known:
            raise ValueError(
                f"recipe {where} has no scale {scale!r}; it has full, {', '.join(known)}"
            )
        layers.append(known[scale])
    layers.append(_nested(changes or {}))
    if seed is not None:
        layers.append({"seed": seed})
    merged = _merged(layers, where)
    stages = recipe_stages(merged, dataset=dataset, recipe=where, scale=scale)
    _check_results(merged, stages, where)
    return Recipe(
        name=where,
        title=merged["title"],
        about=merged.get("about", "").strip(),
        scale=scale,
        stages=stages,
        model=merged["model"],
        scores=dict(merged.get("scores", {})),
        readings=tuple(_with_effect(reading, options, merged) for reading in chosen),
        organs=tuple(merged["organs"]),
        tumor=int(merged["tumor"]),
        document=merged,
        sha256=hashlib.sha256(text.encode()).hexdigest(),
    )


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"recipe {where} is no readable TOML: {error}") from error
    for key in document:
        if key not in _KEYS:
            raise ValueError(f"recipe {where}: unknown key {key!r}{_hint(key, _KEYS)}")
    for key in ("title", "organs", "tumor", "model", "stages"):
        if key not in document:
            raise ValueError(f"recipe {where} lacks the key {key!r}")
    return document


def _chosen_readings(
    document: Mapping[str, Any], asked: Mapping[str, str], where: str
) -> list[Reading]:
    tables = document.get("readings", {})
    for name in asked:
        if name not in tables:
            hint = _hint(name, tables)
            raise ValueError(f"recipe {where} has no reading {name!r}{hint}; {', '.join(tables)}")
    chosen = []
    for name, table in tables.items():
        unknown = set(table) - {"about", "use", "options"}
        if unknown or "use" not in table or "options" not in table:
            raise ValueError(f"recipe {where}: readings.{name} must hold about, use and options")
        used, options = asked.get(name, table["use"]), tuple(table["options"])
        if used not in options:
            raise ValueError(f"reading {name} must be one of {', '.join(options)}, got {used!r}")
        chosen.append(
            Reading(
                name=name,
                about=table.get("about", ""),
                used=used,
                default=table["use"],
                options=options,
            )
        )
    return chosen


def _merged(layers: Sequence[Mapping[str, Any]], where: str) -> dict[str, Any]:
    """Lay documents over each other, within each of them ``every`` under ``stages``."""
    stages: dict[str, Any] = {}
    result: dict[str, Any] = {}
    for layer in layers:
        for name, table in layer.get("stages", {}).items():
            if name not in stages and name != "data" and "kind" not in table:
                hint = _hint(name, stages)
                raise ValueError(f"recipe {where}: no stage is named {name!r}{hint}")
            stages.setdefault(name, {"kind": table.get("kind", "")})
        for kind, shared in layer.get("every", {}).items():
            for table in stages.values():
                if table["kind"] == kind:
                    _lay_over(table, shared)
        for name, table in layer.get("stages", {}).items():
            _lay_over(stages[name], table)
        rest = {key: value for key, value in layer.items() if key not in ("stages", "every")}
        _lay_over(result, {key: rest[key] for key in rest if key not in ("readings", "scale")})
    return {**result, "stages": stages}


def _lay_over(below: dict[str, Any], above: Mapping[str, Any]) -> None:
    for name, value in above.items():
        if isinstance(value, Mapping) and isinstance(below.get(name), dict):
            _lay_over(below[name], value)
        else:
            below[name] = copy.deepcopy(value)


def _nested(changes: Mapping[str, Any]) -> dict[str, Any]:
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


def _check_results(document: Mapping[str, Any], stages: Sequence[Stage], where: str) -> None:
    kinds = {stage.name: stage.kind for stage in stages}
    if kinds.get(document["model"]) not in ("train", "model"):
        raise ValueError(
            f"recipe {where}: model must name a stage of kind train or model, got "
            f"{document['model']!r}"
        )
    for row, stage in document.get("scores", {}).items():
        if kinds.get(stage) != "score":
            raise ValueError(
                f"recipe {where}: scores.{row!r} must name a stage of kind score, got {stage!r}"
            )


def _with_effect(
    reading: Reading, tables: Mapping[str, Any], document: Mapping[str, Any]
) -> Reading:
    """Mark a reading some of whose settings the final document does not have."""
    missing = object()
    replaced = False
    for path, value in _leaves(tables[reading.name]["options"][reading.used]):
        found: Any = document
        for part in path:
            found = found.get(part, missing) if isinstance(found, Mapping) else missing
        replaced |= found is missing or json.dumps(found) != json.dumps(value)
    return Reading(**{**vars(reading), "replaced": replaced})


def _leaves(table: Mapping[str, Any], path: tuple[str, ...] = ()) -> Iterator[tuple[Any, Any]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, (*path, name))
        else:
            yield (*path, name), value


def _hint(name: str, known: Mapping[str, Any] | Sequence[str] | frozenset[str]) -> str:
    near = get_close_matches(name, list(known), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
