"""Volumes from and to files: NIfTI, NRRD, MetaImage, and DICOM folders for reading.

What is returned has every stored byte verified and a geometry that was accepted by rule. Anything
that would need a guess is refused with the option that allows it (`ReadPolicy`).
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flare_io._container import container_format
from flare_io._container_volume import open_container, write_container
from flare_io._stream import reading
from flare_io._values import (
    check_thickness,
    image_values,
    label_values,
    narrowed,
    smallest_unsigned,
)
from flare_io.errors import GeometryError, UnreadableVolumeError
from flare_io.geometry import Geometry, describe_grid_difference
from flare_io.labels import LabelTable
from flare_io.nifti import is_nifti_name, open_nifti, write_nifti
from flare_io.policy import ReadPolicy
from flare_io.sidecars import write_sidecars
from flare_io.volume import Volume

__all__ = [
    "Header",
    "VolumeFile",
    "open_volume",
    "read_header",
    "read_label_map",
    "read_volume",
    "require_same_grid",
    "write_label_map",
    "write_volume",
]

_WRITTEN = (".nii", ".nii.gz", ".nrrd", ".mha")
_UNVERIFIABLE = {".mhd": ".mha", ".nhdr": ".nrrd", ".hdr": ".nii", ".img": ".nii"}


@dataclass(frozen=True)
class Header:
    """What a file's header says, accepted by the same rules as the file.

    Parameters
    ----------
    shape : (3,) int
        Voxels along (z, y, x).
    dtype : dtype
        Type of the values.
    geometry : Geometry
    format : str
        Such as ``"NIfTI-1, gzip"``.
    notes : tuple of str
        What is odd about it.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    geometry: Geometry
    format: str
    notes: tuple[str, ...] = ()


class VolumeFile(Protocol):
    """A file whose header has been accepted, with its geometry and voxels still to be read."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What is odd about the file and its header."""

    @property
    def format(self) -> str:
        """Such as ``"NRRD, gzip"``."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""

    def geometry(self, policy: ReadPolicy) -> tuple[Geometry, tuple[str, ...]]:
        """Return the grid and notes."""

    def array(self, policy: ReadPolicy) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Return the verified voxels and notes."""


def read_volume(path: os.PathLike[str] | str, *, policy: ReadPolicy | None = None) -> Volume:
    """Read an image whole and verified.

    Parameters
    ----------
    path : path
        ``.nii``, ``.nii.gz``, ``.hdr``/``.img``, ``.nrrd``, ``.mha``, ``.mhd``, or the folder of a
        DICOM series. The bytes decide, not the name.
    policy : ReadPolicy, optional
        What to accept; the default refuses whatever would need a guess.

    Returns
    -------
    Volume
        (z, y, x) in the stored type and axis order; see `read_nifti` for scaled files.

    Raises
    ------
    UnreadableVolumeError
        If bytes are missing or damaged, or values are not finite.
    GeometryError
        If the header leaves the grid open or contradicts itself.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "case.nii.gz"
    >>> ct = np.full((8, 9, 10), -1000, np.int16)
    >>> ct[4] = 60
    >>> write_volume(Volume(ct, Geometry((5.0, 0.8, 0.8))), path)
    >>> volume = read_volume(path)
    >>> volume.shape, volume.array.dtype, volume.geometry.spacing_mm[0]
    ((8, 9, 10), dtype('int16'), 5.0)
    """
    policy = policy or ReadPolicy()
    path = Path(path)
    if _is_series(path):
        from flare_io.dicom import read_series

        volume = read_series(path, policy=policy)
    else:
        volume = _read(path, policy)
    array, notes = image_values(volume.array, path=path, policy=policy)
    return Volume(array, volume.geometry, (*volume.notes, *notes))


def read_label_map(
    path: os.PathLike[str] | str,
    *,
    policy: ReadPolicy | None = None,
    table: LabelTable | None = None,
) -> Volume:
    """Read labels whole and verified, in the smallest unsigned type that holds them.

    Parameters
    ----------
    path : path
        Any file that `read_volume` takes. Whole numbers stored as floats are rounded within 0.001.
    policy : ReadPolicy, optional
        As for `read_volume`; its rules on values do not apply to labels.
    table : LabelTable, optional
        Refuse values that it does not hold.

    Raises
    ------
    LabelError
        If a value is no label.
    UnreadableVolumeError, GeometryError
        As for `read_volume`.
    """
    policy = policy or ReadPolicy()
    path = Path(path)
    if _is_series(path):
        raise UnreadableVolumeError(path, "a label map is a file", found="a folder", kind="folder")
    volume = _read(path, policy)
    labels = label_values(volume.array, path=path)
    if table is not None:
        table.check(labels, source=str(path))
    return Volume(labels, volume.geometry, volume.notes)


