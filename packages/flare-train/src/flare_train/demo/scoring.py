"""Scores of the held-out phantoms."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from flare_io.dataset import Dataset
from flare_metrics.folder import FolderScore, score_folder
from flare_metrics.protocols import Protocol, protocol

__all__ = ["demo_protocol", "score_heldout"]


def score_heldout(folder: Path, dataset: Dataset) -> FolderScore:
    """Score ``predictions/heldout`` against the dataset's truth and write ``scores``."""
    scores = score_folder(
        folder / "predictions" / "heldout",
        dataset.root / "labelsTs",
        protocol=demo_protocol(dataset),
    )
    scores.write(folder / "scores")
    return scores


def demo_protocol(dataset: Dataset) -> Protocol:
    """Return the sound protocol with the classes of the dataset and their names.

    Tolerances of the surface Dice are those of FLARE 2023, in millimeters; a phantom's voxels are
    larger than most of them, so its NSD is low where its DSC is high.
    """
    rules = protocol("sound")
    names = {each.id: each.name for each in dataset.table.classes}
    labels = tuple(
        dataclasses.replace(label, name=names[label.id], column=names[label.id])
        for label in rules.labels
        if label.id in names
    )
    cropped = tuple(label for label in rules.z_crop_labels if label in names)
    return rules.with_options(labels=labels, z_crop_labels=cropped)
