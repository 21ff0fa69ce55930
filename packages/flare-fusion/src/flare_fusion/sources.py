"""The label maps of one case: where they lie, and whether they share the image's grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion.regrid import labels_on_grid
from flare_io.dataset import Case
from flare_io.errors import DatasetError, GeometryError
from flare_io.files import Header, read_header, read_label_map
from flare_io.geometry import describe_grid_difference
from flare_io.volume import Volume

__all__ = ["CaseSources", "file_of_source", "read_sources"]

_SUFFIXES = (".nii.gz", ".nii", ".nrrd", ".mha", ".mhd")


@dataclass(frozen=True, kw_only=True, eq=False)
class CaseSources:
    """The label maps of one case, on its image's grid.

    Parameters
    ----------
    arrays : dict of str to (z, y, x) unsigned integer array
        By source; zeros for the partial label of an unlabeled case.
    grid : Header
        The image's.
    notes : tuple of str
        Which sources were brought over from another grid, and from which.
    """

    arrays: dict[str, NDArray[Any]]
    grid: Header
    notes: tuple[str, ...] = ()


def file_of_source(name: str, case: Case, folders: Mapping[str, Path]) -> Path | None:
    """Return the file of a source; None for the partial label of an unlabeled case.

    Parameters
    ----------
    name : str
        The rule's name for the source. ``partial`` is the case's own label, ``pseudo`` falls back
        on set B, which S2 replaces.
    case : Case
    folders : mapping of str to Path
        Folders of label maps named after the cases; they come before the dataset's own sets.

    Raises
    ------
    DatasetError
        If the case has no such label map, or a folder holds two.
    """
    if name in folders:
        found = [
            path for suffix in _SUFFIXES if (path := folders[name] / f"{case.id}{suffix}").exists()
        ]
        if len(found) > 1:
            raise DatasetError(
                folders[name],
                f"source {name} must have one label map of case {case.id}",
                found=", ".join(path.name for path in found),
                remedy="remove all but one",
                kind="two-files",
            )
        if not found:
            raise DatasetError(
                folders[name],
                f"source {name} has no label map of case {case.id}",
                remedy=f"expected {case.id}.nii.gz there",
                kind="missing",
            )
        return found[0]
    if name == "partial":
        return case.label
    # The set that S2 replaces is the FLARE 2022 winner's, which is B.
    for key in (name, "B") if name == "pseudo" else (name,):
        if key in case.pseudo_labels:
            return case.pseudo_labels[key]
    raise DatasetError(
        case.id,
        f"case has no source {name}",
        found=", ".join(case.pseudo_labels) or "none",
        remedy=f"name its folder with --source {name}=DIR",
        kind="missing",
    )


def read_sources(
    image: Path, files: Mapping[str, Path | None], *, resample: bool = False
) -> CaseSources:
    """Read the label maps of a case and hold them to the image's grid.

    Parameters
    ----------
    image : Path
        Only its header is read.
    files : mapping of str to Path or None
        By source; None stands for one that saw nothing.
    resample : bool
        Bring a source on another grid over by nearest neighbor in patient space, instead of
        refusing it. Another axis order is another grid too.

    Raises
    ------
    GeometryError
        If a source lies on another grid, with the distance in mm; or, with ``resample``, if no
        voxel of the image lies in it.
    LabelError
        If a file holds values that are no labels.
    UnreadableVolumeError
        If a file is damaged.
    """
    grid = read_header(image)
    arrays, notes = {}, []
    for name, path in files.items():
        if path is None:
            arrays[name] = np.zeros(grid.shape, np.uint8)
            continue
        volume = read_label_map(path)
        apart = describe_grid_difference(grid.geometry, grid.shape, volume.geometry, volume.shape)
        if apart is not None:
            volume, note = _brought_over(name, path, volume, grid, apart, resample=resample)
            notes.append(note)
        arrays[name] = volume.array
    return CaseSources(arrays=arrays, grid=grid, notes=tuple(notes))


def _brought_over(
    name: str, path: Path, volume: Volume, grid: Header, apart: str, *, resample: bool
) -> tuple[Volume, str]:
    if not resample:
        raise GeometryError(
            path,
            f"source {name} must lie on the image's grid",
            found=apart,
            remedy="resample it to the image first, or let --resample do so",
            kind="grid",
        )
    moved, outside = labels_on_grid(volume, grid.geometry, grid.shape)
    if outside == moved.array.size:
        raise GeometryError(
            path,
            f"source {name} must lie where the image lies",
            found=f"no voxel in common; {apart}",
            remedy="give it the image's origin and direction",
            kind="grid",
        )
    note = f"source {name} was brought over from another grid, nearest neighbor: {apart}"
    if outside:
        note += f"; {outside} voxels of the image lie outside of it and count as 0"
    return moved, note