def read_header(path: os.PathLike[str] | str, *, policy: ReadPolicy | None = None) -> Header:
    """Read shape, type and grid only; the voxels' bytes are not verified.

    Raises
    ------
    UnreadableVolumeError, GeometryError
        As for `read_volume`, as far as the header shows it.
    """
    policy = policy or ReadPolicy()
    path = Path(path)
    if _is_series(path):
        from flare_io.dicom import read_series_header

        found = read_series_header(path, policy=policy)
        return Header(found.shape, found.dtype, found.geometry, "DICOM series", found.notes)
    file = open_volume(path, policy=policy)
    geometry, said = file.geometry(policy)
    thin = check_thickness(file.shape, path=path, policy=policy)
    return Header(file.shape, file.dtype, geometry, file.format, (*file.notes, *said, *thin))


def open_volume(path: Path, *, policy: ReadPolicy) -> VolumeFile:
    """Check a file's header and return it ready for reading, the format told by its bytes."""
    with reading(path):
        if path.is_dir():
            raise UnreadableVolumeError(path, "is a folder", kind="folder")
        with open(path, "rb") as stream:
            start = stream.read(132)
    if start[128:132] == b"DICM":
        raise UnreadableVolumeError(
            path,
            "is one DICOM slice",
            remedy="name the folder of its series",
            kind="format",
        )
    if container_format(start):
        return open_container(path, policy=policy)
    return open_nifti(path, policy=policy)


def write_volume(volume: Volume, path: os.PathLike[str] | str) -> None:
    """Write a volume, old or new but never torn, read back before it gets its name.

    Parameters
    ----------
    volume : Volume
        Its type is kept; 64-bit integers become int32, bool uint8, float16 float32.
    path : path
        Ends in ``.nii``, ``.nii.gz``, ``.nrrd`` or ``.mha``. Its folder must exist.

    Raises
    ------
    ValueError
        For another ending, or values that the format cannot hold.
    OSError
        Whatever the disk says; nothing is left behind.
    """
    path = Path(path)
    name = path.name.lower()
    if not name.endswith(_WRITTEN):
        other = next((new for old, new in _UNVERIFIABLE.items() if name.endswith(old)), None)
        hint = f"; a pair of files cannot be replaced at once, write {other}" if other else ""
        raise ValueError(f"path must end in {', '.join(_WRITTEN)}, got {path.name!r}{hint}")
    try:
        array = narrowed(volume.array, path=path)
    except UnreadableVolumeError as error:
        raise ValueError(f"array: {error.rule}, found {error.found}; {error.remedy}") from error
    if array.dtype == np.float16:
        array = array.astype(np.float32)
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    stored = volume.with_array(array)
    if is_nifti_name(name):
        write_nifti(stored, path)
    else:
        write_container(stored, path)


def write_label_map(
    volume: Volume,
    path: os.PathLike[str] | str,
    *,
    table: LabelTable | None = None,
    sidecars: bool = False,
) -> None:
    """Write labels in the smallest unsigned type that holds them.

    Parameters
    ----------
    volume : Volume
        Whole numbers from 0 to 65535, or bool.
    path : path
        As for `write_volume`.
    table : LabelTable, optional
        Refuse values that it does not hold.
    sidecars : bool
        Also write names and colors of ``table`` for 3D Slicer and ITK-SNAP, see `write_sidecars`.

    Raises
    ------
    LabelError
        If a value is no label.
    ValueError
        If sidecars are asked for without a table.
    """
    if sidecars and table is None:
        raise ValueError("sidecars need a table")
    path = Path(path)
    if volume.array.dtype == np.bool_:
        labels = smallest_unsigned(volume.array)
    else:
        labels = label_values(volume.array, path=path)
    if table is not None:
        table.check(labels, source=str(path))
    write_volume(volume.with_array(labels), path)
    if sidecars and table is not None:
        write_sidecars(table, path)


def require_same_grid(
    label_map: os.PathLike[str] | str,
    image: os.PathLike[str] | str,
    *,
    policy: ReadPolicy | None = None,
) -> None:
    """Refuse a label map's file that does not lie on its image's grid; headers only are read.

    Raises
    ------
    GeometryError
        Saying how far apart the two are in mm.
    """
    one, other = (read_header(path, policy=policy) for path in (label_map, image))
    apart = describe_grid_difference(one.geometry, one.shape, other.geometry, other.shape)
    if apart is not None:
        raise GeometryError(
            label_map,
            f"must lie on the grid of {Path(image).name}",
            found=apart,
            remedy="resample it to that grid",
            kind="grid",
        )


def _is_series(path: Path) -> bool:
    """Return whether a path is a folder that may hold DICOM, not one named like a file."""
    return path.is_dir() and not path.name.lower().endswith(_WRITTEN)


def _read(path: Path, policy: ReadPolicy) -> Volume:
    file = open_volume(path, policy=policy)
    thin = check_thickness(file.shape, path=path, policy=policy)
    geometry, said = file.geometry(policy)
    array, told = file.array(policy)
    return Volume(array, geometry, (*file.notes, *thin, *said, *told))
