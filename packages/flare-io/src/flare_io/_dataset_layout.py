"""Which files of a dataset folder belong to which case; nothing is opened but ``dataset.json``.

Understands nnU-Net's raw folders (``imagesTr``, ``labelsTr``, ``imagesTs``, ``labelsTs``, names
with ``_0000``, or the ``dataset`` mapping of ``dataset.json``) and FLARE's (any ``images*`` beside
a ``labels*`` of the same ending, without ``dataset.json``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flare_io._dataset_manifest import channel_names, check_flare, inside, read_manifest
from flare_io._dataset_problem import Problem
from flare_io.errors import DatasetError

__all__ = ["FileEntry", "Layout", "read_layout"]

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
Split = Literal["train", "test"]


@dataclass
class FileEntry:
    """The files of one case."""

    id: str
    split: Split
    images: dict[int, Path] = field(default_factory=dict)
    label: Path | None = None
    pseudo_labels: dict[str, Path] = field(default_factory=dict)
    reference: Path | None = None


@dataclass
class Layout:
    """A dataset folder as found."""

    root: Path
    manifest: dict[str, Any] | None
    entries: dict[tuple[Split, str], FileEntry]
    problems: list[Problem]

    @property
    def flare(self) -> Mapping[str, Any]:
        """The namespaced part of ``dataset.json``, empty where there is none."""
        part = (self.manifest or {}).get("flare", {})
        return part if isinstance(part, Mapping) else {}

    def row(self, case: str) -> Mapping[str, Any]:
        """Return the manifest's row of a case, empty where there is none."""
        row = self.flare.get("cases", {}).get(case, {})
        return row if isinstance(row, Mapping) else {}


