"""From the slices of one series to one grid, or a refusal that names the files at fault.

Slices are sorted by their position along the slice normal; neither file names nor instance numbers count.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flare_io._dicom_header import SliceHeader
from flare_io._dicom_pixels import check_pixels, same_pixels
from flare_io.errors import GeometryError, UnreadableVolumeError
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy

__all__ = ["Arrangement", "arrange_slices"]

# Two slices are one stack if their planes agree to about 0.06 degree.
_SAME_AXES = 1e-3
# Written positions are rounded: 1 % of the spacing, but never less than 0.01 mm, is noise.
_JITTER_SHARE, _JITTER_MM = 0.01, 0.01
# A stack may drift sideways by a tenth of a pixel from end to end, which rounded cosines alone can cause.
_DRIFT_PIXELS = 0.1
# Beyond this many slices a list of gaps is cut short.
_LISTED = 4


@dataclass(frozen=True, eq=False)
class Arrangement:
    """Slices in ascending position and the even grid they are to become.

    Parameters
    ----------
    slices : tuple of SliceHeader
        Sorted along the normal, duplicates dropped.
    distances_mm : (n,) array
        Position of each along the normal, from the first.
    targets_mm : (z,) array
        Even positions of the grid's slices; equal to ``distances_mm`` (jitter aside) where nothing is missing.
    shift_mm : (2,) array
        Sideways shift (y, x) of the stack per mm along the normal; zero for a straight gantry.
    pixel_spacing_mm : tuple of float
        (y, x).
    notes : tuple of str
        What was set aside or repaired.
    """

    slices: tuple[SliceHeader, ...]
    distances_mm: NDArray[np.float64]
    targets_mm: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]
    spacing_mm: float
    notes: tuple[str, ...]

    @property
    def margins(self) -> NDArray[np.int64]:
        """Pixels (y, x) added (before, after) so that shearing cuts nothing, as a (2, 2) array."""
        ends = np.outer(self.shift_mm / self.pixel_spacing_mm, self.targets_mm[[0, -1]])
        return np.ceil(np.stack([-ends.min(axis=1), ends.max(axis=1)], axis=1) - 1e-6).astype(int)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The (z, y, x) shape of the grid."""
        y, x = (
            n + int(m) for n, m in zip(self.slices[0].matrix, self.margins.sum(axis=1), strict=True)
        )
        return len(self.targets_mm), y, x

    @property
    def geometry(self) -> Geometry:
        """The grid in the patient."""
        axes = _axes(self.slices[0])
        spacing = (self.spacing_mm, *self.pixel_spacing_mm)
        margin = self.margins[:, 0] * self.pixel_spacing_mm
        origin = _position(self.slices[0]) - axes[:, 1] * margin[0] - axes[:, 2] * margin[1]
        return Geometry(
            spacing_mm=spacing,
            origin=tuple(origin.tolist()),
            direction=tuple(map(tuple, (axes + 0.0).tolist())),
        )


def arrange_slices(
    headers: Sequence[SliceHeader], folder: Path, *, policy: ReadPolicy
) -> Arrangement:
    """Check one series and arrange its slices on a grid.

    Raises
    ------
    UnreadableVolumeError
        If a file lacks pixels, or a single slice or too many voxels would come out.
    GeometryError
        If the slices are no evenly spaced straight stack and the policy allows no repair.
    """
    notes: list[str] = []
    _require_orientation(headers)
    stack = _largest_stack(headers, folder, notes)
    for header in stack:
        check_pixels(header)
    _require_one_matrix(stack, folder)
    normal = _axes(stack[0])[:, 0]
    stack.sort(key=lambda header: (float(_position(header) @ normal), header.path.name))
    stack = _without_duplicates(stack, normal, notes)
    _require_rescale(stack, folder, notes)
    pixel_spacing = stack[0].pixel_spacing_mm
    assert pixel_spacing is not None, "_require_orientation comes first"
    if len(stack) == 1:
        step = _single_step(stack[0], policy)
        zero = np.zeros(1)
        return Arrangement(tuple(stack), zero, zero, np.zeros(2), pixel_spacing, step, tuple(notes))
    offsets = np.stack([_position(header) for header in stack]) - _position(stack[0])
    distances = offsets @ normal
    shift = _sideways_shift(stack, offsets, distances, folder, policy, notes)
    targets, step = _even_positions(stack, distances, folder, policy, notes)
    if len(targets) * stack[0].matrix[0] * stack[0].matrix[1] > policy.max_voxels:
        raise UnreadableVolumeError(
            folder,
            f"must have at most {policy.max_voxels} voxels",
            found=f"{len(targets)} slices of {stack[0].matrix}",
            kind="too-large",
        )
    return Arrangement(tuple(stack), distances, targets, shift, pixel_spacing, step, tuple(notes))


def _axes(header: SliceHeader) -> NDArray[np.float64]:
    assert header.axes is not None, "_require_orientation comes first"
    return header.axes


def _position(header: SliceHeader) -> NDArray[np.float64]:
    assert header.position is not None, "_require_orientation comes first"
    return header.position


def _require_orientation(headers: Sequence[SliceHeader]) -> None:
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
                    remedy="without it the slice has no place in the patient; export the series again",
                    kind="no-position",
                )
        if min(header.pixel_spacing_mm or (0.0,)) <= 0:
            raise GeometryError(
                header.path,
                "PixelSpacing must be positive",
                found=str(header.pixel_spacing_mm),
                kind="spacing",
            )


def _largest_stack(
    headers: Sequence[SliceHeader], folder: Path, notes: list[str]
) -> list[SliceHeader]:
    """Return the slices of the orientation that most files share."""
    groups: list[list[SliceHeader]] = []
    for header in headers:
        for group in groups:
            if np.abs(_axes(group[0]) - _axes(header)).max() <= _SAME_AXES:
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
        notes.append(f"set aside, of another orientation (scout): {_listed(aside)}")
    return groups[0]


