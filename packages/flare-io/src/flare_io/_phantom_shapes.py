"""Bodies by formula: a level, negative inside, about the distance in mm near the surface.

Coordinates are the model patient's, in mm and array order (S, P, L): the first number grows toward
the head, the second toward the back, the third toward the patient's left.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Blob", "Ellipsoid", "Minus", "Points", "Shape", "Tube", "Union", "Vector", "shifted"]

Vector = tuple[float, float, float]
Points = tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]


class Shape(Protocol):
    """A body that can be measured, moved and boxed."""

    def level(self, points: Points) -> NDArray[np.float32]:
        """Return the level at the points: negative inside, about mm near the surface."""
        ...

    def box(self) -> tuple[Vector, Vector]:
        """Return the lowest and highest corner of a box around the body."""
        ...

    def moved(self, shift: Vector, scale: float) -> Shape:
        """Return the body shifted, with its radii scaled."""
        ...


@dataclass(frozen=True)
class Ellipsoid:
    """An ellipsoid, turned by ``yaw`` about the long and ``roll`` about the front-back axis."""

    center: Vector
    radii: Vector
    yaw: float = 0.0
    roll: float = 0.0

    def level(self, points: Points) -> NDArray[np.float32]:
        """Return (r - 1) times the smallest radius, r the normalized radius."""
        z, y, x = (p - np.float32(c) for p, c in zip(points, self.center, strict=True))
        if self.yaw:
            cos, sin = np.float32(np.cos(self.yaw)), np.float32(np.sin(self.yaw))
            y, x = cos * y - sin * x, sin * y + cos * x
        if self.roll:
            cos, sin = np.float32(np.cos(self.roll)), np.float32(np.sin(self.roll))
            z, x = cos * z - sin * x, sin * z + cos * x
        rz, ry, rx = (np.float32(r) for r in self.radii)
        radius = np.sqrt((z / rz) ** 2 + (y / ry) ** 2 + (x / rx) ** 2)
        level: NDArray[np.float32] = (radius - np.float32(1)) * np.float32(min(self.radii))
        return level

    def box(self) -> tuple[Vector, Vector]:
        """Return the box; a turned ellipsoid gets that of its ball along the turned axes."""
        reach = list(self.radii)
        if self.yaw:
            reach[1] = reach[2] = max(reach[1], reach[2])
        if self.roll:
            reach[0] = reach[2] = max(reach[0], reach[2])
        return _around(self.center, self.center, (reach[0], reach[1], reach[2]))

    def moved(self, shift: Vector, scale: float) -> Ellipsoid:
        """Return the ellipsoid shifted, with its radii scaled."""
        z, y, x = self.radii
        return replace(
            self, center=shifted(self.center, shift), radii=(z * scale, y * scale, x * scale)
        )


@dataclass(frozen=True)
class Tube:
    """A tube of changing radius along a curve; ``flat`` < 1 thins it from front to back."""

    points: tuple[Vector, ...]
    radii: tuple[float, ...]
    flat: float = 1.0

    def level(self, points: Points) -> NDArray[np.float32]:
        """Return the smallest level over the cones between consecutive points."""
        best: NDArray[np.float32] | None = None
        stretch = np.float32(1 / self.flat)
        z, y, x = points
        for (a, ra), (b, rb) in zip(_smooth(self)[:-1], _smooth(self)[1:], strict=True):
            axis = np.subtract(b, a)
            axis[1] *= stretch
            # Two knots may coincide: then the cone is a ball.
            squared = max(float(axis @ axis), 1e-9)
            dz, dy, dx = (
                z - np.float32(a[0]),
                (y - np.float32(a[1])) * stretch,
                x - np.float32(a[2]),
            )
            along = (
                dz * np.float32(axis[0]) + dy * np.float32(axis[1]) + dx * np.float32(axis[2])
            ) / (np.float32(squared))
            np.clip(along, 0, 1, out=along)
            distance = np.sqrt(
                (dz - along * np.float32(axis[0])) ** 2
                + (dy - along * np.float32(axis[1])) ** 2
                + (dx - along * np.float32(axis[2])) ** 2
            )
            distance -= np.float32(ra) + along * np.float32(rb - ra)
            best = distance if best is None else np.minimum(best, distance, out=best)
        assert best is not None
        return best

    def box(self) -> tuple[Vector, Vector]:
        """Return the box of the points, grown by the largest radius."""
        # The curve may swing a little outside its points.
        reach = max(self.radii) * 1.2 + 2.0
        corners = np.asarray(self.points)
        low, high = corners.min(0).tolist(), corners.max(0).tolist()
        return _around((low[0], low[1], low[2]), (high[0], high[1], high[2]), (reach, reach, reach))

    def moved(self, shift: Vector, scale: float) -> Tube:
        """Return the tube shifted, with its radii scaled."""
        return replace(
            self,
            points=tuple(shifted(point, shift) for point in self.points),
            radii=tuple(radius * scale for radius in self.radii),
        )


@dataclass(frozen=True)
class Blob:
    """A ball perturbed by ``waves``: rows of (amplitude, kz, ky, kx, phase), k per radius."""

    center: Vector
    radius_mm: float
    waves: tuple[tuple[float, float, float, float, float], ...] = ()

    def level(self, points: Points) -> NDArray[np.float32]:
        """Return the distance from the center minus the perturbed radius."""
        z, y, x = (p - np.float32(c) for p, c in zip(points, self.center, strict=True))
        level = np.sqrt(z * z + y * y + x * x) - np.float32(self.radius_mm)
        for amplitude, kz, ky, kx, phase in self.waves:
            angle = (z * np.float32(kz) + y * np.float32(ky) + x * np.float32(kx)) / np.float32(
                self.radius_mm
            )
            level -= np.float32(amplitude * self.radius_mm) * np.cos(angle + np.float32(phase))
        return np.asarray(level, np.float32)

    def box(self) -> tuple[Vector, Vector]:
        """Return the box of the largest radius."""
        reach = self.radius_mm * (1 + sum(abs(wave[0]) for wave in self.waves))
        return _around(self.center, self.center, (reach, reach, reach))

    def moved(self, shift: Vector, scale: float) -> Blob:
        """Return the blob shifted and scaled."""
        return replace(self, center=shifted(self.center, shift), radius_mm=self.radius_mm * scale)


@dataclass(frozen=True)
class Union:
    """What lies in any of the members."""

    members: tuple[Shape, ...]

    def level(self, points: Points) -> NDArray[np.float32]:
        """Return the smallest level of the members."""
        level = self.members[0].level(points)
        for member in self.members[1:]:
            level = np.asarray(np.minimum(level, member.level(points)), np.float32)
        return level

    def box(self) -> tuple[Vector, Vector]:
        """Return the box around the boxes of all members."""
        boxes = np.asarray([member.box() for member in self.members])
        low, high = boxes[:, 0].min(0).tolist(), boxes[:, 1].max(0).tolist()
        return (low[0], low[1], low[2]), (high[0], high[1], high[2])

    def moved(self, shift: Vector, scale: float) -> Union:
        """Return the union of the moved members."""
        return Union(tuple(member.moved(shift, scale) for member in self.members))


@dataclass(frozen=True)
class Minus:
    """``body`` without ``holes``; the holes stay where they are when the body moves."""

    body: Shape
    holes: tuple[Shape, ...]

    def level(self, points: Points) -> NDArray[np.float32]:
        """Return the largest of the body's level and the negated levels of the holes."""
        level = self.body.level(points)
        for hole in self.holes:
            np.maximum(level, -hole.level(points), out=level)
        return level

    def box(self) -> tuple[Vector, Vector]:
        """Return the body's box."""
        return self.body.box()

    def moved(self, shift: Vector, scale: float) -> Minus:
        """Return the moved body with the same holes."""
        return Minus(self.body.moved(shift, scale), self.holes)