def read_layout(folder: os.PathLike[str] | str) -> Layout:
    """Assign the files of a folder to cases and collect every problem on the way.

    Raises
    ------
    DatasetError
        If there is no such folder, or ``dataset.json`` is not a JSON object.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DatasetError(root, "is no folder", remedy="name the dataset's folder", kind="missing")
    layout = Layout(root, read_manifest(root), {}, [])
    check_flare(root, layout.manifest)
    listed = (layout.manifest or {}).get("dataset")
    if isinstance(listed, Mapping):
        _take_listed(layout, listed)
    pairs = _image_folders(root)
    if listed is None:
        for images, split in pairs:
            _take_images(layout, images, split)
            labels = root / ("labels" + images.name.removeprefix("images"))
            _take_labels(layout, labels, split)
    elif (root / "imagesTs").is_dir():
        # The mapping lists training cases only.
        _take_images(layout, root / "imagesTs", "test")
        _take_labels(layout, root / "labelsTs", "test")
    _take_label_sets(layout)
    if not layout.entries and not layout.problems:
        layout.problems.append(
            Problem(
                "error",
                "empty",
                str(root),
                "holds no cases",
                remedy="expected imagesTr/CASE_0000.nii.gz or images/CASE_0000.nii.gz",
            )
        )
    for entry in layout.entries.values():
        _check_channels(layout, entry)
        _check_endings(layout, entry)
    _check_letter_case(layout)
    return layout


def _image_folders(root: Path) -> list[tuple[Path, Split]]:
    folders = sorted(path for path in root.glob("images*") if path.is_dir())
    return [(path, _split_of(path.name)) for path in folders]


def _split_of(folder_name: str) -> Split:
    suffix = folder_name.removeprefix("images").lower().lstrip("_-")
    return "test" if suffix.startswith(("ts", "test", "val")) else "train"


def _take_listed(layout: Layout, listed: Mapping[str, Any]) -> None:
    source = layout.root / "dataset.json"
    for case, files in listed.items():
        entry = FileEntry(str(case), "train")
        try:
            # It becomes a file's name wherever results are written.
            if Path(case).name != case:
                raise DatasetError(
                    source, "case names must be plain names", found=repr(case), kind="outside"
                )
            images = [inside(layout.root, str(text), source=source) for text in files["images"]]
            label = files.get("label")
            entry.images = dict(enumerate(images))
            entry.label = None if label is None else inside(layout.root, str(label), source=source)
        except DatasetError as error:
            layout.problems.append(
                Problem("error", error.kind, error.source, error.rule, error.found, error.remedy)
            )
            continue
        except (KeyError, TypeError, AttributeError):
            layout.problems.append(
                Problem(
                    "error",
                    "manifest",
                    str(source),
                    f"dataset[{case!r}] must be an object with images and label",
                    repr(files)[:80],
                )
            )
            continue
        layout.entries["train", entry.id] = entry
        for path in (*images, *([entry.label] if entry.label else [])):
            if not path.exists():
                layout.problems.append(
                    Problem("error", "missing-image", str(path), "is listed but does not exist")
                )


def _files(folder: Path) -> list[tuple[Path, str, str]]:
    """Volume files of a folder as (path, stem, ending), sorted; hidden files are left out."""
    if not folder.is_dir():
        return []
    found = []
    for path in sorted(folder.iterdir()):
        ending = next((e for e in ENDINGS if path.name.lower().endswith(e)), None)
        if ending and not path.name.startswith("."):
            found.append((path, path.name[: -len(ending)], ending))
    return found


def _take_images(layout: Layout, folder: Path, split: Split) -> None:
    for path, stem, ending in _files(folder):
        match = re.fullmatch(r"(.+)_(\d{4})", stem)
        if match is None:
            layout.problems.append(
                Problem(
                    "error",
                    "no-channel",
                    str(path),
                    "image names must end in the channel number _0000",
                    remedy=f"rename it to {stem}_0000{ending}",
                )
            )
            continue
        case, channel = match[1], int(match[2])
        entry = layout.entries.setdefault((split, case), FileEntry(case, split))
        if channel in entry.images:
            layout.problems.append(_two_files(path, entry.images[channel], case))
            continue
        entry.images[channel] = path


def _take_labels(layout: Layout, folder: Path, split: Split) -> None:
    for path, stem, ending in _files(folder):
        entry = layout.entries.get((split, stem))
        if entry is None:
            layout.problems.append(
                Problem(
                    "error",
                    "missing-image",
                    str(path),
                    "label has no image",
                    remedy=f"expected an image named {stem}_0000{ending}",
                )
            )
        elif entry.label is not None:
            layout.problems.append(_two_files(path, entry.label, stem))
        else:
            entry.label = path


def _two_files(path: Path, other: Path, case: str) -> Problem:
    return Problem(
        "error",
        "two-files",
        str(path),
        "a case must have one file",
        f"{other.name} and {path.name} for case {case!r}",
        "remove one of them",
    )


def _check_endings(layout: Layout, entry: FileEntry) -> None:
    stated = (layout.manifest or {}).get("file_ending")
    if not isinstance(stated, str):
        return
    for path in (*entry.images.values(), *([entry.label] if entry.label else [])):
        if not path.name.endswith(stated):
            layout.problems.append(
                Problem(
                    "error",
                    "ending",
                    str(path),
                    f"dataset.json states file_ending {stated!r}",
                    repr(path.name),
                    "convert the file or correct file_ending",
                )
            )


def _take_label_sets(layout: Layout) -> None:
    """Pseudo-label sets and held-apart references that the manifest's ``flare`` part names."""
    source = layout.root / "dataset.json"
    sets = layout.flare.get("pseudo_label_sets", {})
    apart = layout.flare.get("reference_folder")
    named = [(str(name), str(text)) for name, text in dict(sets).items()]
    for name, text in [*named, *([("", str(apart))] if apart else [])]:
        try:
            folder = inside(layout.root, text, source=source)
        except DatasetError as error:
            layout.problems.append(
                Problem("error", error.kind, error.source, error.rule, error.found, error.remedy)
            )
            continue
        for path, stem, _ in _files(folder):
            entry = layout.entries.get(("train", stem))
            if entry is None:
                layout.problems.append(
                    Problem("error", "missing-image", str(path), "pseudo-label has no image")
                )
            elif name:
                entry.pseudo_labels[name] = path
            else:
                entry.reference = path


def _check_channels(layout: Layout, entry: FileEntry) -> None:
    names = channel_names(layout.manifest)
    wanted = range(len(names)) if layout.manifest and names else range(len(entry.images))
    missing = [k for k in wanted if k not in entry.images]
    if missing:
        have = ", ".join(path.name for path in entry.images.values())
        layout.problems.append(
            Problem(
                "error",
                "channels",
                f"{layout.root}: case {entry.id!r}",
                f"lacks the image of channel {missing[0]:04d}",
                have,
                "if the number belongs to the case's name, add _0000 behind it",
            )
        )
    extra = [k for k in entry.images if k not in wanted and not missing]
    if extra:
        layout.problems.append(
            Problem(
                "error",
                "channels",
                str(entry.images[extra[0]]),
                f"dataset.json names {len(names)} channel(s)",
                f"channel {extra[0]:04d}",
            )
        )


def _check_letter_case(layout: Layout) -> None:
    groups: dict[tuple[str, str], list[str]] = {}
    for split, case in layout.entries:
        groups.setdefault((split, case.casefold()), []).append(case)
    for names in groups.values():
        _letter_case_problem(layout, names)


def _letter_case_problem(layout: Layout, names: Iterable[str]) -> None:
    names = sorted(names)
    if len(names) > 1:
        layout.problems.append(
            Problem(
                "error",
                "letter-case",
                str(layout.root),
                "case names must differ in more than upper and lower case",
                " and ".join(map(repr, names)),
                "rename one: on some disks they are the same file",
            )
        )
