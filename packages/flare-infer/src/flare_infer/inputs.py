"""Which cases a path holds: a file, a folder of files, a DICOM folder, or a folder of those."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

__all__ = ["VOLUME_SUFFIXES", "CaseFiles", "files_of", "find_cases", "without_suffix"]

VOLUME_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".nhdr", ".mha", ".mhd", ".hdr")
# Headers whose voxels lie in another file.
_DETACHED_SUFFIXES = (".nhdr", ".mhd", ".hdr")
_CHANNEL = re.compile(r"(?P<case>.+)_(?P<channel>\d{4})")


@dataclass(frozen=True)
class CaseFiles:
    """A case's name and the files or DICOM folder of its channels, in order."""

    id: str
    paths: tuple[Path, ...]


def find_cases(path: os.PathLike[str] | str, *, channels: int) -> tuple[CaseFiles, ...]:
    """Return the cases of an input path, sorted by name.

    Parameters
    ----------
    path : path
        A volume file; a folder of volume files, in nnU-Net's naming ``CASE_0000.nii.gz`` or without
        channel numbers where the model takes one channel, DICOM series folders among them; a DICOM
        series folder; or a folder of such folders.
    channels : int
        How many the model takes.

    Raises
    ------
    FileNotFoundError
        If the path does not exist or holds nothing that could be a case.
    ValueError
        If a single file is given to a model of several channels, channels are missing, or two
        inputs share a name.
    """
    root = Path(path)
    if not root.exists():
        raise FileNotFoundError(f"{root}: does not exist")
    if root.is_file():
        if channels != 1:
            raise ValueError(
                f"{root}: the model takes {channels} channels; give a folder with files named "
                "CASE_0000, CASE_0001, ..."
            )
        return (CaseFiles(_case_name(root), (root,)),)
    entries = sorted(entry for entry in root.iterdir() if not entry.name.startswith("."))
    volumes = [entry for entry in entries if entry.is_file() and without_suffix(entry) is not None]
    folders = [e for e in entries if e.is_dir() and any(k.is_file() for k in e.iterdir())]
    if volumes:
        # Any other folder beside volumes is none: it may hold the label maps.
        series = [folder for folder in folders if channels == 1 and _holds_dicom(folder)]
        cases = _grouped(volumes, channels) + [CaseFiles(each.name, (each,)) for each in series]
    elif any(entry.is_file() for entry in entries):
        cases = [CaseFiles(root.resolve().name, (root,))]
    else:
        cases = [CaseFiles(folder.name, (folder,)) for folder in folders]
    if not cases:
        wanted = " ".join(VOLUME_SUFFIXES)
        raise FileNotFoundError(f"{root}: holds no volume ({wanted}) and no DICOM folder")
    return _unique(cases, root)


def files_of(path: Path) -> list[Path]:
    """Return all files whose bytes make up a channel, sorted.

    A folder's files; a file alone; or a header with the files beside it that it names, or that
    share its name and are no volumes of their own.
    """
    if path.is_dir():
        return sorted(each for each in path.rglob("*") if each.is_file())
    if path.suffix.lower() not in _DETACHED_SUFFIXES:
        return [path]
    head = path.read_bytes()

    def belongs(other: Path) -> bool:
        alike = Path(other.name.removesuffix(".gz")).stem == path.stem
        return other.name.encode() in head or (alike and without_suffix(other) is None)

    beside = [each for each in path.parent.iterdir() if each.is_file() and each != path]
    return [path, *sorted(each for each in beside if belongs(each))]


def without_suffix(path: Path) -> str | None:
    """Return the name without the suffix of a volume format, or None for another file.

    Examples
    --------
    >>> without_suffix(Path("a.b.nii.gz")), without_suffix(Path("notes.txt"))
    ('a.b', None)
    """
    for suffix in VOLUME_SUFFIXES:
        if path.name.lower().endswith(suffix) and len(path.name) > len(suffix):
            return path.name[: -len(suffix)]
    return None


def _case_name(path: Path) -> str:
    name = without_suffix(path) or path.name
    match = _CHANNEL.fullmatch(name)
    return match["case"] if match and match["channel"] == "0000" else name


def _holds_dicom(folder: Path) -> bool:
    return any(_is_dicom(each) for each in folder.iterdir() if each.is_file())


def _is_dicom(path: Path) -> bool:
    with open(path, "rb") as stream:
        return stream.read(132)[128:] == b"DICM"


def _grouped(volumes: list[Path], channels: int) -> list[CaseFiles]:
    if channels == 1:
        return [CaseFiles(_case_name(path), (path,)) for path in volumes]
    groups: dict[str, dict[int, Path]] = {}
    for path in volumes:
        match = _CHANNEL.fullmatch(without_suffix(path) or "")
        if match is None:
            raise ValueError(
                f"{path}: the model takes {channels} channels, so files must be named "
                "CASE_0000, CASE_0001, ..."
            )
        groups.setdefault(match["case"], {})[int(match["channel"])] = path
    wanted = list(range(channels))
    for name, found in groups.items():
        if sorted(found) != wanted:
            raise ValueError(
                f"{volumes[0].parent}: case {name} must have the channels {wanted}, "
                f"found {sorted(found)}"
            )
    return [CaseFiles(name, tuple(group[k] for k in wanted)) for name, group in groups.items()]


def _unique(cases: list[CaseFiles], root: Path) -> tuple[CaseFiles, ...]:
    seen: dict[str, CaseFiles] = {}
    for case in cases:
        # Compared without letter case: file systems that ignore it would mix the outputs.
        other = seen.setdefault(case.id.casefold(), case)
        if other is not case:
            raise ValueError(
                f"{root}: {other.paths[0].name} and {case.paths[0].name} are both named "
                f"{case.id}; rename one"
            )
    return tuple(sorted(cases, key=lambda case: case.id))
