"""From the slices of one series to one grid, or a refusal that names the files at fault.

Slices are sorted by their position along the slice normal; neither file names nor instance numbers
count.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flare_io._dicom_header import SliceHeader
from flare_io._dicom_pixels import check_pixels
from flare_io._dicom_rules import (
    JITTER_MM,
    axes_of,
    largest_stack,
    position_of,
    require_one_matrix,
    require_orientation,
    require_rescale,
    single_step,
    without_duplicates,
)
from flare_io.errors import GeometryError, UnreadableVolumeError
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy

__all__ = ["Arrangement", "arrange_slices"]

# Written positions are rounded: 1 % of the spacing, never less than JITTER_MM, is noise.
_JITTER_SHARE = 0.01
# A stack may drift sideways by a tenth of a pixel from end to end, which rounded cosines alone can
# cause.
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
    shift_mm : (2,) array
        Sideways shift (y, x) of the stack per mm along the normal; zero for a straight gantry.
    pixel_spacing_mm : tuple of float
        (y, x).
    count : int
        Slices of the grid: as many as files where nothing is missing.
    spacing_mm : float
        Distance of the grid's slices.
    notes : tuple of str
        What was set aside or repaired.
    """

    slices: tuple[SliceHeader, ...]
    distances_mm: NDArray[np.float64]
    shift_mm: NDArray[np.float64]
    pixel_spacing_mm: tuple[float, float]
    count: int
    spacing_mm: float
    notes: tuple[str, ...]

    @property
    def targets_mm(self) -> NDArray[np.float64]:
        """Positions (z,) of the grid's slices along the normal, from the first."""
        return np.arange(self.count, dtype=np.float64) * np.float64(self.spacing_mm)

    @property
    def tolerance_mm(self) -> float:
        """How far from its even place a slice may lie."""
        return _tolerance_mm(self.spacing_mm)

    @property
    def margins(self) -> NDArray[np.int64]:
        """Pixels (y, x) added (before, after) so that shearing cuts nothing, as a (2, 2) array."""
        ends = np.outer(
            self.shift_mm / self.pixel_spacing_mm, [0.0, (self.count - 1) * self.spacing_mm]
        )
        margins: NDArray[np.int64] = np.ceil(
            np.stack([-ends.min(axis=1), ends.max(axis=1)], axis=1) - 1e-6
        ).astype(np.int64)
        return margins

    @property
    def shape(self) -> tuple[int, int, int]:
        """The (z, y, x) shape of the grid."""
        y, x = (
            n + int(m) for n, m in zip(self.slices[0].matrix, self.margins.sum(axis=1), strict=True)
        )
        return self.count, y, x

    @property
    def geometry(self) -> Geometry:
        """The grid in the patient."""
        axes = axes_of(self.slices[0])
        spacing = (self.spacing_mm, *self.pixel_spacing_mm)
        margin = self.margins[:, 0] * self.pixel_spacing_mm
        origin = position_of(self.slices[0]) - axes[:, 1] * margin[0] - axes[:, 2] * margin[1]
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
    require_orientation(headers)
    stack = largest_stack(headers, folder, notes)
    for header in stack:
        check_pixels(header)
    require_one_matrix(stack, folder)
    normal = axes_of(stack[0])[:, 0]
    stack.sort(key=lambda header: (float(position_of(header) @ normal), header.path.name))
    stack = without_duplicates(stack, normal, notes)
    require_rescale(stack, policy, notes)
    pixel_spacing = stack[0].pixel_spacing_mm
    assert pixel_spacing is not None, "require_orientation comes first"
    if len(stack) == 1:
        step = single_step(stack[0], policy)
        shift, distances, count = np.zeros(2), np.zeros(1), 1
    else:
        offsets = np.stack([position_of(header) for header in stack]) - position_of(stack[0])
        distances = offsets @ normal
        shift = _sideways_shift(stack, offsets, distances, folder, policy, notes)
        count, step = _even_positions(stack, distances, folder, policy, notes)
    arrangement = Arrangement(
        tuple(stack), distances, shift, pixel_spacing, count, step, tuple(notes)
    )
    if math.prod(arrangement.shape) > policy.max_voxels:
        raise UnreadableVolumeError(
            folder,
            f"must have at most {policy.max_voxels} voxels",
            found=f"shape {arrangement.shape}",
            kind="too-large",
        )
    return arrangement


def _sideways_shift(
    stack: Sequence[SliceHeader],
    offsets: NDArray[np.float64],
    distances: NDArray[np.float64],
    folder: Path,
    policy: ReadPolicy,
    notes: list[str],
) -> NDArray[np.float64]:
    """Return the drift (y, x) in mm per mm along the normal, zero where it is noise."""
    sideways = offsets @ axes_of(stack[0])[:, 1:]
    allowed = max(JITTER_MM, _DRIFT_PIXELS * min(stack[0].pixel_spacing_mm or (0.0,)))
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
) -> tuple[int, float]:
    """Return the number of slices of the even grid and their spacing."""
    gaps = np.diff(distances)
    usual = float(np.median(gaps))
    counts = np.maximum(1, np.rint(gaps / usual)).astype(int)
    index = np.concatenate([[0], np.cumsum(counts)])
    step = float(distances[-1] / index[-1])
    missing = int((counts - 1).sum())
    if np.abs(distances - index * step).max() > _tolerance_mm(step):
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
        return round(distances[-1] / step) + 1, step
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
    return int(index[-1]) + 1, step


def _between(stack: Sequence[SliceHeader], gaps: NDArray[np.float64], k: int) -> str:
    # 2.5 and 2.55 mm must not read the same, and 5 mm reads as 5.0.
    length = f"{gaps[k]:.3f}".rstrip("0")
    length += "0" if length.endswith(".") else ""
    return f"{length} mm between {stack[k].name} and {stack[k + 1].name}"


def _tolerance_mm(spacing_mm: float) -> float:
    return max(JITTER_MM, _JITTER_SHARE * spacing_mm)
