"""Rules for the slices of one series, each with its refusal or its note.

Whether the slices then make an even, straight grid is `_dicom_geometry`'s question.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flare_io._dicom_header import SliceHeader
from flare_io._dicom_pixels import check_pixels, same_pixels
from flare_io.errors import GeometryError, UnreadableVolumeError
from flare_io.policy import ReadPolicy

__all__ = [
    "JITTER_MM",
    "axes_of",
    "largest_stack",
    "listed",
    "position_of",
    "require_one_matrix",
    "require_orientation",
    "require_rescale",
    "single_step",
    "without_duplicates",
]

JITTER_MM = 0.01
"""Positions this near are the same: scanners round what they write."""

# Two slices are of one stack if their planes agree to about 0.06 degree.
_SAME_AXES = 1e-3
# A list of files is cut short after this many.
_LISTED = 4


def axes_of(header: SliceHeader) -> NDArray[np.float64]:
    """Return the axes of a slice that `require_orientation` let pass."""
    assert header.axes is not None
    return header.axes


def position_of(header: SliceHeader) -> NDArray[np.float64]:
    """Return the position of a slice that `require_orientation` let pass."""
    assert header.position is not None
    return header.position


def listed(names: Sequence[str]) -> str:
    """Return the first names and how many more there are."""
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def require_orientation(headers: Sequence[SliceHeader]) -> None:
    """Refuse slices that state no place in the patient."""
    names = {
        "position": "ImagePositionPatient",
        "axes": "ImageOrientationPatient",
        "pixel_spacing_mm": "PixelSpacing",
    }
    for header in headers:
        for field, name in names.items():
            if getattr(header, field) is None:
                if header.pixels is None:
                    check_pixels(header)
                raise GeometryError(
                    header.path,
                    f"must state {name}",
                    found="none",
                    remedy="a slice without it has no place in the patient: export it again",
                    kind="no-position",
                )
        if min(header.pixel_spacing_mm or (0.0,)) <= 0:
            raise GeometryError(
                header.path,
                "PixelSpacing must be positive",
                found=str(header.pixel_spacing_mm),
                kind="spacing",
            )


def largest_stack(
    headers: Sequence[SliceHeader], folder: Path, notes: list[str]
) -> list[SliceHeader]:
    """Return the slices of the orientation that most files share."""
    groups: list[list[SliceHeader]] = []
    for header in headers:
        for group in groups:
            if np.abs(axes_of(group[0]) - axes_of(header)).max() <= _SAME_AXES:
                group.append(header)
                break
        else:
            groups.append([header])
    groups.sort(key=len, reverse=True)
    aside = [header for group in groups[1:] for header in group]
    if len(aside) >= len(groups[0]):
        raise GeometryError(
            folder,
            "most slices must share one orientation",
            found=f"{len(groups)} orientations, e.g. {groups[0][0].name} and {aside[0].name}",
            remedy="keep one stack in the folder",
            kind="mixed-orientation",
        )
    if aside:
        names = listed([header.name for header in aside])
        notes.append(f"set aside, of another orientation (scout): {names}")
    return groups[0]


def require_one_matrix(stack: Sequence[SliceHeader], folder: Path) -> None:
    """Refuse slices of several matrices or pixel spacings."""
    first = stack[0]
    for other in stack[1:]:
        if other.matrix != first.matrix or not np.allclose(
            other.pixel_spacing_mm or 0, first.pixel_spacing_mm or 0, rtol=1e-4
        ):
            raise GeometryError(
                folder,
                "all slices must have one matrix and pixel spacing",
                found=f"{_matrix(first)} in {first.name} and {_matrix(other)} in {other.name}",
                remedy="keep one series in the folder",
                kind="mixed-matrix",
            )


def _matrix(header: SliceHeader) -> str:
    spacing = " x ".join(f"{s:g}" for s in header.pixel_spacing_mm or ())
    return f"{header.matrix[0]} x {header.matrix[1]} at {spacing} mm"


def without_duplicates(
    stack: list[SliceHeader], normal: NDArray[np.float64], notes: list[str]
) -> list[SliceHeader]:
    """Return the sorted stack without slices that repeat their neighbor to the bit."""
    kept, dropped = stack[:1], []
    for header in stack[1:]:
        apart = position_of(header) - position_of(kept[-1])
        if apart @ normal > JITTER_MM:
            kept.append(header)
        elif np.linalg.norm(apart) <= JITTER_MM and same_pixels(kept[-1], header):
            dropped.append(header)
        else:
            raise GeometryError(
                header.path,
                "two slices at one position must hold the same pixels",
                found=f"other pixels than {kept[-1].name}",
                remedy="keep one phase or reconstruction in the folder",
                kind="duplicate",
            )
    if dropped:
        names = listed([header.name for header in dropped])
        notes.append(f"dropped, identical to another slice: {names}")
    return kept


def require_rescale(stack: Sequence[SliceHeader], policy: ReadPolicy, notes: list[str]) -> None:
    """Refuse CT without rescale values, and note what is no CT."""
    lacking = [header for header in stack if header.slope is None or header.intercept is None]
    modality = stack[0].modality
    in_some = 0 < len(lacking) < len(stack)
    if in_some or (lacking and modality in ("", "CT") and policy.hu_offset is None):
        raise UnreadableVolumeError(
            lacking[0].path,
            "must state RescaleSlope and RescaleIntercept",
            found=f"none in {len(lacking)} of {len(stack)} slices",
            remedy="export the series again"
            + ("" if in_some else ", or say how far its values are from HU (--hu-offset -1024)"),
            kind="no-rescale",
        )
    if lacking:
        notes.append("no rescale in the files: stored values taken")
    if modality not in ("", "CT"):
        notes.append(f"modality {modality[:16]!a}: values are not Hounsfield units")
    if any(header.lossy for header in stack):
        notes.append("pixels were compressed with loss")


def single_step(header: SliceHeader, policy: ReadPolicy) -> float:
    """Return the thickness of a lone slice, where the policy allows one."""
    if not policy.allow_thin:
        raise GeometryError(
            header.path,
            "a series must have at least 2 slices",
            found="1",
            remedy="add its other slices, or allow thin volumes (--allow-thin)",
            kind="thin",
        )
    if not header.step_mm:
        raise GeometryError(
            header.path, "a single slice must state SliceThickness", found="none", kind="spacing"
        )
    return header.step_mm
