"""How much surface each 2 x 2 x 2 neighborhood carries, and how it is numbered.

A surface lives on the corners between voxels. The code of a corner has one bit for each of the
voxels around it, the highest for the voxel before the corner on all axes, last axis fastest. The
area depends on the code only through its symmetry class: flipping or exchanging axes (with the
spacing) or swapping inside and outside changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray

__all__ = ["reordered_codes", "surfel_measures"]

_Vector = tuple[int, int, int]

# One code of each symmetry class and the normals of its triangles, in eighths of a voxel face.
# The areas are those of Nikolov et al. 2018 (arXiv 1809.04430), appendix on surface DSC,
# marching cubes at half a voxel.
_NORMALS_OF_CLASS: dict[int, tuple[_Vector, ...]] = {
    1: ((1, 1, 1),),
    3: ((2, 2, 0),) * 2,
    6: ((1, 1, 1),) * 2,
    7: ((4, 0, 0), (2, 2, 2), (1, 1, 1)),
    15: ((4, 0, 0),) * 2,
    22: ((1, 1, 1),) * 3,
    23: ((1, 1, 1), (2, 2, 2), (2, 2, 2), (1, 1, 1)),
    24: ((1, 1, 1),) * 2,
    25: ((0, 2, 2), (0, 2, 2), (1, 1, 1)),
    27: ((1, 1, 1), (3, 3, 3), (0, 2, 2), (2, 0, 2)),
    30: ((4, 0, 0), (1, 1, 1), (2, 2, 2), (1, 1, 1)),
    60: ((2, 2, 0),) * 4,
    105: ((1, 1, 1),) * 4,
}


@lru_cache(maxsize=64)
def surfel_measures(spacing_mm: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the surface area (3-D, mm^2) or contour length (2-D, mm) of every corner code.

    Parameters
    ----------
    spacing_mm : (3,) or (2,) float
        Voxel size in array order.

    Returns
    -------
    (256,) or (16,) float64 array
        Not writeable: one array serves all calls.

    Examples
    --------
    Four voxels on one side of a corner: a flat piece as large as one voxel face.

    >>> float(surfel_measures((5.0, 0.5, 0.5))[0b11110000])
    0.25
    >>> float(surfel_measures((3.0, 4.0))[0b1000])
    2.5
    """
    if len(spacing_mm) == 2:
        return _contour_lengths(float(spacing_mm[0]), float(spacing_mm[1]))
    z, y, x = (float(value) for value in spacing_mm)
    faces = np.array((y * x, z * x, z * y))
    areas = np.zeros(256)
    for code, normals in _normals_of_code().items():
        areas[code] = np.linalg.norm(np.array(normals) * faces, axis=1).sum() / 8
    areas.flags.writeable = False
    return areas


@cache
def reordered_codes(order: tuple[int, ...]) -> NDArray[np.uint8]:
    """Return the code in array order for every code seen along axes in another order.

    Parameters
    ----------
    order : (3,) int
        Array axis of the first, second and third axis that a code was made along.

    Returns
    -------
    (256,) uint8 array

    Examples
    --------
    >>> int(reordered_codes((2, 1, 0))[0b11110000]) == 0b10101010
    True
    """
    back = [order.index(axis) for axis in range(3)]
    return np.array([_moved_code(code, back, (0, 0, 0)) for code in range(256)], np.uint8)


@cache
def _normals_of_code() -> dict[int, tuple[_Vector, ...]]:
    found: dict[int, tuple[_Vector, ...]] = {}
    for code, normals in _NORMALS_OF_CLASS.items():
        for order in permutations(range(3)):
            moved = tuple((n[order[0]], n[order[1]], n[order[2]]) for n in normals)
            for flips in product((0, 1), repeat=3):
                image = _moved_code(code, order, flips)
                found[image] = found[255 - image] = moved
    return found


def _moved_code(code: int, order: Sequence[int], flips: Sequence[int]) -> int:
    moved = 0
    for corner in product((0, 1), repeat=3):
        if code >> (7 - _position(corner)) & 1:
            target = tuple(corner[order[axis]] ^ flips[axis] for axis in range(3))
            moved |= 1 << (7 - _position(target))
    return moved


def _position(corner: Sequence[int]) -> int:
    return 4 * corner[0] + 2 * corner[1] + corner[2]


def _contour_lengths(row_mm: float, column_mm: float) -> NDArray[np.float64]:
    half_diagonal = 0.5 * float(np.hypot(row_mm, column_mm))
    lengths = np.full(16, half_diagonal)
    lengths[[0b0000, 0b1111]] = 0.0
    # Neighbors side by side: the line runs along the axis that joins them.
    lengths[[0b1100, 0b0011]] = column_mm
    lengths[[0b1010, 0b0101]] = row_mm
    lengths[[0b1001, 0b0110]] = 2 * half_diagonal
    lengths.flags.writeable = False
    return lengths