def _require_one_matrix(stack: Sequence[SliceHeader], folder: Path) -> None:
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


def _without_duplicates(
    stack: list[SliceHeader], normal: NDArray[np.float64], notes: list[str]
) -> list[SliceHeader]:
    kept, dropped = stack[:1], []
    for header in stack[1:]:
        if (_position(header) - _position(kept[-1])) @ normal > _JITTER_MM:
            kept.append(header)
        elif same_pixels(kept[-1], header):
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
        notes.append(f"dropped, identical to another slice: {_listed(dropped)}")
    return kept


def _require_rescale(stack: Sequence[SliceHeader], folder: Path, notes: list[str]) -> None:
    lacking = [header for header in stack if header.slope is None or header.intercept is None]
    modality = stack[0].modality
    if lacking and (modality in ("", "CT") or len(lacking) < len(stack)):
        raise UnreadableVolumeError(
            lacking[0].path,
            "must state RescaleSlope and RescaleIntercept",
            found=f"none in {len(lacking)} of {len(stack)} slices",
            remedy="without them values are not Hounsfield units; export the series again",
            kind="no-rescale",
        )
    if modality not in ("", "CT"):
        notes.append(f"modality {modality[:16]!a}: values are not Hounsfield units")
    if any(header.lossy for header in stack):
        notes.append("pixels were compressed with loss")


def _single_step(header: SliceHeader, policy: ReadPolicy) -> float:
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


def _sideways_shift(
    stack: Sequence[SliceHeader],
    offsets: NDArray[np.float64],
    distances: NDArray[np.float64],
    folder: Path,
    policy: ReadPolicy,
    notes: list[str],
) -> NDArray[np.float64]:
    """Return the drift (y, x) in mm per mm along the normal, zero where it is noise."""
    sideways = offsets @ _axes(stack[0])[:, 1:]
    allowed = max(_JITTER_MM, _DRIFT_PIXELS * min(stack[0].pixel_spacing_mm or (0.0,)))
    if np.abs(sideways).max() <= allowed:
        return np.zeros(2)
    shift = np.asarray(distances @ sideways / (distances @ distances), dtype=np.float64)
    apart = np.linalg.norm(sideways - np.outer(distances, shift), axis=1)
    if apart.max() > allowed:
        raise GeometryError(
            stack[int(apart.argmax())].path,
            "slices must lie above each other",
            found=f"one {apart.max():.3g} mm beside the line of the others",
            remedy="export the series again",
            kind="shifted",
        )
    angle = float(np.degrees(np.arctan(np.linalg.norm(shift))))
    if not policy.fix_tilt:
        raise GeometryError(
            folder,
            "slices must be square to the stack",
            found=f"a gantry tilt of {angle:.1f} degrees",
            remedy="allow a shear to a straight grid (--fix-tilt)",
            kind="tilt",
        )
    notes.append(
        f"gantry tilt of {angle:.1f} degrees sheared to a straight grid, new corners set to -1024"
    )
    return shift


def _even_positions(
    stack: Sequence[SliceHeader],
    distances: NDArray[np.float64],
    folder: Path,
    policy: ReadPolicy,
    notes: list[str],
) -> tuple[NDArray[np.float64], float]:
    """Return the grid's positions along the normal and their spacing."""
    gaps = np.diff(distances)
    usual = float(np.median(gaps))
    counts = np.maximum(1, np.rint(gaps / usual)).astype(int)
    index = np.concatenate([[0], np.cumsum(counts)])
    step = float(distances[-1] / index[-1])
    tolerance = max(_JITTER_MM, _JITTER_SHARE * step)
    missing = int((counts - 1).sum())
    if np.abs(distances - index * step).max() > tolerance:
        step = float(distances[-1] / max(1, round(distances[-1] / usual)))
        if not policy.resample_z:
            low, high = int(gaps.argmin()), int(gaps.argmax())
            raise GeometryError(
                folder,
                "slices must lie at even distances",
                found=f"{_between(stack, gaps, low)}, {_between(stack, gaps, high)}",
                remedy=f"allow resampling to {step:.4g} mm (--resample-z)",
                kind="uneven",
            )
        notes.append(
            f"slices at uneven distances ({gaps.min():.3g} to {gaps.max():.3g} mm) "
            f"resampled to {step:.4g} mm"
        )
        return np.arange(round(distances[-1] / step) + 1) * step, step
    if missing:
        where = ", ".join(
            _between(stack, gaps, int(k)) for k in np.flatnonzero(counts > 1)[:_LISTED]
        )
        slices = f"{missing} slice{'s' if missing > 1 else ''}"
        if not policy.fill_gaps:
            raise GeometryError(
                folder,
                "no slice may be missing",
                found=f"gap of {where}, expected {usual:.1f} mm: {slices} missing",
                remedy="copy the series again, or interpolate (--fill-gaps)",
                kind="gap",
            )
        notes.append(f"gap of {where}, expected {usual:.1f} mm: {slices} interpolated")
    return np.arange(index[-1] + 1) * step, step


def _between(stack: Sequence[SliceHeader], gaps: NDArray[np.float64], k: int) -> str:
    # 2.5 and 2.55 mm must not read the same, and 5 mm reads as 5.0.
    length = f"{gaps[k]:.3f}".rstrip("0")
    length += "0" if length.endswith(".") else ""
    return f"{length} mm between {stack[k].name} and {stack[k + 1].name}"


def _listed(headers: Sequence[SliceHeader]) -> str:
    names = [header.name for header in headers]
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
