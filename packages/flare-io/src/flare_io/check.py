"""Every problem of a file, a DICOM folder or a dataset folder at once."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from flare_io._dataset_check import check_dataset
from flare_io._dataset_layout import read_layout
from flare_io._dataset_problem import Problem
from flare_io._values import check_thickness, image_values, label_values
from flare_io.errors import DatasetError, GeometryError, LabelError, UnreadableVolumeError
from flare_io.files import open_volume, read_volume
from flare_io.policy import ReadPolicy

__all__ = ["check"]

_DATA_ERRORS = (DatasetError, GeometryError, LabelError, UnreadableVolumeError)


def check(
    path: os.PathLike[str] | str,
    *,
    policy: ReadPolicy | None = None,
    content: Literal["image", "labels"] = "image",
    voxels: bool = True,
) -> list[Problem]:
    """List everything that is wrong or remarkable.

    Header, grid, bytes and values are looked at one by one, so that a wrong grid does not hide
    damaged data behind it.

    Parameters
    ----------
    path : path
        A volume's file, the folder of a DICOM series, or a dataset folder, which has a
        ``dataset.json`` or folders named ``images*``.
    policy : ReadPolicy, optional
        What to accept.
    content : {"image", "labels"}
        What a file is to hold.
    voxels : bool
        In a dataset, read the voxels of the images too, not only their headers and the labels.

    Returns
    -------
    list of Problem
        Errors first, then notes; empty if all is well.
    """
    policy = policy or ReadPolicy()
    path = Path(path)
    if path.is_dir():
        if (path / "dataset.json").exists() or any(path.glob("images*/")):
            return _check_whole_dataset(path, policy, voxels=voxels)
        found = _Findings(path)
        volume = found.attempt(lambda: read_volume(path, policy=policy))
        found.note(volume.notes if volume is not None else ())
    else:
        found = _check_file(path, policy, content)
    return sorted(found.problems, key=lambda problem: problem.severity == "note")


def _check_whole_dataset(folder: Path, policy: ReadPolicy, *, voxels: bool) -> list[Problem]:
    problems = check_dataset(folder, policy=policy)
    if not voxels:
        return problems
    try:
        entries = read_layout(folder).entries.values()
    except DatasetError:
        return problems
    images = sorted({path for entry in entries for path in entry.images.values()})
    for image in (path for path in images if path.exists()):
        errors = [p for p in _check_file(image, policy, "image").problems if p.severity == "error"]
        # The header's errors are there already.
        problems += [problem for problem in errors if problem not in problems]
    return sorted(problems, key=lambda problem: problem.severity == "note")


def _check_file(path: Path, policy: ReadPolicy, content: str) -> _Findings:
    found = _Findings(path)
    file = found.attempt(lambda: open_volume(path, policy=policy))
    if file is None:
        return found
    found.note(file.notes)
    found.note(found.attempt(lambda: check_thickness(file.shape, path=path, policy=policy)))
    grid = found.attempt(lambda: file.geometry(policy))
    found.note(grid[1] if grid is not None else ())
    voxels = found.attempt(lambda: file.array(policy))
    if voxels is None:
        return found
    array, notes = voxels
    found.note(notes)
    if content == "labels":
        found.attempt(lambda: label_values(array, path=path))
    else:
        values = found.attempt(lambda: image_values(array, path=path, policy=policy))
        found.note(values[1] if values is not None else ())
    return found


class _Findings:
    """Problems of one path, gathered step by step."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.problems: list[Problem] = []

    def attempt(self, step: Callable[[], Any]) -> Any:
        """Return a step's result, or None with its error in the list."""
        try:
            return step()
        except _DATA_ERRORS as error:
            self.problems.append(
                Problem("error", error.kind, error.source, error.rule, error.found, error.remedy)
            )
            return None

    def note(self, texts: tuple[str, ...] | None) -> None:
        """Add remarkable things."""
        self.problems += [Problem("note", "note", str(self.path), text) for text in texts or ()]
