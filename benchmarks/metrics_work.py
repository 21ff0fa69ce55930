"""The pairs of label maps that the benchmarks of flare-metrics score.

A trunk of 200 x 512 x 512 voxels of 2.5 x 0.8 x 0.8 mm with the 13 organs of FLARE, each of its
usual size and place, and tumors in the liver and a kidney. The prediction is drawn from the same
formulas, not from voxels of the reference:

``smooth``
    moved by 1 mm and 3 % thinner;
``specks``
    the same, and six stray blobs of 2 x 2 voxels on one slice for each label, far away from it;
``shifted``
    moved by 20 mm within the slice, scored at 10 mm.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flare_metrics import Protocol, protocol

__all__ = ["WORKS", "protocol_of", "workload"]

WORKS = ("smooth", "specks", "shifted")

_SHAPE = (200, 512, 512)
_SPACING_MM = (2.5, 0.8, 0.8)
_SMOOTH_MM = (0.36, 0.48, 0.8)
_SHIFTED_MM = (0.0, 12.0, 16.0)
_SPECKS = 6
_FAR_MM = 60.0

Point = tuple[float, float, float]
LabelMap = NDArray[np.uint8]


@dataclass(frozen=True)
class Body:
    """All points within the radii of a chain of segments; one point alone gives an ellipsoid.

    Places and radii are (z, y, x) in mm from the array's corner: to the head, to the back, to the
    left of the patient.
    """

    label: int
    chain: tuple[Point, ...]
    radii_mm: Point

    def moved(self, by_mm: Point, scale: float) -> Body:
        chain = tuple((z + by_mm[0], y + by_mm[1], x + by_mm[2]) for z, y, x in self.chain)
        z, y, x = self.radii_mm
        return replace(self, chain=chain, radii_mm=(z * scale, y * scale, x * scale))


def _tube(label: int, radius_mm: float, *chain: Point) -> Body:
    return Body(label, chain, (radius_mm,) * 3)


def _ellipsoid(label: int, center: Point, radii_mm: Point) -> Body:
    return Body(label, (center,), radii_mm)


# In the order of drawing: a later body covers an earlier one.
_BODIES = (
    _ellipsoid(1, (335, 190, 125), (70, 75, 68)),
    _ellipsoid(3, (345, 250, 310), (50, 38, 25)),
    _tube(11, 31, (375, 185, 275), (340, 160, 270), (305, 140, 240), (300, 140, 215)),
    _tube(12, 13, (285, 165, 195), (275, 190, 165), (220, 205, 160), (205, 215, 200)),
    _tube(4, 11, (255, 185, 185), (275, 190, 215), (290, 215, 270)),
    _ellipsoid(2, (245, 280, 135), (55, 27, 24)),
    _ellipsoid(13, (255, 280, 285), (55, 27, 24)),
    _ellipsoid(7, (315, 265, 165), (15, 10, 6)),
    _ellipsoid(8, (320, 260, 250), (15, 9, 7)),
    _ellipsoid(9, (275, 140, 135), (25, 18, 18)),
    _tube(10, 9, (345, 210, 225), (400, 225, 218), (520, 230, 212)),
    _tube(6, 11, (-20, 245, 180), (250, 240, 180), (520, 215, 185)),
    _tube(5, 10, (-20, 250, 215), (250, 250, 212), (520, 255, 220)),
    _ellipsoid(14, (350, 180, 110), (14, 14, 14)),
    _ellipsoid(14, (310, 210, 100), (9, 9, 9)),
    _ellipsoid(14, (370, 200, 140), (6, 6, 6)),
    _ellipsoid(14, (330, 160, 140), (4, 4, 4)),
    _ellipsoid(14, (265, 285, 295), (11, 11, 11)),
)  # fmt: skip


def workload(name: str, *, quick: bool = False) -> tuple[LabelMap, LabelMap, Point]:
    """Return prediction, reference and spacing of one of `WORKS`.

    Parameters
    ----------
    name : {"smooth", "specks", "shifted"}
        See the module.
    quick : bool
        Half as many voxels along each axis, twice as large; the bodies stay as they are.

    Returns
    -------
    prediction, reference : (z, y, x) uint8
        Labels 1 to 14, all of them in both.
    spacing_mm : (z, y, x) float
    """
    if name not in WORKS:
        raise ValueError(f"name must be one of {', '.join(WORKS)}, got {name!r}")
    coarse = 2 if quick else 1
    shape = tuple(n // coarse for n in _SHAPE)
    z, y, x = (step * coarse for step in _SPACING_MM)
    spacing = (z, y, x)
    reference = _drawn(_BODIES, shape, spacing)
    by_mm, scale = (_SHIFTED_MM, 1.0) if name == "shifted" else (_SMOOTH_MM, 0.97)
    bodies = [body.moved(by_mm, scale) for body in _BODIES]
    prediction = _drawn(bodies, shape, spacing)
    if name == "specks":
        _add_specks(prediction, bodies, spacing)
    return prediction, reference, spacing


def protocol_of(name: str) -> Protocol:
    """Return the rules of a work: the sound protocol, without what no peer does.

    Whole organs are scored, not slices of them, and lesions are not matched one by one.
    """
    rules = protocol("sound").with_options(z_crop="none", detection="none")
    if name == "shifted":
        rules = rules.with_options(
            labels=tuple(replace(label, tolerance_mm=10.0) for label in rules.labels)
        )
    return rules


def _drawn(bodies: Sequence[Body], shape: tuple[int, ...], spacing: Point) -> LabelMap:
    array = np.zeros(shape, np.uint8)
    for body in bodies:
        box = tuple(
            slice(
                max(0, int((min(places) - radius) / step) - 1),
                min(n, int((max(places) + radius) / step) + 2),
            )
            for places, radius, step, n in zip(
                zip(*body.chain, strict=True), body.radii_mm, spacing, shape, strict=True
            )
        )
        array[box][_inside(body, box, spacing)] = body.label
    return array


def _inside(body: Body, box: tuple[slice, ...], spacing: Point) -> NDArray[np.bool_]:
    """Return which voxel centers of a box lie in a body, in slabs that keep memory small."""
    radii = np.array(body.radii_mm, np.float32)
    axes = [
        ((np.arange(part.start, part.stop) + 0.5) * step / radius).astype(np.float32)
        for part, step, radius in zip(box, spacing, radii, strict=True)
    ]
    y, x = axes[1][None, :, None], axes[2][None, None, :]
    chain = [np.asarray(point, np.float32) / radii for point in body.chain]
    inside = np.zeros([len(axis) for axis in axes], bool)
    for start in range(0, len(axes[0]), 16):
        z = axes[0][start : start + 16, None, None]
        for first, last in zip(chain, chain[1:] or chain, strict=False):
            step = last - first
            length = max(float(step @ step), 1e-12)
            along = (z - first[0]) * step[0] + (y - first[1]) * step[1] + (x - first[2]) * step[2]
            share = np.clip(along / np.float32(length), 0, 1)
            squares = (z - first[0] - share * step[0]) ** 2
            squares += (y - first[1] - share * step[1]) ** 2
            squares += (x - first[2] - share * step[2]) ** 2
            inside[start : start + 16] |= squares <= 1
    return inside


def _add_specks(array: LabelMap, bodies: Sequence[Body], spacing: Point) -> None:
    """Draw blobs of each label into the background, away from all bodies of the label."""
    rng = np.random.default_rng(20240101)
    for label in range(1, 15):
        own = [body for body in bodies if body.label == label]
        left = _SPECKS
        while left:
            z, y, x = (int(rng.integers(2, n - 4)) for n in array.shape)
            place = (np.array((z, y, x)) + 0.5) * spacing
            blob = array[z : z + 1, y : y + 2, x : x + 2]
            if blob.any() or min(_distance_mm(body, place) for body in own) < _FAR_MM:
                continue
            blob[:] = label
            left -= 1


def _distance_mm(body: Body, place: NDArray[np.float64]) -> float:
    """Return a lower bound of the distance to a body."""
    points = [np.array(point) for point in body.chain]
    distances = []
    for first, last in zip(points, points[1:] or points, strict=False):
        step = last - first
        share = np.clip((place - first) @ step / max(float(step @ step), 1e-12), 0, 1)
        distances.append(float(np.linalg.norm(place - first - share * step)))
    return min(distances) - max(body.radii_mm)
