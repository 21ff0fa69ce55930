"""What surrounds the organs and is never labeled: trunk, skeleton, muscle, heart, bowel.

The body is an ellipse of half-widths 150 mm (left-right) and 105 mm (front-back) around the axis
of the table, head at +z, back at +y, left at +x.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flare_io._phantom_shapes import Ellipsoid, Minus, Points, Shape, Tube, shifted

__all__ = [
    "BODY_HALF_WIDTHS_MM",
    "Part",
    "Wall",
    "bowel",
    "heart",
    "paint_wall",
    "skeleton_and_muscle",
]

BODY_HALF_WIDTHS_MM = (105.0, 150.0)


@dataclass(frozen=True)
class Part:
    """One thing to paint.

    Parameters
    ----------
    label : int
        FLARE 2023 id, or 0.
    material : str
        Key of the case's table of Hounsfield units.
    shape : Shape
        The body.
    within_mm : float, optional
        Paint only deeper than this below the skin, so that organs rest against the wall of the
        trunk.
    """

    label: int
    material: str
    shape: Shape
    within_mm: float = -1e3


@dataclass(frozen=True)
class Wall:
    """The trunk: fat under the skin, muscle, ribs, and the lungs above the diaphragm."""

    fat_mm: float
    muscle_mm: float
    diaphragm_mm: float
    rib_phase: float

    @property
    def cavity_mm(self) -> float:
        """Depth below the skin at which the cavity begins."""
        return self.fat_mm + self.muscle_mm


def paint_wall(
    wall: Wall, points: Points, hu: NDArray[np.float32], values: dict[str, float]
) -> NDArray[np.float32]:
    """Paint fat, muscle, ribs and lungs into ``hu``; return the depth below the skin in mm."""
    z, y, x = points
    half_y, half_x = (np.float32(v) for v in BODY_HALF_WIDTHS_MM)
    # A little fuller than an ellipse on the flanks: r^2 plus a term that vanishes on the axes.
    fuller = np.float32(0.35)
    # Held where the radius ceases to grow, outside the body: beyond, it would fall below 1 again.
    u, v = (np.minimum((a / b) ** 2, 1 / fuller) for a, b in ((x, half_x), (y, half_y)))
    radius = np.sqrt(u + v - fuller * u * v)
    depth: NDArray[np.float32] = (1 - radius) * half_y
    inside = depth > 0
    muscle = inside & (depth > wall.fat_mm)
    cavity = inside & (depth > wall.cavity_mm)
    ribs = muscle & ~cavity & (depth > wall.fat_mm + 2) & (z > np.float32(-30) + 0.5 * y)
    ribs &= np.cos((z + 0.45 * y) * np.float32(2 * np.pi / 30) + np.float32(wall.rib_phase)) > 0.45
    ribs &= (np.abs(x) > 25) | (y > 0)
    lungs = cavity & (depth > wall.cavity_mm + 2) & (z > np.float32(wall.diaphragm_mm) - 0.3 * y)
    lungs &= np.abs(x - 6) > 26 - 0.1 * (y + 40)
    hu[inside] = values["fat"]
    hu[muscle] = values["muscle"]
    hu[cavity] = values["fat"]
    hu[ribs] = values["rib"]
    hu[lungs] = values["lung"]
    return depth


def skeleton_and_muscle() -> list[Part]:
    """Return spine, muscles beside it and the wings of the pelvis."""
    column = ((-400.0, 54.0, 0.0), (400.0, 54.0, 0.0))
    canal = ((-400.0, 80.0, 0.0), (400.0, 80.0, 0.0))
    parts = []
    for side in (-1.0, 1.0):
        psoas = Ellipsoid((-75.0, 48.0, side * 40.0), (85.0, 20.0, 19.0))
        back = ((-400.0, 76.0, side * 32.0), (400.0, 76.0, side * 32.0))
        ilium = Minus(
            Ellipsoid((-165.0, 25.0, side * 82.0), (62.0, 56.0, 34.0)),
            (Ellipsoid((-163.0, 14.0, side * 74.0), (64.0, 56.0, 34.0)),),
        )
        parts.append(Part(0, "muscle", psoas))
        parts.append(Part(0, "muscle", Tube(back, (22.0, 22.0), 0.7)))
        parts.append(Part(0, "rib", ilium))
    parts.append(Part(0, "cortex", Tube(canal, (15.0, 15.0))))
    parts.append(Part(0, "cortex", Tube(((-400.0, 93.0, 0.0), (400.0, 93.0, 0.0)), (4.0, 4.0))))
    parts.append(Part(0, "cortex", Tube(column, (22.0, 22.0), 0.85)))
    parts.append(Part(0, "marrow", Tube(column, (19.0, 19.0), 0.85)))
    for level in range(-12, 13):
        disc = Ellipsoid((level * 34.0 + 8.0, 54.0, 0.0), (5.0, 19.0, 22.0))
        parts.append(Part(0, "disc", disc))
    parts.append(Part(0, "canal", Tube(canal, (9.0, 9.0))))
    return parts


def heart() -> list[Part]:
    """Return the lower half of the heart."""
    return [
        Part(0, "muscle", Ellipsoid((142.0, -38.0, 18.0), (50.0, 40.0, 52.0))),
        Part(0, "heart", Ellipsoid((144.0, -38.0, 20.0), (42.0, 30.0, 42.0))),
    ]


def bowel(rng: np.random.Generator, wall: Wall) -> list[Part]:
    """Draw loops of small bowel, and the colon with stool and gas."""
    parts = []
    for _ in range(16):
        center = (rng.uniform(-150, -30), rng.uniform(-60, 5), rng.uniform(-75, 75))
        points = tuple(
            (center[0] + dz, center[1] + dy, center[2] + dx)
            for dz, dy, dx in rng.uniform(-22, 22, (4, 3)).tolist()
        )
        radius = float(rng.uniform(9, 15))
        loop = Tube(points, (radius,) * 4)
        parts.append(Part(0, f"bowel {int(rng.integers(4))}", loop, wall.cavity_mm))
        if rng.uniform() < 0.35:
            gas = Ellipsoid(shifted(points[1], (0.0, -0.35 * radius, 0.0)), (0.6 * radius,) * 3)
            parts.append(Part(0, "air", gas, wall.cavity_mm))
    for side in (-1.0, 1.0):
        top = -15.0 if side < 0 else 5.0
        path = ((-130.0, 10.0, side * 98.0), (-70.0, 22.0, side * 104.0), (top, 18.0, side * 98.0))
        parts.append(Part(0, "stool", Tube(path, (21.0, 19.0, 18.0)), wall.cavity_mm))
        parts.append(
            Part(0, "air", Tube((path[0], path[1]), (9.0, 8.0)).moved((6.0, -7.0, 0.0), 1.0))
        )
    across = (
        (-20.0, -20.0, -98.0),
        (-42.0, -62.0, -45.0),
        (-48.0, -66.0, 20.0),
        (5.0, -15.0, 98.0),
    )
    parts.append(Part(0, "stool", Tube(across, (17.0, 16.0, 15.0, 15.0)), wall.cavity_mm))
    parts.append(Part(0, "air", Tube(across[1:3], (8.0, 8.0)).moved((0.0, -5.0, 0.0), 1.0)))
    return parts