def shifted(point: Vector, shift: Vector) -> Vector:
    """Return a point moved by a shift."""
    return point[0] + shift[0], point[1] + shift[1], point[2] + shift[2]


def _around(low: Vector, high: Vector, reach: Vector) -> tuple[Vector, Vector]:
    return (
        (low[0] - reach[0], low[1] - reach[1], low[2] - reach[2]),
        (high[0] + reach[0], high[1] + reach[1], high[2] + reach[2]),
    )


def _smooth(tube: Tube, pieces: int = 3) -> list[tuple[NDArray[np.float64], float]]:
    """Points and radii along a Catmull-Rom curve, so that a fine grid sees no kinks."""
    knots = np.asarray([(*p, r) for p, r in zip(tube.points, tube.radii, strict=True)], float)
    padded = np.vstack([2 * knots[0] - knots[1], knots, 2 * knots[-1] - knots[-2]])
    rows = [
        0.5
        * (
            2 * p1
            + (p2 - p0) * t
            + (2 * p0 - 5 * p1 + 4 * p2 - p3) * t**2
            + (3 * p1 - p0 - 3 * p2 + p3) * t**3
        )
        for p0, p1, p2, p3 in zip(padded, padded[1:], padded[2:], padded[3:], strict=False)
        for t in np.arange(pieces) / pieces
    ]
    rows.append(knots[-1])
    return [(row[:3], float(row[3])) for row in rows]
