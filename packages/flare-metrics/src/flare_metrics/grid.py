"""Where a label map lies, and whether two lie on the same grid.

An affine maps array indices (z, y, x) to world millimeters. World axes are those of the file
format; two grids are only ever compared with one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray

__all__ = ["Grid", "describe_difference"]

# Of a voxel: headers keep float32.
_TOLERANCE_VOXELS = 0.01


@dataclass(frozen=True, eq=False)
class Grid:
    """Shape, spacing and affine of a (z, y, x) array.

    Parameters
    ----------
    shape : (3,) int
    spacing_mm : (3,) float
    affine : (4, 4) float array
        From (z, y, x, 1) to world millimeters.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]

    @property
    def z_axis(self) -> int:
        """The array axis nearest to the third world axis, which is superior-inferior."""
        axes = self.affine[:3, :3] / np.maximum(np.linalg.norm(self.affine[:3, :3], axis=0), 1e-30)
        return int(np.abs(axes[2]).argmax())


def describe_difference(prediction: Grid, reference: Grid) -> str | None:
    """Say how two grids differ, or return None where they are the same within 0.01 voxel.

    Examples
    --------
    >>> a = Grid((2, 2, 2), (1, 1, 1), np.eye(4))
    >>> b = Grid((2, 2, 2), (1, 1, 1), np.eye(4) + 3 * np.eye(4, k=3))
    >>> describe_difference(a, b)
    'voxel (0, 0, 0) lies 3 mm apart'
    """
    if prediction.shape != reference.shape:
        return f"shape {prediction.shape} against {reference.shape} (z, y, x)"
    apart = {}
    for corner in product(*((0, size - 1) for size in reference.shape)):
        point = np.array((*corner, 1.0))
        apart[corner] = float(np.linalg.norm((prediction.affine - reference.affine) @ point))
    worst = max(apart, key=lambda corner: apart[corner])
    if apart[worst] <= _TOLERANCE_VOXELS * min(reference.spacing_mm):
        return None
    return f"voxel {worst} lies {apart[worst]:.3g} mm apart"
