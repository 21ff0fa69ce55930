"""``flare-train recipes``: list the recipes, or show one."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from flare_io.command import ExitCode
from flare_train.options import Commands

if TYPE_CHECKING:
    from flare_train.recipe import Recipe

__all__ = ["add", "run"]


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "recipes",
        parents=[common],
        help="list the recipes, or show one with its readings and stages",
        description="Without a name: list the recipes. With one: what it does, the readings of the "
        "paper that can be changed, its stages. --text prints the document to copy and edit.",
    )
    parser.add_argument("recipe", nargs="?", metavar="RECIPE", help="name, or path of a .toml file")
    parser.add_argument(
        "--scale", choices=("full", "small", "mini", "unit"), default="mini", help="default mini"
    )
    parser.add_argument("--text", action="store_true", help="print the document itself")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list, the document or the description."""
    from flare_train.recipe import read_recipe, recipe_names, recipe_text

    if arguments.recipe is None:
        recipes = [read_recipe(name, scale="mini") for name in recipe_names()]
        if arguments.json:
            print(json.dumps({recipe.name: recipe.title for recipe in recipes}))
        else:
            width = max(len(recipe.name) for recipe in recipes)
            print("\n".join(f"{recipe.name:{width}s}  {recipe.title}" for recipe in recipes))
    elif arguments.text:
        print(recipe_text(arguments.recipe), end="")
    else:
        recipe = read_recipe(arguments.recipe, scale=arguments.scale)
        print(json.dumps(_plain(recipe)) if arguments.json else _description(recipe))
    return int(ExitCode.DONE)


def _plain(recipe: Recipe) -> dict[str, Any]:
    return {
        "name": recipe.name,
        "title": recipe.title,
        "readings": [vars(reading) for reading in recipe.readings],
        "stages": [vars(stage) for stage in recipe.stages],
    }


def _description(recipe: Recipe) -> str:
    lines = [recipe.title, "", recipe.about, "", "readings (--reading NAME=OPTION)"]
    for reading in recipe.readings:
        others = [option for option in reading.options if option != reading.used]
        lines.append(f"  {reading.name} = {reading.used} (or {', '.join(others)}): {reading.about}")
    lines += ["", f"stages at scale {recipe.scale}"]
    for stage in recipe.stages:
        reads = f" <- {', '.join(stage.inputs)}" if stage.inputs else ""
        lines.append(f"  {stage.name} ({stage.kind}){reads}")
    return "\n".join(lines)
