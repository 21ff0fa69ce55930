"""Every problem of a dataset folder at once: names, grids, label values."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from flare_io._dataset_labels import DatasetLabels, read_labels
from flare_io._dataset_layout import FileEntry, Layout, read_layout
from flare_io._dataset_problem import Problem
from flare_io.errors import DatasetError, GeometryError, LabelError, UnreadableVolumeError
from flare_io.geometry import describe_grid_difference
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

__all__ = ["check_dataset"]


def check_dataset(
    folder: os.PathLike[str] | str, *, policy: ReadPolicy | None = None
) -> list[Problem]:
    """List everything that is wrong or remarkable in a dataset folder.

    Image headers and whole label files are read; image voxels are not.

    Parameters
    ----------
    folder : path
        nnU-Net's raw folder, or one of FLARE's.
    policy : ReadPolicy, optional
        Rules for reading the files.

    Returns
    -------
    list of Problem
        Errors first, then notes; empty for a perfect folder.
    """
    policy = policy or ReadPolicy()
    try:
        layout = read_layout(folder)
    except DatasetError as error:
        return [_problem(error)]
    problems = list(layout.problems)
    try:
        labels = read_labels(layout)
    except DatasetError as error:
        return [_problem(error), *problems]
    problems.extend(_check_manifest(layout, labels))
    for entry in layout.entries.values():
        problems.extend(_check_case(layout, entry, labels, policy))
    return sorted(problems, key=lambda problem: problem.severity == "note")


def _problem(error: DatasetError | GeometryError | LabelError | UnreadableVolumeError) -> Problem:
    return Problem("error", error.kind, error.source, error.rule, error.found, error.remedy)


def _check_manifest(layout: Layout, labels: DatasetLabels) -> Iterator[Problem]:
    source = str(layout.root / "dataset.json")
    manifest = layout.manifest
    if manifest is None:
        yield Problem(
            "note",
            "no-manifest",
            str(layout.root),
            "has no dataset.json",
            remedy="taken for CT with the labels of FLARE 2023; K of its cases is unknown",
        )
        return
    labeled = [e for e in layout.entries.values() if e.split == "train" and e.label is not None]
    stated = manifest.get("numTraining")
    if isinstance(stated, int) and stated != len(labeled):
        yield Problem(
            "note", "count", source, f"states numTraining {stated}", f"{len(labeled)} labeled cases"
        )
    known = {case for _, case in layout.entries}
    rows = layout.flare.get("cases", {})
    both = sorted(
        {
            case
            for _, case in layout.entries
            if {("train", case), ("test", case)} <= set(layout.entries)
        }
    )
    if both:
        yield Problem(
            "note",
            "leak",
            str(layout.root),
            "has cases in training and test folders",
            ", ".join(both),
        )
    for case in sorted(set(rows) - known):
        yield Problem(
            "error", "missing-image", source, f"names case {case!r}", "no image of that name"
        )
    for case in sorted(known & set(rows)):
        outside = sorted(set(rows[case].get("K") or ()) - set(labels.table.ids))
        if outside:
            yield Problem(
                "error", "labels", source, f"K of case {case!r} must hold known ids", str(outside)
            )


def _check_case(
    layout: Layout, entry: FileEntry, labels: DatasetLabels, policy: ReadPolicy
) -> Iterator[Problem]:
    from flare_io.files import read_header, read_label_map

    headers = []
    for channel in sorted(entry.images):
        path = entry.images[channel]
        if not path.exists():
            continue
        try:
            headers.append((path, read_header(path, policy=policy)))
        except (GeometryError, UnreadableVolumeError) as error:
            yield _problem(error)
    if not headers:
        return
    image_path, image = headers[0]
    for other_path, other in headers[1:]:
        apart = describe_grid_difference(image.geometry, image.shape, other.geometry, other.shape)
        if apart:
            yield _grid_problem(other_path, image_path, apart)
    stated = layout.row(entry.id).get("K")
    looked_for = None if stated is None else frozenset(stated)
    maps = (entry.label, entry.reference, *entry.pseudo_labels.values())
    for path in (found for found in maps if found is not None and found.exists()):
        try:
            volume = read_label_map(path, policy=policy)
        except (GeometryError, LabelError, UnreadableVolumeError) as error:
            yield _problem(error)
            continue
        apart = describe_grid_difference(image.geometry, image.shape, volume.geometry, volume.shape)
        if apart:
            yield _grid_problem(path, image_path, apart)
        yield from _check_values(path, volume, labels, looked_for if path == entry.label else None)


def _grid_problem(path: Path, image: Path, apart: str) -> Problem:
    return Problem(
        "error",
        "grid",
        str(path),
        f"must lie on the grid of {image.name}",
        apart,
        "resample the label to the image's grid or correct its header",
    )


def _check_values(
    path: Path, volume: Volume, labels: DatasetLabels, looked_for: frozenset[int] | None
) -> Iterator[Problem]:
    values, counts = np.unique(volume.array, return_counts=True)
    found = dict(zip(values.tolist(), counts.tolist(), strict=True))
    known = {0, *labels.table.ids, *([] if labels.ignore is None else [labels.ignore])}
    strange = {value: count for value, count in found.items() if value not in known}
    if strange:
        yield Problem(
            "error",
            "labels",
            str(path),
            "values must be in the dataset's label table",
            _counted(strange),
            f"known are {', '.join(map(str, sorted(known)))}",
        )
    if looked_for is not None:
        unasked = {v: n for v, n in found.items() if v in known - looked_for - {0, labels.ignore}}
        if unasked:
            yield Problem(
                "error",
                "annotated",
                str(path),
                f"K of this case is {sorted(looked_for)}",
                _counted(unasked),
                "add the class to K in dataset.json",
            )
    if set(found) == {0}:
        yield Problem("note", "empty-label", str(path), "is all background")


def _counted(values: Mapping[Any, int]) -> str:
    shown = [f"{value} ({count} voxels)" for value, count in sorted(values.items())[:20]]
    return ", ".join(shown) + (" ..." if len(values) > 20 else "")
