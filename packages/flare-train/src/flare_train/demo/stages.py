"""The stages of the demo, each of which finds out by itself what it has left to do."""

from __future__ import annotations

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from flare_fusion.dataset import fuse_dataset
from flare_io.atomic import write_json
from flare_io.dataset import Dataset, read_dataset
from flare_io.phantom import write_phantom_dataset
from flare_train.demo.inputs import find_ct
from flare_train.demo.prediction import CaseInput, predict_cases
from flare_train.demo.report import DemoReport, write_report
from flare_train.demo.scales import DemoScale, demo_config, demo_scale
from flare_train.demo.scoring import score_heldout
from flare_train.errors import TrainingDataError
from flare_train.run import fit_dataset

__all__ = ["run_demo"]

logger = logging.getLogger(__name__)

_TUMOR = 14
_STAGES = 6


@dataclass(frozen=True)
class _Demo:
    folder: Path
    scale: DemoScale
    seed: int
    jobs: int

    def announce(self, number: int, text: str) -> None:
        logger.info("[%d/%d] %s", number, _STAGES, text)


def run_demo(
    output: os.PathLike[str] | str,
    *,
    ct: Sequence[os.PathLike[str] | str] = (),
    scale: str = "mini",
    seed: int = 0,
    jobs: int | None = None,
) -> DemoReport:
    """Draw phantoms, fuse their labels, train a small net, predict, score and draw pictures.

    Parameters
    ----------
    output : path
        Folder of the demo. What an earlier call of the same scale and seed left there is kept.
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
        If a signal stopped the training; the same call goes on.
    """
    demo = _Demo(Path(output), demo_scale(scale), seed, jobs or _cores())
    searches = {os.fspath(folder): find_ct(folder) for folder in ct}
    _claim_folder(demo)
    started = time.monotonic()
    dataset = _draw(demo)
    fused = _fuse(demo, dataset)
    model = _train(demo, dataset, fused)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    demo.announce(4, "predict the held-out phantoms")
    heldout = [
        CaseInput(id=case.id, image=case.image[0], reference=case.label) for case in dataset.test
    ]
    predicted = predict_cases(heldout, model, demo.folder, group="heldout", device=device)
    demo.announce(5, "predict real CT" if ct else "no CT folder given (--ct DIR), none predicted")
    real = [
        CaseInput(id=id, image=path) for found in searches.values() for id, path in found.ct.items()
    ]
    real_predicted = predict_cases(_distinct(real), model, demo.folder, group="ct", device=device)
    demo.announce(6, "score")
    scores = score_heldout(demo.folder, dataset)
    report = DemoReport(
        folder=demo.folder,
        scale=demo.scale,
        scores=scores,
        heldout=predicted,
        ct=real_predicted,
        refused={
            os.path.join(folder, name): reason
            for folder, found in searches.items()
            for name, reason in found.refused.items()
        },
        names={each.id: each.name for each in dataset.table.classes},
        seconds=time.monotonic() - started,
    )
    write_report(report)
    return report


def _claim_folder(demo: _Demo) -> None:
    demo.folder.mkdir(parents=True, exist_ok=True)
    path = demo.folder / "demo.json"
    asked = {"scale": demo.scale.name, "seed": demo.seed}
    if path.exists():
        before = json.loads(path.read_text(encoding="utf-8"))
        if before != asked:
            raise ValueError(
                f"{demo.folder}: holds a demo of scale {before['scale']} and seed "
                f"{before['seed']}, not of {demo.scale.name} and {demo.seed}; use another folder"
            )
    write_json(path, asked)


def _draw(demo: _Demo) -> Dataset:
    scale = demo.scale
    demo.announce(1, f"draw {scale.cases} + {scale.test_cases} phantoms")
    with _Steps("phantoms") as step:
        folder = write_phantom_dataset(
            demo.folder / "dataset",
            preset=scale.name,
            cases=scale.cases,
            test_cases=scale.test_cases,
            seed=demo.seed,
            jobs=demo.jobs,
            progress=step,
        )
    return read_dataset(folder)


def _fuse(demo: _Demo, dataset: Dataset) -> Path:
    demo.announce(2, "fuse partial labels and two pseudo-label sets by S1's rule")
    fusion = fuse_dataset(dataset, demo.folder / "fused", rule="s1", progress=False)
    if fusion.failed:
        first = fusion.failed[0]
        raise TrainingDataError(f"{first.case}: could not be fused: {first.error}")
    return fusion.folder / "labelsTr"


def _train(demo: _Demo, dataset: Dataset, fused: Path) -> Path:
    config = demo_config(demo.scale, seed=demo.seed)
    demo.announce(3, f"train {config.train.iterations} iterations of {config.train.batch} phantoms")
    with _Steps("prepared") as step:
        return fit_dataset(
            dataset.root,
            demo.folder / "run",
            config,
            labels=fused,
            # The pseudo-labels show all organs; only the centers' own labels show tumors.
            completed=set(dataset.table.ids) - {_TUMOR},
            device="cuda" if torch.cuda.is_available() else "cpu",
            progress=step,
        )


def _distinct(cases: Sequence[CaseInput]) -> list[CaseInput]:
    """Give a second case of the same name a number."""
    seen: dict[str, int] = {}
    result = []
    for case in cases:
        seen[case.id] = seen.get(case.id, 0) + 1
        id = case.id if seen[case.id] == 1 else f"{case.id}-{seen[case.id]}"
        result.append(CaseInput(id=id, image=case.image, reference=case.reference))
    return result


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Steps:
    """Progress of one stage: a bar on a terminal, a few lines in a log."""

    def __init__(self, unit: str) -> None:
        self._bar: Any = None
        self._unit = unit
        self._shown = 0.0

    def __enter__(self) -> Callable[[str, int, int], None]:
        return self._step

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _step(self, name: str, done: int, total: int) -> None:
        if sys.stderr.isatty():
            if self._bar is None:
                self._bar = tqdm(total=total, unit=f" {self._unit}", leave=False)
            self._bar.update(done - self._bar.n)
        elif done == total or time.monotonic() - self._shown > 5:
            self._shown = time.monotonic()
            logger.info("%d of %d %s", done, total, self._unit)
