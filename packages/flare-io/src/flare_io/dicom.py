"""A folder of DICOM slices as one volume, or a refusal that names the files at fault.

Slices are sorted by position along their normal. A missing, doubled, shifted or foreign slice is
never passed over: it is refused, or repaired where `ReadPolicy` allows it, and the repair is in the
notes. Files in subfolders are not read. Names, IDs, dates and sex in the files are neither read nor
shown.

Not read: enhanced multi-frame images, color, deflated files, files without the part 10 preamble.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flare_io._dicom_elements import is_dicom
from flare_io._dicom_geometry import Arrangement, arrange_slices
from flare_io._dicom_header import SliceHeader, read_slice_header, shown
from flare_io._dicom_pixels import read_stack, stack_dtype
from flare_io._dicom_rules import listed
from flare_io._dicom_stack import on_even_grid
from flare_io.errors import UnreadableVolumeError
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

__all__ = ["SeriesHeader", "SeriesSummary", "list_series", "read_series", "read_series_header"]

# What a user says to choose the series that has no UID, as anonymized exports have none.
_NO_UID = "none"


@dataclass(frozen=True)
class SeriesSummary:
    """One series of a folder: UID, description and modality as printable text, slice count."""

    uid: str
    description: str
    modality: str
    slices: int

    def __str__(self) -> str:
        text = f"{self.uid or _NO_UID + ' (no UID)'}: {self.slices} slice{'s' * (self.slices != 1)}"
        return f'{text} "{self.description}"' if self.description else text


@dataclass(frozen=True)
class SeriesHeader:
    """What `read_series` would return, without the voxels."""

    shape: tuple[int, int, int]
    dtype: np.dtype[np.int16] | np.dtype[np.float32]
    geometry: Geometry
    notes: tuple[str, ...]


def list_series(folder: str | os.PathLike[str]) -> tuple[SeriesSummary, ...]:
    """List the image series of a folder, most slices first; headers only.

    Parameters
    ----------
    folder : path
        A folder with DICOM files directly in it.

    Returns
    -------
    tuple of SeriesSummary
        Never empty.

    Raises
    ------
    UnreadableVolumeError
        If the folder holds no DICOM image, or a DICOM file in it is cut short.
    """
    groups, _ = _scan(Path(folder))
    return tuple(_summary(group) for group in groups)


def read_series(folder: str | os.PathLike[str], *, policy: ReadPolicy | None = None) -> Volume:
    """Read the CT series of a folder as a volume in Hounsfield units.

    Parameters
    ----------
    folder : path
        A folder with DICOM files directly in it; other files are ignored and noted.
    policy : ReadPolicy, optional
        ``series`` picks one of several; ``fill_gaps``, ``resample_z``, ``fix_tilt`` and
        ``allow_thin`` allow what is otherwise refused. Values are checked and shifted by
        `flare_io.files.read_volume` alone; here ``hu_offset`` only lets files without rescale pass.

    Returns
    -------
    Volume
        (z, y, x) in the order of the files' own rows and columns, z along the slice normal. int16
        where every RescaleSlope and RescaleIntercept is integral (int32 if values do not fit), else
        float32. A sheared volume has -1024 in its new corners.

    Raises
    ------
    UnreadableVolumeError
        If a file is cut, lacks pixels or rescale, or the folder holds no series or several.
    GeometryError
        If the slices form no straight stack at even distances: the message names files and
        distances.

    Notes
    -----
    Time and memory are those of reading the pixels once and of the volume. Position jitter up to 1
    % of the spacing or 0.01 mm is accepted, sideways drift up to a tenth of a pixel.

    References
    ----------
    DICOM PS3.3, C.7.6.2 (image plane), C.11.1 (rescale).
    """
    arrangement, notes = _arrange(Path(folder), policy or ReadPolicy())
    array = on_even_grid(read_stack(arrangement.slices), arrangement)
    return Volume(array, arrangement.geometry, notes=notes)


def read_series_header(
    folder: str | os.PathLike[str], *, policy: ReadPolicy | None = None
) -> SeriesHeader:
    """Check a series as `read_series` does and return its grid without decoding pixels.

    The type is the expected one: integral values that do not fit int16 are read as int32.
    """
    arrangement, notes = _arrange(Path(folder), policy or ReadPolicy())
    return SeriesHeader(
        shape=arrangement.shape,
        dtype=stack_dtype(arrangement.slices),
        geometry=arrangement.geometry,
        notes=notes,
    )


def _arrange(folder: Path, policy: ReadPolicy) -> tuple[Arrangement, tuple[str, ...]]:
    groups, ignored = _scan(folder)
    group, notes = _chosen(groups, folder, policy)
    arrangement = arrange_slices(group, folder, policy=policy)
    if policy.strict and ignored:
        raise UnreadableVolumeError(
            folder,
            "must hold nothing but one series under strict reading",
            found=ignored[0],
            kind="strict",
        )
    return arrangement, (*ignored, *notes, *arrangement.notes)


def _scan(folder: Path) -> tuple[list[list[SliceHeader]], tuple[str, ...]]:
    """Return the image slices by series, most slices first, and notes on what else lies there."""
    slices: dict[str, list[SliceHeader]] = {}
    foreign: list[str] = []
    without_image: list[str] = []
    folders: list[str] = []
    for path in sorted(folder.iterdir()):
        kind = _kind(path)
        if kind == "folder":
            folders.append(shown(path.name))
        elif kind == "dicom":
            header = read_slice_header(path)
            if header.holds_image or header.pixels is not None:
                slices.setdefault(header.series, []).append(header)
            else:
                without_image.append(shown(path.name))
        else:
            foreign.append(shown(path.name))
    if not slices:
        raise UnreadableVolumeError(
            folder,
            "must hold DICOM slices",
            found=f"none among {len(foreign) + len(without_image)} files",
            remedy=f"name the subfolder that holds them, e.g. {folders[0]}" if folders else "",
            kind="no-dicom",
        )
    notes = [
        f"ignored, {what}: {listed(names)}"
        for what, names in (
            ("not DICOM", foreign),
            ("DICOM without an image", without_image),
            ("subfolders", folders),
        )
        if names
    ]
    return sorted(slices.values(), key=lambda group: (-len(group), group[0].series)), tuple(notes)


def _kind(path: Path) -> str:
    try:
        if path.is_dir():
            return "folder"
        return "dicom" if path.is_file() and is_dicom(path) else "foreign"
    except OSError as error:
        if path.is_symlink():
            # A link into a loop or to nowhere holds no slice.
            return "foreign"
        raise UnreadableVolumeError(
            path, "must be readable", found=error.strerror or "", kind="os"
        ) from error


def _chosen(
    groups: Sequence[Sequence[SliceHeader]], folder: Path, policy: ReadPolicy
) -> tuple[Sequence[SliceHeader], tuple[str, ...]]:
    """Return the one series to read and notes on those set aside."""
    candidates = list(groups)
    notes: tuple[str, ...] = ()
    if policy.series is not None:
        wanted = "" if policy.series == _NO_UID else policy.series
        candidates = [group for group in groups if group[0].series == wanted]
        if not candidates and wanted:
            candidates = [group for group in groups if group[0].series.startswith(wanted)]
    elif len(groups) > 1:
        scans = [group for group in groups if not all(header.localizer for header in group)]
        if len(scans) == 1:
            aside = [header.name for group in groups if group is not scans[0] for header in group]
            candidates, notes = scans, (f"set aside, localizer (scout): {listed(aside)}",)
    if len(candidates) == 1:
        return candidates[0], notes
    raise UnreadableVolumeError(
        folder,
        "must hold one series"
        if policy.series is None
        else f"must hold one series whose UID starts with {shown(policy.series)}",
        found=f"{len(candidates)} of these {len(groups)}: "
        + "; ".join(str(_summary(group)) for group in groups),
        remedy=f"choose one by its UID (--series UID, or --series {_NO_UID} for one without)",
        kind="series",
    )


def _summary(group: Sequence[SliceHeader]) -> SeriesSummary:
    first = group[0]
    return SeriesSummary(
        uid=shown(first.series),
        description=shown(first.description),
        modality=shown(first.modality),
        slices=len(group),
    )
