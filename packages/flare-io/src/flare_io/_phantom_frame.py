"""Where a point of the scan lies in the model patient: a similarity and a smooth displacement."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flare_io._phantom_shapes import Points, Vector

__all__ = ["Frame", "draw_frame"]

# Control points of the displacement stand this far apart and cover the field of view around the
# center.
_KNOT_DISTANCE_MM = 80.0
_KNOTS = 9
# 2 % of a field of view of 336 mm; a cubic B-spline of white coefficients has about 0.33 of their
# spread per three axes, hence the factor.
_DISPLACEMENT_MM = 0.02 * 336.0
_BSPLINE_GAIN = 0.33


@dataclass(frozen=True, eq=False)
class Frame:
    """Size, place and smooth deformation of one patient.

    A world point p (mm) lies at ``(p - shift) / size + displacement(p)`` of the model patient.
    """

    size: float
    shift: Vector
    coefficients: NDArray[np.float64]

    def displacement(self, axes: tuple[NDArray[np.float64], ...]) -> Points:
        """Return the displacement (mm) on the grid of three world axes (mm)."""
        bases = [_cubic_basis(axis / _KNOT_DISTANCE_MM + (_KNOTS - 1) / 2) for axis in axes]
        parts = []
        for coefficients in self.coefficients:
            part = np.tensordot(bases[0], coefficients, axes=(1, 0))
            part = np.einsum("zbc,yb->zyc", part, bases[1], optimize=True)
            parts.append(np.tensordot(part.astype(np.float32), bases[2].T.astype(np.float32), 1))
        return parts[0], parts[1], parts[2]

    def model_points(self, axes: tuple[NDArray[np.float64], ...]) -> Points:
        """Return the model patient's coordinates on the grid of three world axes (mm)."""
        moved = self.displacement(axes)
        for k, axis in enumerate(axes):
            line = ((axis - self.shift[k]) / self.size).astype(np.float32)
            moved[k][...] += line.reshape([-1 if j == k else 1 for j in range(3)])
        return moved

    @property
    def largest_displacement_mm(self) -> float:
        """A bound of the displacement along any axis: B-splines are convex combinations."""
        return float(np.abs(self.coefficients).max())

    def world_box(
        self, low: Vector, high: Vector
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return world corners of a box that surely holds a box of the model patient."""
        reach = self.largest_displacement_mm
        shift = np.asarray(self.shift)
        return (
            (np.asarray(low) - reach) * self.size + shift,
            (np.asarray(high) + reach) * self.size + shift,
        )


def draw_frame(rng: np.random.Generator) -> Frame:
    """Draw size (spread 5 %), shift (2 % of the field) and displacement (2 %) of one patient."""
    size = float(np.exp(np.clip(rng.normal(0, 0.05), -0.1, 0.1)))
    shift = np.clip(rng.normal(0, _DISPLACEMENT_MM, 3), -12, 12).tolist()
    spread = _DISPLACEMENT_MM / _BSPLINE_GAIN
    # Clipped, else two control points 80 mm apart could fold the body onto itself; 5.5 mm of
    # spread are left.
    coefficients = np.clip(rng.normal(0, spread, (3, _KNOTS, _KNOTS, _KNOTS)), -26, 26)
    return Frame(size, (shift[0], shift[1], shift[2]), coefficients)


def _cubic_basis(positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (positions, knots) of the uniform cubic B-spline, held constant outside the knots."""
    positions = np.clip(positions, 0, _KNOTS - 1)
    distance = np.abs(positions[:, None] - np.arange(_KNOTS))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.clip(2 - distance, 0, None) ** 3 / 6
    weights = np.where(distance < 1, near, far)
    normal: NDArray[np.float64] = weights / weights.sum(1, keepdims=True)
    return normal
