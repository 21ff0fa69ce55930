"""Recipes: TOML documents that describe a whole system, read into a graph of stages.

A document holds the published numbers. ``[every.KIND]`` is what all stages of a kind share,
``[stages.NAME]`` one stage, ``[readings.NAME]`` a choice that the paper leaves open with what each
option changes, and ``[scale.NAME]`` what a smaller run changes beside what ``scales.toml`` does.
Later ones win: document, readings, shared scale, scale, changes by hand; and within each of them
``stages`` over ``every``. Nothing here loads torch.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from flare_train.recipe_document import (
    Reading,
    changes_layer,
    chosen_readings,
    merge_layers,
    nearest,
    parse_document,
    shared_scale,
    with_effects,
)
from flare_train.recipe_stages import recipe_stages
from flare_train.stages.graph import Stage

__all__ = ["SCALES", "Reading", "Recipe", "read_recipe", "recipe_names", "recipe_text"]

SCALES = ("full", "small", "mini", "unit")


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
        Of `document`: equal for equal settings, whichever layer they come from.
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
            f"no recipe is named {text!r}{nearest(text, names)}; recipes are "
            f"{', '.join(names)}, or the path of a .toml file"
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
    document = parse_document(text, where)
    chosen = chosen_readings(document, readings or {}, where)
    options = document.get("readings", {})
    layers = [document]
    layers += [options[reading.name]["options"][reading.used] for reading in chosen]
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}, got {scale!r}")
    if scale != "full":
        layers += [shared_scale(scale), document.get("scale", {}).get(scale, {})]
    layers.append(changes_layer(changes or {}))
    if seed is not None:
        layers.append({"seed": seed})
    merged = merge_layers(layers, where)
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
        readings=with_effects(chosen, options, merged),
        organs=tuple(merged["organs"]),
        tumor=int(merged["tumor"]),
        document=merged,
        sha256=hashlib.sha256(json.dumps(merged, sort_keys=True).encode()).hexdigest(),
    )


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
