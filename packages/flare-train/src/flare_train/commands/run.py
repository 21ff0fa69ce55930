"""``flare-train run``: a whole recipe, from data to a model with its scores."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from flare_io.command import ExitCode
from flare_train.options import Commands, core_count, pick_device, setting_changes

if TYPE_CHECKING:
    from flare_train.recipe import Recipe

__all__ = ["add", "run", "run_and_print"]


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "run",
        parents=[common],
        help="run a recipe: a whole published system, from data to model and scores",
        description="Run a recipe. The same command again goes on where the run ended, and does "
        "only what new settings concern. `flare-train recipes` lists the recipes.",
    )
    _add_recipe(parser)
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        metavar="N",
        help="stages at the same time, each in a process with one thread; "
        "default one per core on the CPU, 1 on a GPU",
    )
    parser.set_defaults(run=run)


def _add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which recipe is meant."""
    parser.add_argument("recipe", metavar="RECIPE", help="name, or path of a .toml file")
    parser.add_argument("--dataset", metavar="DIR", help="data; without it phantoms are drawn")
    parser.add_argument(
        "--scale", choices=("full", "small", "mini", "unit"), default="full", help="default full"
    )
    parser.add_argument(
        "--reading",
        action="append",
        default=[],
        metavar="NAME=OPTION",
        dest="readings",
        help="another reading of the paper; may be given again",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="changes",
        help="replace one setting, such as stages.swift.config.batch=4; may be given again",
    )
    parser.add_argument("--seed", type=int, help="of phantoms and training")


def _asked_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what `read_recipe` is to be asked for."""
    name = arguments.recipe
    return {
        "name": os.path.abspath(name) if name.endswith(".toml") else name,
        "scale": arguments.scale,
        "dataset": None if arguments.dataset is None else os.path.abspath(arguments.dataset),
        "readings": _pairs(arguments.readings),
        "changes": setting_changes(arguments.changes),
        "seed": arguments.seed,
    }


def run(arguments: argparse.Namespace) -> int:
    """Run the recipe; print the table of scores and where the model lies."""
    from flare_train.recipe import read_recipe
    from flare_train.run_recipe import write_request

    asked = _asked_of(arguments)
    recipe = read_recipe(**asked)
    write_request(arguments.output, **asked)
    return run_and_print(arguments, recipe)


def run_and_print(arguments: argparse.Namespace, recipe: Recipe) -> int:
    """Run a recipe that has been read."""
    from flare_train.run_card import describe_scores
    from flare_train.run_recipe import run_recipe

    device = pick_device(arguments.device)
    jobs = arguments.jobs or (1 if device == "cuda" else core_count())
    done = run_recipe(recipe, arguments.output, device=device, jobs=jobs)
    if arguments.json:
        rows = [vars(row) for row in done.rows]
        print(json.dumps({"model": os.fspath(done.model), "scores": rows}))
    else:
        print(f"{describe_scores(done.rows)}\n")
        print(f"model     {done.model}\nrun card  {done.folder / 'run_card.md'}")
    return int(ExitCode.DONE)


def _pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--reading must be NAME=OPTION, got {text!r}")
        pairs[name] = value
    return pairs
