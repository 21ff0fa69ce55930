"""A whole recipe in one folder, finished by calling it again: stages, model, run card."""

from __future__ import annotations

import filecmp
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flare_io.atomic import replacing, write_json
from flare_train.recipe import Recipe, read_recipe
from flare_train.run_card import ScoreRow, run_card, score_rows, write_run_card
from flare_train.stages.runner import run_graph
from flare_train.stages.work import StageResult

__all__ = ["RecipeRun", "read_request", "run_recipe", "write_request"]

_REQUEST = "recipe.json"


@dataclass(frozen=True, kw_only=True)
class RecipeRun:
    """What a recipe ended with.

    Parameters
    ----------
    folder : Path
    recipe : Recipe
    results : mapping of str to StageResult
        By stage.
    rows : tuple of ScoreRow
        Held-out scores.
    """

    folder: Path
    recipe: Recipe
    results: Mapping[str, StageResult]
    rows: tuple[ScoreRow, ...]

    @property
    def model(self) -> Path:
        """The model folder."""
        return self.folder / "model"


def run_recipe(
    recipe: Recipe, output: os.PathLike[str] | str, *, device: str = "cpu", jobs: int = 1
) -> RecipeRun:
    """Do what a recipe has left to do in a folder.

    Parameters
    ----------
    recipe : Recipe
    output : path
        Gets ``stages/``, ``model/``, ``run_card.json``, ``run_card.md``. A stage that was done
        there before with the same settings and inputs is not done again.
    device : str, optional
        Where nets run.
    jobs : int, optional
        Stages at the same time, see `run_graph`.

    Raises
    ------
    StageError
        If a stage cannot be done.
    StoppedError
        If SIGTERM or SIGUSR1 came; the same call goes on.
    """
    root = Path(output)
    results = run_graph(recipe.stages, root, device=device, jobs=jobs)
    _copy_model(results[recipe.model].folder / "model", root / "model")
    rows = score_rows(recipe, results)
    write_run_card(root, run_card(recipe, results), rows)
    return RecipeRun(folder=root, recipe=recipe, results=results, rows=rows)


def write_request(output: os.PathLike[str] | str, **asked: Any) -> None:
    """Keep what `read_recipe` was asked for, so that ``flare-train resume`` can ask again."""
    root = Path(output)
    root.mkdir(parents=True, exist_ok=True)
    write_json(root / _REQUEST, asked)


def read_request(folder: os.PathLike[str] | str) -> Recipe | None:
    """Return the recipe that a folder was begun with; None if it holds no run of a recipe."""
    try:
        asked = json.loads((Path(folder) / _REQUEST).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return read_recipe(asked.pop("name"), **asked)


def _copy_model(source: Path, target: Path) -> None:
    """Copy a model folder, ``model.json`` last: what names the weights comes after them."""
    files = sorted(path for path in source.rglob("*") if path.is_file())
    files.sort(key=lambda path: path.name == "model.json")
    for path in files:
        copy = target / path.relative_to(source)
        copy.parent.mkdir(parents=True, exist_ok=True)
        if copy.is_file() and filecmp.cmp(path, copy, shallow=False):
            continue
        with replacing(copy) as temporary:
            shutil.copyfile(path, temporary)
