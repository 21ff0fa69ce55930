"""Dataset folders: cases, their images and labels, and K, the classes that were looked for in each.

Reads nnU-Net's raw folders and FLARE's own unchanged. A namespaced ``"flare"`` part of
``dataset.json``, which nnU-Net ignores, adds to each case its K and source, and names folders of
pseudo-labels. No voxel is read except on request (``k_source="presence"``, `check_dataset`).
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flare_io._dataset_check import check_dataset
from flare_io._dataset_labels import read_labels
from flare_io._dataset_layout import FileEntry, Layout, read_layout
from flare_io._dataset_manifest import channel_names
from flare_io._dataset_problem import Problem
from flare_io.atomic import write_json
from flare_io.errors import DatasetError
from flare_io.labels import LabelTable

__all__ = [
    "Case",
    "Dataset",
    "Problem",
    "check_dataset",
    "read_dataset",
    "write_dataset_json",
]

MANIFEST_VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Case:
    """One patient's files.

    Parameters
    ----------
    id : str
        Name without channel number and ending.
    image : tuple of Path
        One file per channel.
    label : Path or None
        The annotators' label map; None for an unlabeled case.
    annotated : frozenset of int or None
        K, the classes its annotators looked for: a label of 0 means "none of K". None where there
        is no label, or where nobody states K.
    source : str
        Center or collection it comes from; empty if unknown.
    split : {"train", "test"}
        Whether it comes from a folder for training or for testing.
    pseudo_labels : mapping of str to Path
        Label maps of other models by set name.
    reference : Path or None
        Full labels held apart from training, where a synthetic dataset has them.
    """

    id: str
    image: tuple[Path, ...]
    label: Path | None = None
    annotated: frozenset[int] | None = None
    source: str = ""
    split: Literal["train", "test"] = "train"
    pseudo_labels: Mapping[str, Path] = field(default_factory=dict)
    reference: Path | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset folder.

    Parameters
    ----------
    root : Path
        The folder.
    name : str
        Its name.
    table : LabelTable
        Classes.
    cases : tuple of Case
        Training cases, then test cases, each by id.
    channels : tuple of str
        Channel names, such as ``("CT",)``.
    regions : mapping of str to tuple of int
        Overlapping targets made of several ids; empty for plain classes.
    ignore_label : int or None
        The id that marks voxels without statement.
    manifest : mapping
        ``dataset.json`` as read, empty without one.
    notes : tuple of str
        What reading found remarkable.
    """

    root: Path
    name: str
    table: LabelTable
    cases: tuple[Case, ...]
    channels: tuple[str, ...] = ("CT",)
    regions: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    ignore_label: int | None = None
    manifest: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def train(self) -> tuple[Case, ...]:
        """Cases of the training folders."""
        return tuple(case for case in self.cases if case.split == "train")

    @property
    def test(self) -> tuple[Case, ...]:
        """Cases of the test and validation folders."""
        return tuple(case for case in self.cases if case.split == "test")

    def case(self, case_id: str) -> Case:
        """Return a case by id, training cases first.

        Raises
        ------
        KeyError
            If there is none.
        """
        for case in self.cases:
            if case.id == case_id:
                return case
        raise KeyError(f"{self.root} holds no case {case_id!r}")


