"""Which entries of a folder are CT volumes, and why the others are not."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flare_io.dicom import list_series
from flare_io.files import read_volume
from flare_io.volume import Volume

__all__ = ["CtFolder", "find_ct", "looks_like_labels"]

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")
_LABEL_NAMES = ("label", "labels", "mask", "organs", "seg", "segmentation", "tumor", "tumors")
_MOST_LABELS = 32


@dataclass(frozen=True)
class CtFolder:
    """What was found in a folder.

    Parameters
    ----------
    ct : dict of str to Path
        Volumes by the name of their file or series folder.
    refused : dict of str to str
        Other volumes and folders, each with the reason. Files of other kinds are not listed.
    """

    ct: dict[str, Path]
    refused: dict[str, str]


def find_ct(folder: os.PathLike[str] | str) -> CtFolder:
    """Look for CT volumes directly in a folder: volume files, and folders of one DICOM series.

    Parameters
    ----------
    folder : path
        May itself be the folder of a DICOM series.

    Raises
    ------
    ValueError
        If it is no folder.

    Notes
    -----
    Label maps are recognized by name (``*_labels``, ``*_organs``, ``*_tumor``, ...) or by content,
    see `looks_like_labels`. Folders are not searched further down. Every volume file is read once.
    """
    root = Path(folder)
    if not root.is_dir():
        raise ValueError(f"--ct must name a folder of CT volumes, got {os.fspath(folder)!r}")
    found = CtFolder({}, {})
    if _holds_series(root):
        found.ct[root.resolve().name] = root
        return found
    for path in sorted(root.iterdir()):
        name = _stem(path)
        if path.is_dir():
            if _holds_series(path):
                found.ct[path.name] = path
            else:
                found.refused[path.name] = (
                    "folder without a DICOM series; name it with its own --ct"
                )
        elif name is not None:
            reason = _refusal(path, name)
            if reason:
                found.refused[path.name] = reason
            else:
                found.ct[name] = path
    return found


def looks_like_labels(volume: Volume) -> bool:
    """Return whether the voxels are few small whole numbers, 0 among them and none below.

    Examples
    --------
    >>> from flare_io.geometry import Geometry
    >>> grid = Geometry((1.0, 1.0, 1.0))
    >>> looks_like_labels(Volume(np.arange(8).reshape(2, 2, 2), grid))
    True
    >>> looks_like_labels(Volume(np.arange(8).reshape(2, 2, 2) - 1000, grid))
    False
    """
    array = volume.array
    if array.min() != 0 or array.max() > 255:
        return False
    values = np.unique(array)
    return len(values) <= _MOST_LABELS and bool((values == np.round(values)).all())


def _stem(path: Path) -> str | None:
    for suffix in _SUFFIXES:
        if path.name.lower().endswith(suffix):
            return path.name[: -len(suffix)]
    return None


def _refusal(path: Path, name: str) -> str:
    if name.lower().replace("-", "_").split("_")[-1] in _LABEL_NAMES:
        return "label map, by its name"
    try:
        volume = read_volume(path)
    except (OSError, ValueError) as error:
        return " ".join(str(error).split())
    return "label map: few small whole numbers" if looks_like_labels(volume) else ""


def _holds_series(folder: Path) -> bool:
    try:
        return bool(list_series(folder))
    except OSError:
        return False
