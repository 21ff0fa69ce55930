"""Scores of the held-out cases."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from flare_io.dataset import Dataset
from flare_metrics.folder import score_folder
from flare_metrics.protocols import Protocol, protocol
from flare_train.stages.net_settings import ScoreSettings
from flare_train.stages.predict import LABELS
from flare_train.stages.work import StageWork

__all__ = ["dataset_protocol", "run"]


def run(work: StageWork) -> dict[str, Any]:
    """Write ``scores``: tables and a page; nothing where the test cases have no reference.

    Returns
    -------
    dict
        ``summary`` of flare-metrics, and ``table``, the few numbers that recipes are compared by.
    """
    settings: ScoreSettings = work.settings
    dataset = work.dataset()
    references = {case.label.parent for case in dataset.test if case.label is not None}
    if len(references) != 1:
        return {"table": None, "reason": "the dataset's test cases have no label maps"}
    scores = score_folder(
        work.inputs[settings.predictions].folder / LABELS,
        references.pop(),
        protocol=dataset_protocol(dataset, settings.protocol),
        jobs=work.jobs,
    )
    scores.write(work.folder / "scores")
    return {"table": _table(scores.summary(), settings.labels), "cases": len(scores.cases)}


def dataset_protocol(dataset: Dataset, name: str = "sound") -> Protocol:
    """Return a protocol with the classes of a dataset and their names.

    Tolerances of the surface Dice are the protocol's, in millimeters; a phantom's voxels are
    larger than most of them, so its NSD is low where its DSC is high.
    """
    rules = protocol(name)
    names = {each.id: each.name for each in dataset.table.classes}
    labels = tuple(
        dataclasses.replace(label, name=names[label.id], column=names[label.id])
        for label in rules.labels
        if label.id in names
    )
    cropped = tuple(label for label in rules.z_crop_labels if label in names)
    return rules.with_options(labels=labels, z_crop_labels=cropped)


def _table(summary: Mapping[str, Any], shown: tuple[int, ...]) -> dict[str, Any]:
    """Return the summary of the shown labels; that of organs only if one of them is."""
    labels = {
        name: row for name, row in summary["labels"].items() if not shown or row["id"] in shown
    }
    some = any(row["kind"] == "organ" for row in labels.values())
    organs = summary["organs"] if some else {"mean_dsc": None, "mean_nsd": None}
    return {"organs": organs, "labels": labels}
