"""Where a voxel array lies in the patient.

One convention holds everywhere: array axes are (z, y, x), and world coordinates are LPS millimeters
written in the same order, (S, P, L). So an identity direction is the canonical scan, and no
component is ever reversed except in the private modules that speak to SimpleITK and NIfTI.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["AxisOrder", "Geometry", "canonical_axis_order", "describe_grid_difference"]

_ORTHONORMAL_TOLERANCE = 1e-4
# Letters of the positive and negative world directions, in (S, P, L) order.
_TOWARD = (("S", "I"), ("P", "A"), ("L", "R"))


@dataclass(frozen=True)
class Geometry:
    """Spacing, origin and direction of a (z, y, x) grid.

    Parameters
    ----------
    spacing_mm : (3,) float
        Distance between voxel centers along each array axis, > 0.
    origin : (3,) float, optional
        World position (S, P, L) in mm of the center of voxel (0, 0, 0).
    direction : (3, 3) float, optional
        Column ``j`` is the world direction (S, P, L) in which array axis ``j`` runs; orthonormal.
        Identity is canonical: z runs to superior, y to posterior, x to left.

    Raises
    ------
    ValueError
        If a value is not finite, a spacing is not positive, or the direction is not orthonormal
        within 1e-4.

    Examples
    --------
    >>> grid = Geometry(spacing_mm=(5.0, 0.8, 0.8), origin=(-100.0, 0.0, 0.0))
    >>> grid.axis_codes
    'SPL'
    >>> grid.world_from_index((2, 0, 10)).tolist()
    [-90.0, 0.0, 8.0]
    """

    spacing_mm: tuple[float, float, float]
    origin: tuple[float, float, float] = (0.0, 0.0, 0.0)
    direction: tuple[tuple[float, float, float], ...] = (
        (1.0, 0.0, 0.0),
        (0.0, 1.0, 0.0),
        (0.0, 0.0, 1.0),
    )

    def __post_init__(self) -> None:
        spacing = _vector(self.spacing_mm, "spacing_mm")
        origin = _vector(self.origin, "origin")
        direction = np.asarray(self.direction, dtype=np.float64)
        if direction.shape != (3, 3) or not np.isfinite(direction).all():
            raise ValueError(f"direction must be a finite 3 x 3 matrix, got {self.direction!r}")
        if min(spacing) <= 0:
            raise ValueError(f"spacing_mm must be positive, got {spacing}")
        error = float(np.abs(direction.T @ direction - np.eye(3)).max())
        if error > _ORTHONORMAL_TOLERANCE:
            raise ValueError(
                f"direction must be orthonormal within {_ORTHONORMAL_TOLERANCE}, "
                f"is off by {error:.2g}"
            )
        object.__setattr__(self, "spacing_mm", spacing)
        object.__setattr__(self, "origin", origin)
        object.__setattr__(self, "direction", tuple(map(tuple, direction.tolist())))

    @property
    def direction_matrix(self) -> NDArray[np.float64]:
        """The direction as a (3, 3) array."""
        return np.asarray(self.direction, dtype=np.float64)

    @property
    def affine(self) -> NDArray[np.float64]:
        """The (4, 4) matrix from index (z, y, x, 1) to world (S, P, L, 1)."""
        matrix = np.eye(4)
        matrix[:3, :3] = self.direction_matrix * np.asarray(self.spacing_mm)
        matrix[:3, 3] = self.origin
        return matrix

    @property
    def axis_codes(self) -> str:
        """The anatomical letter each array axis runs toward, nearest axis for oblique grids."""
        permutation, signs = _nearest_axes(self.direction_matrix)
        return "".join(
            _TOWARD[world][0 if sign > 0 else 1]
            for world, sign in zip(permutation, signs, strict=True)
        )

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return float(np.prod(self.spacing_mm))

    def world_from_index(self, index: ArrayLike) -> NDArray[np.float64]:
        """Return world points (..., 3) in mm of the indices (..., 3), fractions allowed."""
        points = np.asarray(index, dtype=np.float64)
        world: NDArray[np.float64] = points @ self.affine[:3, :3].T + np.asarray(self.origin)
        return world

    def index_from_world(self, world: ArrayLike) -> NDArray[np.float64]:
        """Return fractional indices (..., 3) of the world points (..., 3) in mm."""
        points = np.asarray(world, dtype=np.float64) - np.asarray(self.origin)
        index: NDArray[np.float64] = points @ np.linalg.inv(self.affine[:3, :3]).T
        return index

    @classmethod
    def from_axis_letters(cls, letters: str, *, spacing_mm: tuple[float, float, float]) -> Geometry:
        """Return a grid at origin 0 whose x, y and z axes run toward three letters.

        Parameters
        ----------
        letters : str
            Of x, y, z, such as ``"LPS"``, the canonical one.
        spacing_mm : (3,) float
            In array order (z, y, x).

        Examples
        --------
        >>> Geometry.from_axis_letters("RAS", spacing_mm=(5.0, 0.8, 0.8)).axis_codes
        'SAR'
        """
        direction = [[0.0] * 3 for _ in range(3)]
        for axis, letter in enumerate(reversed(letters)):
            world = next(k for k, pair in enumerate(_TOWARD) if letter in pair)
            direction[world][axis] = 1.0 if letter == _TOWARD[world][0] else -1.0
        return cls(spacing_mm, direction=tuple((a, b, c) for a, b, c in direction))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; ``Geometry(**it)`` is the way back."""
        return {
            "spacing_mm": list(self.spacing_mm),
            "origin": list(self.origin),
            "direction": [list(row) for row in self.direction],
        }


