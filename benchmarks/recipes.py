"""All recipes end to end on phantoms: held-out scores, minutes, sizes.

``python benchmarks/recipes.py`` runs every recipe at scale ``mini``, two stages at a time in
processes of one thread, prints a table and writes ``benchmarks/results/recipes.json``. Finished
stages are kept in ``--state``, so that a stopped run goes on; the minutes are those of all stages
as if none had been stopped, and the wall time is given only for recipes that ran in one go.
"""

from __future__ import annotations

import os

# Before torch starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import time
from pathlib import Path
from typing import Any

from machine import describe_machine

from flare_train.recipe import read_recipe, recipe_names
from flare_train.run_recipe import run_recipe
from flare_train.stages.runner import graph_state

RESULTS = Path(__file__).parent / "results" / "recipes.json"
PACKAGES = ("flare-train", "flare-infer", "flare-fusion", "flare-nets", "flare-metrics", "torch")


def run(name: str, folder: Path, *, scale: str, jobs: int) -> dict[str, Any]:
    """Run one recipe and return what the table shows of it."""
    recipe = read_recipe(name, scale=scale)
    fresh = not folder.exists() or not graph_state(recipe.stages, folder).done
    started = time.monotonic()
    done = run_recipe(recipe, folder, jobs=jobs)
    wall = time.monotonic() - started
    card = json.loads((folder / "run_card.json").read_text(encoding="utf-8"))
    return {
        "recipe": name,
        "wall_minutes": round(wall / 60, 1) if fresh else None,
        "stage_minutes": round(card["seconds"] / 60, 1),
        "model": card["model"],
        "scores": [vars(row) for row in done.rows],
        "document_sha256": recipe.sha256,
    }


def table(results: list[dict[str, Any]]) -> str:
    """Return the results as Markdown."""
    lines = [
        "| recipe | model | organs DSC / NSD | tumor DSC / NSD, diseased | healthy, false tumor "
        "| minutes | weights |",
        "|---|---|---|---|---|---|---|",
    ]
    for result in results:
        model = result["model"]
        size = f"{model['members']} x {model['parameters'] / 1e6:.2f} M"
        minutes = result["wall_minutes"]
        for number, row in enumerate(result["scores"]):
            first = number == 0
            cells = [
                result["recipe"] if first else "",
                row["name"],
                _pair(row["organ_dsc"], row["organ_nsd"]),
                _pair(row["tumor_dsc"], row["tumor_nsd"]),
                f"{row['healthy_wrong']} of {row['healthy']}",
                ("-" if minutes is None else f"{minutes}") if first else "",
                size if first else "",
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """Run the recipes that were asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="*", default=recipe_names(), metavar="RECIPE")
    parser.add_argument("--scale", choices=("mini", "unit"), default="mini")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--state", type=Path, default=Path("recipes-state"))
    arguments = parser.parse_args()
    results = []
    for name in arguments.recipes:
        folder = arguments.state / arguments.scale / name
        memory = folder / "benchmark.json"
        result = run(name, folder, scale=arguments.scale, jobs=arguments.jobs)
        if result["wall_minutes"] is None and memory.exists():
            before = json.loads(memory.read_text(encoding="utf-8"))
            if before["document_sha256"] == result["document_sha256"]:
                result["wall_minutes"] = before["wall_minutes"]
        memory.write_text(json.dumps(result), encoding="utf-8")
        results.append(result)
        print(table(results), flush=True)
    if arguments.scale == "mini":
        content = {"machine": describe_machine(*PACKAGES), "recipes": results}
        RESULTS.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _pair(dsc: float | None, nsd: float | None) -> str:
    return "-" if dsc is None or nsd is None else f"{dsc:.3f} / {nsd:.3f}"


if __name__ == "__main__":
    main()
