"""From the settled document of a recipe to the stages of a graph."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flare_train.stages.graph import Stage, in_order
from flare_train.stages.kinds import read_settings, stage_inputs
from flare_train.stages.net_settings import TrainSettings
from flare_train.stages.settings import (
    FuseSettings,
    PhantomSettings,
    PrepareSettings,
)
from flare_train.stages.train_config import train_config

__all__ = ["recipe_stages"]

_DATA = "data"


def recipe_stages(
    document: Mapping[str, Any],
    *,
    dataset: os.PathLike[str] | str | None,
    recipe: str,
    scale: str,
) -> tuple[Stage, ...]:
    """Return the stages of a document, all settings checked.

    Parameters
    ----------
    document : mapping
        After overlays and changes.
    dataset : path or None
        The data; None: the document's phantoms.
    recipe, scale : str
        For messages.

    Notes
    -----
    The words ``"organs"`` and ``"tumor"`` in a list stand for the document's label ids. A training
    with ``folds`` becomes as many stages ``NAME-0``, ``NAME-1``, ..., and a list that names it
    names all of them. The document's ``seed`` is added to that of every training.
    """
    ids = {"organs": list(document["organs"]), "tumor": [document["tumor"]]}
    seed = int(document.get("seed", 0))
    tables: dict[str, dict[str, Any]] = {
        _DATA: _data_table(document, dataset, recipe=recipe, scale=scale, seed=seed)
    }
    copies: dict[str, list[str]] = {}
    for name, table in document["stages"].items():
        if name == _DATA:
            continue
        plain = _with_ids(table, ids)
        if plain.get("kind") not in ("train", "pretrain"):
            tables[name] = plain
            continue
        config = dict(plain.get("config", {}))
        config["seed"] = int(config.get("seed", 0)) + seed
        plain["config"] = config
        folds = int(plain.get("folds", 0))
        if folds and "fold" not in plain:
            copies[name] = [f"{name}-{fold}" for fold in range(folds)]
            for fold, copy in enumerate(copies[name]):
                own = {**config, "seed": config["seed"] + fold}
                tables[copy] = {**plain, "fold": fold, "config": own}
        else:
            tables[name] = plain
    return in_order([_stage(name, table, copies) for name, table in tables.items()])


def _stage(name: str, table: Mapping[str, Any], copies: Mapping[str, list[str]]) -> Stage:
    plain = {key: _renamed(value, copies) for key, value in table.items() if key != "kind"}
    kind = str(table.get("kind", ""))
    settings = read_settings(kind, plain, name=name)
    _check_contents(name, kind, settings)
    return Stage(name=name, kind=kind, settings=plain, inputs=stage_inputs(settings))


def _check_contents(name: str, kind: str, settings: Any) -> None:
    """Read what a stage will read, so that no misspelled key waits until a net is trained."""
    try:
        if isinstance(settings, TrainSettings):
            train_config(settings, restores=kind == "pretrain")
        elif isinstance(settings, PrepareSettings):
            _check_preprocessing(settings)
        elif isinstance(settings, FuseSettings):
            from flare_fusion.case_rule import check_rule

            check_rule(settings.rule, options=settings.options, folders=settings.sources)
    except (TypeError, ValueError) as error:
        raise ValueError(f"stages.{name}: {error}") from error


def _check_preprocessing(settings: PrepareSettings) -> None:
    from flare_io.intensity import Intensity
    from flare_io.preprocessing import Preprocessing

    stand_in = [dataclasses.asdict(Intensity(scheme="none"))]
    Preprocessing.from_dict({"intensities": stand_in, **settings.preprocessing})


def _data_table(
    document: Mapping[str, Any],
    dataset: os.PathLike[str] | str | None,
    *,
    recipe: str,
    scale: str,
    seed: int,
) -> dict[str, Any]:
    more = dict(document["stages"].get(_DATA, {}))
    more.pop("kind", None)
    if dataset is not None:
        root = os.path.abspath(dataset)
        if not Path(root).is_dir():
            raise ValueError(f"--dataset must name a folder, got {os.fspath(dataset)!r}")
        return {"kind": "dataset", "path": root, **more}
    phantom = document.get("phantom")
    if phantom is None:
        raise ValueError(
            f"recipe {recipe} at scale {scale} needs data: give a folder with --dataset, or draw "
            "phantoms with --scale mini"
        )
    known = {entry.name for entry in dataclasses.fields(PhantomSettings)}
    return {
        "kind": "phantom",
        "seed": seed,
        **phantom,
        **{k: v for k, v in more.items() if k in known},
    }


def _with_ids(value: Any, ids: Mapping[str, list[int]]) -> Any:
    """Put label ids in place of the words for them, in every list."""
    if isinstance(value, Mapping):
        return {name: _with_ids(item, ids) for name, item in value.items()}
    if not isinstance(value, list | tuple):
        return value
    result: list[Any] = []
    for item in value:
        found = ids.get(item) if isinstance(item, str) else None
        result += [_with_ids(item, ids)] if found is None else found
    return result


def _renamed(value: Any, copies: Mapping[str, list[str]]) -> Any:
    if not isinstance(value, list) or not any(isinstance(item, str) for item in value):
        return value
    return [name for item in value for name in copies.get(item, [item])]
