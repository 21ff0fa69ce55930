"""From the continuous patient to voxels: attenuation, organ labels and tumors on any grid."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io._phantom_frame import Frame
from flare_io._phantom_shapes import Shape
from flare_io._phantom_trunk import BODY_HALF_WIDTHS_MM, Part, Wall, paint_wall
from flare_io._phantom_tumors import Lesion
from flare_io.geometry import Geometry

__all__ = ["Patient", "Raster", "rasterize"]

# Sub-voxels in memory at once; about twenty float32 arrays of that size are alive.
_SLAB_POINTS = 4_000_000


@dataclass(frozen=True, eq=False)
class Patient:
    """Everything about a patient that does not depend on the grid."""

    frame: Frame
    wall: Wall
    parts: tuple[Part, ...]
    values: dict[str, float]
    cysts: tuple[Lesion, ...]
    tumors: tuple[Lesion, ...]


@dataclass(frozen=True, eq=False)
class Raster:
    """A patient on a grid.

    Parameters
    ----------
    hu : (z, y, x) float32 array
        Mean attenuation of each voxel.
    organs : (z, y, x) uint8 array
        The organ that fills most of each voxel, tumors not regarded.
    lesions : (z, y, x) uint8 array
        Number of the tumor (from 1) that fills at least half of the voxel, else 0.
    """

    hu: NDArray[np.float32]
    organs: NDArray[np.uint8]
    lesions: NDArray[np.uint8]


def rasterize(
    patient: Patient, geometry: Geometry, shape: tuple[int, int, int], *, supersample: int
) -> Raster:
    """Draw a patient on a canonical grid.

    Parameters
    ----------
    patient : Patient
        The patient.
    geometry : Geometry
        Grid with identity direction.
    shape : (3,) int
        Voxels along (z, y, x).
    supersample : int
        Sub-voxels per axis; 1 samples voxel centers.

    Notes
    -----
    Works in slabs along z, so that memory beyond the results stays below about 400 MB on any grid.
    """
    hu = np.empty(shape, np.float32)
    organs = np.empty(shape, np.uint8)
    lesions = np.empty(shape, np.uint8)
    step = max(1, _SLAB_POINTS // (supersample**3 * shape[1] * shape[2]))
    for start in range(0, shape[0], step):
        slab = slice(start, min(start + step, shape[0]))
        counts = (slab.stop - start, shape[1], shape[2])
        axes = tuple(
            _sub_centers(
                geometry.origin[k] + (start * geometry.spacing_mm[k] if k == 0 else 0.0),
                geometry.spacing_mm[k],
                counts[k],
                supersample,
            )
            for k in range(3)
        )
        canvas = _Canvas(patient, axes)
        canvas.paint()
        hu[slab] = _block_sum(canvas.hu, supersample) / np.float32(supersample**3)
        organs[slab] = _majority(canvas.organs, supersample)
        lesions[slab] = _half(canvas.lesions, supersample)
    return Raster(hu, organs, lesions)


class _Canvas:
    """Sub-voxels of one slab while they are painted."""

    def __init__(self, patient: Patient, axes: tuple[NDArray[np.float64], ...]) -> None:
        self.patient = patient
        self.axes = axes
        self.points = patient.frame.model_points(axes)
        shape = self.points[0].shape
        self.hu = np.full(shape, patient.values["outside"], np.float32)
        self.organs = np.zeros(shape, np.uint8)
        self.lesions = np.zeros(shape, np.uint8)

    def paint(self) -> None:
        """Paint trunk, table, parts, cysts and tumors in this order."""
        values = self.patient.values
        self._paint_table()
        depth = paint_wall(self.patient.wall, self.points, self.hu, values)
        for part in self.patient.parts:
            found = self._inside(part.shape, depth if part.within_mm > 0 else None, part.within_mm)
            if found is not None:
                box, inside = found
                self.hu[box][inside] = values[part.material]
                self.organs[box][inside] = part.label
        for cyst in self.patient.cysts:
            found = self._inside(cyst.body, None, 0.0)
            if found is not None:
                self.hu[found[0]][found[1] & (self.organs[found[0]] > 0)] = cyst.hu
        for number, tumor in enumerate(self.patient.tumors, start=1):
            self._paint_tumor(number, tumor, depth)

    def _paint_tumor(self, number: int, tumor: Lesion, depth: NDArray[np.float32]) -> None:
        found = self._inside(tumor.body, depth, self.patient.wall.fat_mm)
        if found is None:
            return
        box, inside = found
        self.hu[box][inside] = tumor.rim_hu
        self.lesions[box][inside] = number
        core = self._inside(tumor.body.moved((0.0, 0.0, 0.0), 0.7), depth, self.patient.wall.fat_mm)
        if core is not None:
            self.hu[core[0]][core[1]] = tumor.hu

    def _paint_table(self) -> None:
        """Paint a tray below the back; it belongs to the room, not to the deformed body."""
        back = BODY_HALF_WIDTHS_MM[0] * self.patient.frame.size + self.patient.frame.shift[1] + 3.0
        y, x = self.axes[1][:, None], self.axes[2][None, :]
        below = y - back - 12.0 * (1 - np.clip(x / 190.0, -1, 1) ** 2)
        tray = (below > 0) & (below < 26) & (np.abs(x) < 190)
        core = tray & (below > 7) & (below < 19) & (np.abs(x) < 184)
        self.hu[:, tray] = self.patient.values["table"]
        self.hu[:, core] = self.patient.values["table core"]

    def _inside(
        self, shape: Shape, depth: NDArray[np.float32] | None, within_mm: float
    ) -> tuple[tuple[slice, ...], NDArray[np.bool_]] | None:
        """Return a box around the shape and the mask within it; None where it misses the slab."""
        low, high = self.patient.frame.world_box(*shape.box())
        box = []
        for k, axis in enumerate(self.axes):
            start, stop = np.searchsorted(axis, (low[k], high[k]))
            if start == stop:
                return None
            box.append(slice(int(start), int(stop)))
        where = tuple(box)
        z, y, x = (points[where] for points in self.points)
        inside: NDArray[np.bool_] = shape.level((z, y, x)) < 0
        if depth is not None:
            inside &= depth[where] > within_mm
        return where, inside


def _sub_centers(origin: float, spacing: float, count: int, factor: int) -> NDArray[np.float64]:
    first = origin - spacing / 2 + spacing / (2 * factor)
    return np.asarray(first + np.arange(count * factor) * (spacing / factor), np.float64)


def _block_sum(array: NDArray[Any], factor: int) -> NDArray[np.float32]:
    for axis in range(3):
        array = np.add.reduceat(array, np.arange(0, array.shape[axis], factor), axis=axis)
    return np.asarray(array, np.float32)


def _majority(labels: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return the label with most sub-voxels; of equals the one with the larger id."""
    if factor == 1:
        return labels
    present = [int(k) for k in np.flatnonzero(np.bincount(labels.ravel(), minlength=256))]
    best = np.zeros(tuple(n // factor for n in labels.shape), np.float32)
    result = np.zeros(best.shape, np.uint8)
    for label in present:
        count = _block_sum((labels == label).view(np.uint8), factor)
        more = count >= best if label else count > best
        result[more] = label
        np.maximum(best, count, out=best)
    return result


def _half(lesions: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    if factor == 1 or not lesions.any():
        return np.ascontiguousarray(lesions[::factor, ::factor, ::factor])
    result = np.zeros(tuple(n // factor for n in lesions.shape), np.uint8)
    for number in range(1, int(lesions.max()) + 1):
        share = _block_sum((lesions == number).view(np.uint8), factor)
        result[share >= factor**3 / 2] = number
    return result
