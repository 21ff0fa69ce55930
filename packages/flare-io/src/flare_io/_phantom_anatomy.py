"""The model patient: 13 organs and what surrounds them, in paint order, later parts winning.

Head at +z, back at +y, left at +x. Label ids are FLARE 2023's; 0 marks what nobody labels.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flare_io._phantom_shapes import Ellipsoid, Minus, Points, Shape, Tube, Union, Vector, shifted
from flare_io._phantom_trunk import Part, Wall, bowel, heart, skeleton_and_muscle

__all__ = ["ORGAN_NAMES", "TUMOR", "draw_anatomy"]

TUMOR = 14
ORGAN_NAMES = {
    1: "liver",
    2: "right kidney",
    3: "spleen",
    4: "pancreas",
    5: "aorta",
    6: "inferior vena cava",
    7: "right adrenal gland",
    8: "left adrenal gland",
    9: "gallbladder",
    10: "esophagus",
    11: "stomach",
    12: "duodenum",
    13: "left kidney",
}


def draw_anatomy(rng: np.random.Generator) -> tuple[Wall, list[Part]]:
    """Draw one patient's trunk and its parts in paint order.

    Every organ has a private shift (spread 1.2 % of the field of view, 4 mm) and log-radius
    (spread 0.10).
    """
    wall = Wall(
        fat_mm=float(np.clip(rng.normal(14, 5), 6, 24)),
        muscle_mm=float(rng.uniform(10, 14)),
        diaphragm_mm=float(rng.normal(70, 6)),
        rib_phase=float(rng.uniform(0, 2 * np.pi)),
    )
    parts = [*skeleton_and_muscle(), *heart(), *bowel(rng, wall)]
    organs = _organs(rng, wall)
    for label, shape in organs:
        inside = wall.cavity_mm if label in (1, 3, 11) else -1e3
        parts.append(Part(label, ORGAN_NAMES[label], shape, inside))
        parts.extend(_inner(label, shape, wall))
    return wall, parts


def _organs(rng: np.random.Generator, wall: Wall) -> list[tuple[int, Shape]]:
    """Return the 13 organs in the order of painting, each with its own shift and scale."""
    anatomy = _organ_shapes()
    moved: list[tuple[int, Shape]] = []
    for label in (1, 3, 11, 2, 13, 4, 12, 9, 6, 5, 10, 7, 8):
        shift = np.clip(rng.normal(0, 4.0, 3), -9, 9).tolist()
        scale = float(np.exp(np.clip(rng.normal(0, 0.10), -0.2, 0.2)))
        # Tubes that leave the field of view and thin plates keep more of their place and width.
        calm = 0.5 if label in (5, 6, 7, 8, 10) else 1.0
        shift = (shift[0] * calm, shift[1] * calm, shift[2] * calm)
        moved.append((label, anatomy[label].moved(shift, scale**calm)))
    return moved


def _organ_shapes() -> dict[int, Shape]:
    liver = Minus(
        Union(
            (
                Ellipsoid((44.0, -2.0, -62.0), (72.0, 80.0, 74.0), roll=-0.15),
                Ellipsoid((62.0, -42.0, 8.0), (34.0, 38.0, 62.0), roll=0.25),
            )
        ),
        (
            Tube(((-300.0, 58.0, 4.0), (300.0, 58.0, 4.0)), (46.0, 46.0)),
            Ellipsoid((-20.0, 0.0, -2.0), (52.0, 52.0, 46.0)),
        ),
    )
    stomach = Tube(
        (
            (78.0, 0.0, 46.0),
            (55.0, -14.0, 58.0),
            (26.0, -36.0, 56.0),
            (4.0, -50.0, 34.0),
            (-2.0, -50.0, 6.0),
            (2.0, -44.0, -14.0),
        ),
        (27.0, 30.0, 26.0, 22.0, 17.0, 11.0),
    )
    return {
        1: liver,
        2: Ellipsoid((-14.0, 44.0, -60.0), (52.0, 25.0, 28.0), yaw=0.5, roll=-0.15),
        3: Ellipsoid((56.0, 38.0, 96.0), (48.0, 40.0, 27.0), yaw=-0.5, roll=0.2),
        4: Tube(
            (
                (-24.0, 0.0, -26.0),
                (-8.0, -8.0, -20.0),
                (6.0, -16.0, 6.0),
                (16.0, -8.0, 34.0),
                (34.0, 16.0, 74.0),
            ),
            (14.0, 15.0, 10.0, 11.0, 9.0),
        ),
        5: Tube(
            (
                (400.0, 34.0, 24.0),
                (110.0, 32.0, 22.0),
                (60.0, 24.0, 14.0),
                (0.0, 20.0, 10.0),
                (-92.0, 20.0, 6.0),
            ),
            (13.0, 13.0, 12.0, 11.0, 9.5),
        ),
        6: Tube(
            (
                (-96.0, 22.0, -18.0),
                (-20.0, 19.0, -22.0),
                (40.0, 16.0, -24.0),
                (84.0, 6.0, -20.0),
                (104.0, -8.0, -12.0),
            ),
            (11.0, 12.0, 13.0, 13.0, 12.0),
            0.85,
        ),
        7: Union(
            (
                Ellipsoid((46.0, 36.0, -38.0), (17.0, 15.0, 4.8), yaw=0.5),
                Ellipsoid((42.0, 40.0, -44.0), (12.0, 13.0, 4.6), yaw=-0.6),
            )
        ),
        8: Union(
            (
                Ellipsoid((52.0, 34.0, 37.0), (18.0, 15.0, 4.8), yaw=-0.6),
                Ellipsoid((47.0, 38.0, 43.0), (13.0, 13.0, 4.6), yaw=0.6),
            )
        ),
        9: Ellipsoid((-6.0, -44.0, -50.0), (28.0, 16.0, 15.0), roll=-0.3),
        10: Tube(
            ((400.0, 12.0, 2.0), (120.0, 14.0, 3.0), (98.0, 10.0, 10.0), (80.0, 0.0, 26.0)),
            (9.0, 9.5, 9.5, 9.0),
        ),
        11: stomach,
        12: Tube(
            (
                (2.0, -40.0, -18.0),
                (2.0, -22.0, -44.0),
                (-24.0, -2.0, -50.0),
                (-44.0, 2.0, -40.0),
                (-48.0, 0.0, -14.0),
                (-42.0, 0.0, 18.0),
            ),
            (11.0, 12.0, 12.0, 12.0, 10.5, 9.5),
        ),
        13: Ellipsoid((2.0, 42.0, 60.0), (52.0, 25.0, 28.0), yaw=-0.5, roll=0.15),
    }


def _inner(label: int, shape: Shape, wall: Wall) -> list[Part]:
    """Parts of an organ that look unlike the rest of it but carry its label."""
    if label in (2, 13) and isinstance(shape, Ellipsoid):
        z, y, x = shape.radii
        medial = 10.0 if label == 2 else -10.0
        parts: list[Part] = []
        for k in (-2, -1, 0, 1, 2):
            place = shifted(shape.center, (k * z * 0.32, 0.0, -0.25 * medial))
            pyramid = Ellipsoid(place, (0.11 * z, 0.55 * y, 0.5 * x), shape.yaw)
            parts.append(Part(label, "medulla", pyramid))
        sinus = Ellipsoid(shifted(shape.center, (0, -2.0, medial)), (0.45 * z, 0.3 * y, 0.4 * x))
        return [*parts, Part(label, "sinus", sinus)]
    if label == 11 and isinstance(shape, Tube):
        inner = Tube(shape.points, tuple(radius - 5.0 for radius in shape.radii))
        # Supine: gas rises to the front, above a level plane.
        level = shape.points[2][1] - 6.0
        gas = Minus(inner, (_Behind(level),))
        return [
            Part(label, "stomach fluid", inner, wall.cavity_mm + 4.0),
            Part(label, "air", gas, wall.cavity_mm + 5.0),
        ]
    return []


@dataclass(frozen=True)
class _Behind:
    """The half-space behind a coronal plane."""

    y_mm: float

    def level(self, points: Points) -> NDArray[np.float32]:
        """Return the distance in front of the plane."""
        return np.float32(self.y_mm) - points[1]

    def box(self) -> tuple[Vector, Vector]:
        """Return a box wider than any patient."""
        return (-1e4, self.y_mm, -1e4), (1e4, 1e4, 1e4)

    def moved(self, shift: Vector, scale: float) -> _Behind:
        """Return the half-space shifted."""
        return _Behind(self.y_mm + shift[1])