def read_dataset(
    folder: os.PathLike[str] | str, *, k_source: Literal["manifest", "presence"] = "manifest"
) -> Dataset:
    """Read a dataset folder without opening its volumes.

    Parameters
    ----------
    folder : path
        nnU-Net's raw folder, or one of FLARE's: ``images*`` beside ``labels*``.
    k_source : {"manifest", "presence"}
        Where K comes from. ``"manifest"``: the ``flare`` part of ``dataset.json``; a labeled case
        that it does not mention counts as annotated for all classes if there is a ``dataset.json``
        (nnU-Net's meaning), else its K stays None. ``"presence"``: the values in the label file,
        as the published systems have it; wrong where a class was looked for and is absent. Reads
        every label.

    Returns
    -------
    Dataset
        Without ``dataset.json`` its table is FLARE 2023's.

    Raises
    ------
    DatasetError
        If the folder contradicts itself; names the first problem and how many more `check_dataset`
        lists.

    Examples
    --------
    >>> read_dataset("no such folder")
    Traceback (most recent call last):
    ...
    flare_io.errors.DatasetError: no such folder: is no folder; name the dataset's folder
    """
    if k_source not in ("manifest", "presence"):
        raise ValueError(f"k_source must be 'manifest' or 'presence', got {k_source!r}")
    layout = read_layout(folder)
    errors = [problem for problem in layout.problems if problem.severity == "error"]
    if errors:
        raise _first_of(layout.root, errors)
    labels = read_labels(layout)
    cases = tuple(
        _case(layout, labels.table, entry, k_source)
        for _, entry in sorted(
            layout.entries.items(), key=lambda item: (item[0][0] == "test", item[0][1])
        )
    )
    notes = tuple(problem.describe() for problem in layout.problems)
    if layout.manifest is None:
        notes += (f"{layout.root}: no dataset.json, taken for CT with the labels of FLARE 2023",)
    return Dataset(
        root=layout.root,
        name=str((layout.manifest or {}).get("name", layout.root.resolve().name)),
        table=labels.table,
        cases=cases,
        channels=channel_names(layout.manifest) or ("CT",),
        regions=labels.regions,
        ignore_label=labels.ignore,
        manifest=layout.manifest or {},
        notes=notes,
    )


def write_dataset_json(
    folder: os.PathLike[str] | str,
    *,
    name: str,
    table: LabelTable,
    cases: Mapping[str, Mapping[str, Any]],
    channels: Sequence[str] = ("CT",),
    file_ending: str = ".nii.gz",
    flare: Mapping[str, Any] | None = None,
) -> Path:
    """Write ``dataset.json`` for nnU-Net v2, with the ``flare`` part of `read_dataset`.

    Parameters
    ----------
    folder : path
        The dataset's folder; exists.
    name : str
        Name of the dataset.
    table : LabelTable
        Classes.
    cases : mapping of str to mapping
        By id: ``K`` (list of ids, or None for an unlabeled case), ``source``, and whatever else is
        to be kept. Cases in ``imagesTs`` carry ``"split": "test"``.
    channels : sequence of str
        Channel names.
    file_ending : str
        Ending of all volumes.
    flare : mapping, optional
        More of the ``flare`` part: ``pseudo_label_sets`` (set name to folder),
        ``reference_folder``.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ValueError
        If a K holds an id outside the table.
    """
    for case, row in cases.items():
        unknown = sorted(set(row.get("K") or ()) - set(table.ids))
        if unknown:
            raise ValueError(f"K of case {case!r} must hold ids of the table, got {unknown}")
    labeled = [
        case
        for case, row in cases.items()
        if row.get("split") != "test" and row.get("K") is not None
    ]
    manifest = {
        "name": name,
        "channel_names": {str(k): channel for k, channel in enumerate(channels)},
        "labels": {"background": 0, **{each.name: each.id for each in table.classes}},
        "numTraining": len(labeled),
        "file_ending": file_ending,
        "flare": {
            "version": MANIFEST_VERSION,
            **(flare or {}),
            "cases": {case: dict(row) for case, row in sorted(cases.items())},
        },
    }
    path = Path(folder) / "dataset.json"
    write_json(path, manifest)
    return path


def _first_of(root: Path, errors: list[Problem]) -> DatasetError:
    first = errors[0]
    more = f" ({len(errors) - 1} more: flare-io check {root})" if len(errors) > 1 else ""
    return DatasetError(
        first.source, first.rule, found=first.found, remedy=first.remedy + more, kind=first.kind
    )


def _case(layout: Layout, table: LabelTable, entry: FileEntry, k_source: str) -> Case:
    row = layout.row(entry.id)
    annotated: frozenset[int] | None = None
    if entry.label is not None:
        if k_source == "presence":
            annotated = _present(entry.label)
        elif "K" in row:
            annotated = None if row["K"] is None else frozenset(int(k) for k in row["K"])
        elif layout.manifest is not None:
            annotated = frozenset(table.ids)
    return Case(
        id=entry.id,
        image=tuple(entry.images[k] for k in sorted(entry.images)),
        label=entry.label,
        annotated=annotated,
        source=str(row.get("source", "")),
        split=entry.split,
        pseudo_labels=dict(entry.pseudo_labels),
        reference=entry.reference,
    )


def _present(path: Path) -> frozenset[int]:
    import numpy as np

    from flare_io.files import read_label_map

    return frozenset(int(k) for k in np.unique(read_label_map(path).array)) - {0}