@dataclass(frozen=True)
class AxisOrder:
    """A permutation and flips of array axes, with its exact inverse.

    ``permutation[k]`` is the source axis that becomes axis ``k``; ``flips[k]`` says whether axis
    ``k`` of the result is reversed.

    Examples
    --------
    >>> order = AxisOrder((2, 1, 0), (False, True, False))
    >>> a = np.arange(24).reshape(2, 3, 4)
    >>> order.apply(a).shape
    (4, 3, 2)
    >>> bool((order.undo(order.apply(a)) == a).all())
    True
    """

    permutation: tuple[int, int, int]
    flips: tuple[bool, bool, bool]

    @property
    def is_identity(self) -> bool:
        """Whether applying changes nothing."""
        return self.permutation == (0, 1, 2) and not any(self.flips)

    def apply(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the (z, y, x) array in the new order."""
        flips = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return array.transpose(self.permutation)[flips]

    def undo(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of an array in the new order, back in the old one."""
        flips = tuple(slice(None, None, -1) if flip else slice(None) for flip in self.flips)
        return array[flips].transpose(tuple(int(k) for k in np.argsort(self.permutation)))

    def apply_geometry(self, geometry: Geometry, shape: tuple[int, ...]) -> Geometry:
        """Return the geometry of ``apply(array)`` for an array of this shape and geometry."""
        order = list(self.permutation)
        first = np.zeros(3)
        signs = np.ones(3)
        for axis, flip in enumerate(self.flips):
            if flip:
                first[order[axis]] = shape[order[axis]] - 1
                signs[axis] = -1.0
        direction = geometry.direction_matrix[:, order] * signs
        z, y, x = (geometry.spacing_mm[k] for k in order)
        return Geometry(
            spacing_mm=(z, y, x),
            origin=tuple(geometry.world_from_index(first).tolist()),
            # 0 * -1 is -0.0, which would make equal geometries print differently.
            direction=tuple(map(tuple, (direction + 0.0).tolist())),
        )


def canonical_axis_order(geometry: Geometry) -> AxisOrder:
    """Return the axis order that brings a grid to S, P, L, the nearest one for oblique grids.

    Examples
    --------
    >>> ras = Geometry((3.0, 3.0, 3.0), direction=((1, 0, 0), (0, -1, 0), (0, 0, -1)))
    >>> canonical_axis_order(ras)
    AxisOrder(permutation=(0, 1, 2), flips=(False, True, True))
    """
    world_of_axis, signs = _nearest_axes(geometry.direction_matrix)
    z, y, x = (world_of_axis.index(world) for world in range(3))
    return AxisOrder((z, y, x), (signs[z] < 0, signs[y] < 0, signs[x] < 0))


def describe_grid_difference(
    geometry: Geometry,
    shape: tuple[int, ...],
    other: Geometry,
    other_shape: tuple[int, ...],
    *,
    tolerance_voxels: float = 0.01,
) -> str | None:
    """Say how two grids differ, or return None where they are the same.

    Parameters
    ----------
    geometry, shape, other, other_shape
        The two grids.
    tolerance_voxels : float
        Largest distance between corresponding corner voxels that counts as equal, in units of the
        smallest spacing. Headers keep float32, so exact equality is too much to ask.

    Returns
    -------
    str or None
        For example ``"voxel (0, 0, 0) lies 0.8 mm apart"``.
    """
    if tuple(shape) != tuple(other_shape):
        return f"shape {tuple(shape)} against {tuple(other_shape)} (z, y, x)"
    corners = np.stack(np.meshgrid(*[(0, n - 1) for n in shape], indexing="ij"), -1).reshape(-1, 3)
    apart = np.linalg.norm(
        geometry.world_from_index(corners) - other.world_from_index(corners), axis=1
    )
    worst = int(apart.argmax())
    if apart[worst] <= tolerance_voxels * min(geometry.spacing_mm):
        return None
    corner = tuple(int(k) for k in corners[worst])
    text = f"voxel {corner} lies {apart[worst]:.3g} mm apart"
    if geometry.axis_codes != other.axis_codes:
        text += f", axes {geometry.axis_codes} against {other.axis_codes}"
    return text


def _vector(values: Any, name: str) -> tuple[float, float, float]:
    vector = tuple(float(v) for v in values)
    if len(vector) != 3 or not np.isfinite(vector).all():
        raise ValueError(f"{name} must be three finite numbers, got {values!r}")
    return vector


def _nearest_axes(direction: NDArray[np.float64]) -> tuple[list[int], list[float]]:
    """For each array axis the world axis nearest to it and the sign, each world axis used once."""
    remaining = np.abs(direction)
    world_of_axis = [0, 0, 0]
    signs = [1.0, 1.0, 1.0]
    for _ in range(3):
        world, axis = np.unravel_index(int(remaining.argmax()), (3, 3))
        world_of_axis[axis] = int(world)
        signs[axis] = float(np.sign(direction[world, axis]))
        remaining[world, :] = -1
        remaining[:, axis] = -1
    return world_of_axis, signs
