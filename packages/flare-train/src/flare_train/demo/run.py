"""The recipe of our own mix run on phantoms, its net shown on real CT, and a page about both."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from flare_io.atomic import write_json
from flare_io.dataset import Dataset, read_dataset
from flare_train.demo.inputs import find_ct
from flare_train.demo.prediction import CaseInput, show_cases
from flare_train.demo.report import DemoReport, write_report
from flare_train.options import core_count
from flare_train.recipe import Recipe, read_recipe
from flare_train.run_recipe import RecipeRun, run_recipe
from flare_train.stages.graph import wanted_for
from flare_train.stages.predict import LABELS
from flare_train.stages.runner import run_graph

__all__ = ["RECIPE", "SMALLEST_DSC", "run_demo"]

logger = logging.getLogger(__name__)

RECIPE = "swift-plus"
# Mean organ DSC on the held-out phantoms below which the demo counts as failed, by scale.
SMALLEST_DSC: Mapping[str, float | None] = {"unit": None, "mini": 0.75}


def run_demo(
    output: os.PathLike[str] | str,
    *,
    ct: Sequence[os.PathLike[str] | str] = (),
    scale: str = "mini",
    seed: int = 0,
    jobs: int | None = None,
) -> DemoReport:
    """Run the recipe ``swift-plus`` on phantoms, predict real CT, score, draw pictures.

    Parameters
    ----------
    output : path
        Folder of the demo, also that of the recipe. What an earlier call of the same scale and
        seed left there is kept.
    ct : sequence of path, optional
        Folders of real CT: volume files and folders of one DICOM series each. They are predicted
        and shown, not scored.
    scale : {"mini", "unit"}, optional
        ``mini`` takes minutes on two cores; ``unit`` takes seconds and learns next to nothing.
    seed : int, optional
        Of phantoms and training.
    jobs : int, optional
        Processes for drawing phantoms; by default one per core.

    Returns
    -------
    DemoReport
        Scores, volumes, times and where everything lies.

    Raises
    ------
    ValueError
        If the folder holds another demo, or a CT folder is none.
    StoppedError
        If a signal stopped the run; the same call goes on.
    """
    if scale not in SMALLEST_DSC:
        raise ValueError(f"scale must be one of {', '.join(SMALLEST_DSC)}, got {scale!r}")
    root = Path(output)
    searches = {os.fspath(folder): find_ct(folder) for folder in ct}
    recipe = read_recipe(RECIPE, scale=scale, seed=seed)
    _claim_folder(root, scale=scale, seed=seed)
    started = time.monotonic()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    # Drawing takes all cores as processes; training, one stage after the other, as threads.
    run_graph(wanted_for(recipe.stages, ["data"]), root, jobs=jobs or core_count())
    done = run_recipe(recipe, root, device=device, jobs=1)
    data = done.results["data"]
    dataset = read_dataset(data.folder / data.values["root"])
    logger.info("pictures of the held-out phantoms")
    heldout = show_cases(_heldout(done, dataset), done.model, root, group="heldout", device=device)
    logger.info("real CT" if ct else "no CT folder given (--ct DIR), none predicted")
    found = (item for search in searches.values() for item in search.ct.items())
    shown = show_cases(_distinct(found), done.model, root, group="ct", device=device)
    scored = done.results[recipe.scores[RECIPE]].folder / "scores"
    report = DemoReport(
        folder=root,
        scale=scale,
        smallest_dsc=SMALLEST_DSC[scale],
        summary=json.loads((scored / "summary.json").read_text(encoding="utf-8")),
        heldout=heldout,
        ct=shown,
        refused={
            os.path.join(folder, name): reason
            for folder, search in searches.items()
            for name, reason in search.refused.items()
        },
        names={each.id: each.name for each in dataset.table.classes},
        places=_places(done, recipe),
        seconds=time.monotonic() - started,
    )
    write_report(report)
    return report


def _claim_folder(root: Path, *, scale: str, seed: int) -> None:
    root.mkdir(parents=True, exist_ok=True)
    path = root / "demo.json"
    asked = {"scale": scale, "seed": seed}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before != asked:
            raise ValueError(
                f"{root}: holds a demo of scale {before['scale']} and seed {before['seed']}, not "
                f"of {scale} and {seed}; use another folder"
            )
    write_json(path, asked)


def _heldout(done: RecipeRun, dataset: Dataset) -> list[CaseInput]:
    labels = done.results["predicted"].folder / LABELS
    return [
        CaseInput(
            id=case.id,
            image=case.image[0],
            reference=case.label,
            prediction=labels / f"{case.id}.nii.gz",
        )
        for case in dataset.test
    ]


def _distinct(cases: Iterable[tuple[str, Path]]) -> list[CaseInput]:
    """Give a second case of the same name a number."""
    seen: dict[str, int] = {}
    result = []
    for name, path in cases:
        seen[name] = seen.get(name, 0) + 1
        id = name if seen[name] == 1 else f"{name}-{seen[name]}"
        result.append(CaseInput(id=id, image=path))
    return result


def _places(done: RecipeRun, recipe: Recipe) -> dict[str, Path]:
    results = done.results
    return {
        "pictures": done.folder / "pictures",
        "label maps": results["predicted"].folder / LABELS,
        "label maps of CT": done.folder / "predictions",
        "scores": results[recipe.scores[RECIPE]].folder / "scores",
        "learning curve": results[recipe.model].folder / "training" / "progress.png",
        "model": done.model,
        "run card": done.folder / "run_card.md",
        "this report": done.folder / "report.txt",
    }
