"""Which training cases a later stage uses."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from flare_fusion.case_scores import CaseFigure, case_scores
from flare_fusion.selection import keep_stable, select_by_agreement
from flare_io.dataset import Case, Dataset
from flare_io.files import read_label_map
from flare_train.errors import TrainingDataError
from flare_train.stages.predict import LABELS
from flare_train.stages.settings import SelectSettings
from flare_train.stages.work import StageWork

__all__ = ["run"]


def run(work: StageWork) -> dict[str, Any]:
    """Return the ids of the selected cases, sorted.

    Raises
    ------
    TrainingDataError
        If no case is left, or a case's figure cannot be found.
    """
    settings: SelectSettings = work.settings
    dataset = work.dataset()
    candidates = {case.id: case for case in dataset.train if _fits(case, settings)}
    figures: dict[str, float | None] = {}
    chosen = sorted(candidates)
    if settings.by == "labels" and settings.first:
        chosen = chosen[: settings.first]
    if settings.by == "agreement":
        scores = case_scores(dataset, by="agreement", jobs=work.jobs)
        figures = _figures(scores, set(candidates))
        chosen = list(
            select_by_agreement(
                figures,
                labeled={case.id for case in candidates.values() if case.label is not None},
                threshold=settings.threshold,
                first_labeled=settings.first_labeled,
                first_unlabeled=settings.first_unlabeled,
            )
        )
    elif settings.by == "stability":
        folders = {name: work.inputs[name].folder / LABELS for name in settings.rounds}
        predicted = {
            id
            for id in candidates
            if all((path / f"{id}.nii.gz").is_file() for path in folders.values())
        }
        scores = case_scores(
            _part(dataset, predicted),
            by="instability",
            sources=settings.rounds,
            folders=folders,
            jobs=work.jobs,
        )
        figures = _figures(scores, predicted)
        stable = keep_stable(
            {id: value for id, value in figures.items() if value is not None}, drop=settings.drop
        )
        chosen = sorted({*stable, *(set(candidates) - predicted)})
    if not chosen:
        raise TrainingDataError(
            f"{dataset.root}: no case of {len(dataset.train)} fits the selection "
            f"{work.stage.name!r}; change its conditions"
        )
    # JSON knows no infinity.
    plain = {id: None if value is None else min(value, 1e9) for id, value in figures.items()}
    return {"cases": chosen, "of": len(dataset.train), "figures": plain}


def _fits(case: Case, settings: SelectSettings) -> bool:
    known = case.annotated or frozenset()
    if settings.labeled != "any" and (case.label is not None) != (settings.labeled == "yes"):
        return False
    if not known >= set(settings.annotated) or known & set(settings.unannotated):
        return False
    if len(known & set(settings.organs)) < settings.least_organs:
        return False
    if not settings.shown:
        return True
    if case.label is None:
        return False
    return set(settings.shown) <= set(np.unique(read_label_map(case.label).array).tolist())


def _figures(scores: tuple[CaseFigure, ...], wanted: set[str]) -> dict[str, float | None]:
    """Return the figure of every wanted case; one that has none cannot be selected."""
    return {
        score.case: score.figure for score in scores if score.case in wanted and score.error is None
    }


def _part(dataset: Dataset, ids: set[str]) -> Dataset:
    return dataclasses.replace(
        dataset, cases=tuple(case for case in dataset.train if case.id in ids)
    )
