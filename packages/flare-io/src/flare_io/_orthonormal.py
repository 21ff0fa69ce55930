"""Axes that are almost at right angles, made so, within a limit and never in silence."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flare_io.errors import GeometryError

__all__ = ["LARGEST_SHEAR_DEGREES", "straighten"]

LARGEST_SHEAR_DEGREES = 0.5
# What rounding of a header to float32 explains.
_ROUNDING_DEGREES = 1e-4


def straighten(
    matrix: NDArray[np.float64], shape: tuple[int, ...], *, path: Path
) -> tuple[NDArray[np.float64], NDArray[np.float64], str]:
    """Split a grid's matrix into the nearest rotation and the lengths of its columns.

    Parameters
    ----------
    matrix : (3, 3) float array
        Columns are the steps along the array axes in mm.
    shape : (3,) int
        To say how far the farthest voxel moves.
    path : Path
        For messages.

    Returns
    -------
    direction : (3, 3) float array
        Orthonormal.
    spacing : (3,) float array
        In mm.
    note : str
        What was straightened; empty within rounding.

    Raises
    ------
    GeometryError
        If an angle is off by more than 0.5 degrees, or a column is zero or not finite.

    Notes
    -----
    The nearest orthonormal matrix in the least-squares sense is the polar factor (Higham 1986).
    """
    spacing = np.linalg.norm(matrix, axis=0)
    if not np.isfinite(matrix).all() or not spacing.min() > 0:
        raise GeometryError(
            path,
            "every axis must step through space",
            found=f"steps of {', '.join(f'{length:g}' for length in spacing)} mm",
            remedy="repair the header",
            kind="singular",
        )
    steps = matrix / spacing
    cosines = np.abs((steps.T @ steps)[np.triu_indices(3, 1)])
    angle = float(np.degrees(np.arcsin(np.clip(cosines, 0, 1))).max())
    if angle > LARGEST_SHEAR_DEGREES:
        raise GeometryError(
            path,
            f"axes must be at right angles within {LARGEST_SHEAR_DEGREES} degrees",
            found=f"sheared by {angle:.3g} degrees",
            remedy="resample it to a straight grid first",
            kind="shear",
        )
    left, _, right = np.linalg.svd(steps)
    direction = left @ right
    if angle <= _ROUNDING_DEGREES:
        return direction, spacing, ""
    ends = np.array([(z, y, x) for z in (0, 1) for y in (0, 1) for x in (0, 1)]) * (
        np.array(shape) - 1
    )
    moved = np.linalg.norm(ends @ (direction * spacing - matrix).T, axis=1).max()
    return (
        direction,
        spacing,
        f"shear of {angle:.2g} degrees straightened, voxels moved by up to {moved:.2g} mm",
    )
