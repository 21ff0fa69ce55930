"""Cases with the labels to learn from, made ready for a network."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from flare_io.atomic import write_json
from flare_io.dataset import Case, Dataset, read_dataset
from flare_io.files import read_label_map, write_label_map
from flare_io.labels import LabelTable
from flare_io.preprocessing import Preprocessing
from flare_train.cases import build_store
from flare_train.errors import TrainingDataError
from flare_train.measurement import take_fingerprint
from flare_train.stages.predict import LABELS
from flare_train.stages.settings import LabelSource, PrepareSettings
from flare_train.stages.work import StageWork
from flare_train.training_case import TrainingCase

__all__ = ["run"]

logger = logging.getLogger(__name__)


def run(work: StageWork) -> dict[str, Any]:
    """Build the store ``store`` and say with which preprocessing.

    Raises
    ------
    TrainingDataError
        If no source has a case, or nobody states what a case annotates.
    """
    settings: PrepareSettings = work.settings
    dataset = work.dataset()
    cases: dict[str, TrainingCase] = {}
    for source in settings.labels:
        for case in _cases_of(source, dataset, work):
            cases.setdefault(case.id, case)
    if settings.keep:
        keep, folder = frozenset(settings.keep), work.folder / "kept"
        cases = {id: _kept(case, keep, folder) for id, case in cases.items()}
    if settings.unlabeled:
        for each in dataset.train:
            bare = TrainingCase(id=each.id, image=each.image, label=None, annotated=frozenset())
            cases.setdefault(each.id, bare)
    if not cases:
        names = ", ".join(source.source for source in settings.labels)
        raise TrainingDataError(f"{names}: no label map of any training case; check the selections")
    ordered = [cases[id] for id in sorted(cases)]
    preprocessing = _preprocessing(settings, ordered, dataset.table, work)
    ids = build_store(
        ordered,
        preprocessing,
        work.folder / "store",
        table=dataset.table,
        jobs=work.jobs,
        progress=_log,
    )
    return {
        "cases": list(ids),
        "preprocessing": preprocessing.to_dict(),
        "dataset": dataset.name,
        "table": dataset.table.to_dict(),
        "annotated": {case.id: sorted(case.annotated) for case in ordered},
    }


def _cases_of(source: LabelSource, dataset: Dataset, work: StageWork) -> Iterator[TrainingCase]:
    result = work.inputs[source.source]
    wanted = work.selected(source.cases)
    shows = frozenset(source.shows)
    fused: dict[str, Case] = {}
    if result.kind == "fuse":
        fused = {case.id: case for case in read_dataset(result.folder / "fused").train}
    for case in dataset.train:
        if wanted is not None and case.id not in wanted:
            continue
        label, annotated, origins, ignore = case.label, case.annotated, None, dataset.ignore_label
        if result.kind == "fuse":
            found = fused.get(case.id)
            label, annotated = (found.label, found.annotated) if found else (None, None)
            if work.settings.origins and label is not None:
                origins = label.parent.with_name("provenanceTr") / label.name
        elif result.kind == "predict":
            label, annotated, ignore = result.folder / LABELS / f"{case.id}.nii.gz", shows, None
        elif source.map == "reference":
            label, annotated = case.reference, frozenset(dataset.table.ids)
        elif source.map != "own":
            label, annotated, ignore = case.pseudo_labels.get(source.map), shows, None
        if label is None or not label.is_file():
            continue
        if annotated is None:
            raise TrainingDataError(
                f"{label}: nobody states which classes this case annotates; add K to the 'flare' "
                "part of dataset.json, or set k_source = 'presence'"
            )
        yield TrainingCase(
            id=case.id,
            image=case.image,
            label=label,
            annotated=annotated,
            origins=origins,
            ignore_label=ignore,
        )


def _kept(case: TrainingCase, keep: frozenset[int], folder: Path) -> TrainingCase:
    """Return a case whose label map shows the kept classes only."""
    assert case.label is not None
    stays = keep if case.ignore_label is None else keep | {case.ignore_label}
    annotated = case.annotated & keep
    path = folder / f"{case.id}.nii.gz"
    if path.is_file():
        return dataclasses.replace(case, label=path, annotated=annotated)
    labels = read_label_map(case.label)
    shown = set(np.unique(labels.array).tolist()) - {0}
    if shown <= stays:
        return dataclasses.replace(case, annotated=annotated)
    folder.mkdir(parents=True, exist_ok=True)
    inside = np.isin(labels.array, sorted(stays))
    write_label_map(labels.with_array(np.where(inside, labels.array, 0)), path)
    return dataclasses.replace(case, label=path, annotated=annotated)


def _preprocessing(
    settings: PrepareSettings, cases: list[TrainingCase], table: LabelTable, work: StageWork
) -> Preprocessing:
    """Return the preprocessing, intensities measured or taken over where none are given."""
    plain = dict(settings.preprocessing)
    if settings.intensities_of:
        known = work.inputs[settings.intensities_of].values["preprocessing"]
        plain["intensities"] = known["intensities"]
    elif "intensities" not in plain:
        found = take_fingerprint(cases, work.folder / "fingerprint", table=table, jobs=work.jobs)
        write_json(work.folder / "fingerprint.json", found.to_dict())
        plain["intensities"] = [
            {
                "scheme": "ct",
                "mean": channel.mean,
                "std": channel.std,
                "low": channel.low,
                "high": channel.high,
            }
            for channel in found.intensities
        ]
    return Preprocessing.from_dict(plain)


def _log(name: str, done: int, total: int) -> None:
    if done == total or done % 25 == 0:
        logger.info("prepared %d of %d cases", done, total)
