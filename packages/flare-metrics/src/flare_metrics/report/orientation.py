"""Which way a patient looks in an array."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["OPPOSITE", "array_axes", "display_order", "to_display"]

OPPOSITE = {"S": "I", "I": "S", "P": "A", "A": "P", "L": "R", "R": "L"}
# World axes are those of NIfTI: right, anterior, superior.
_POSITIVE, _NEGATIVE = "RAS", "LPI"
_DISPLAY = "SPL"


def array_axes(affine: NDArray[np.float64]) -> str | None:
    """Return where the three axes of an array run to, such as ``"SPL"``.

    Parameters
    ----------
    affine : (4, 4) float array
        From (z, y, x, 1) to world millimeters (right, anterior, superior).

    Returns
    -------
    str or None
        A letter for each axis, the nearest of superior and inferior, posterior and anterior, left
        and right. None where the affine tells none.

    Examples
    --------
    >>> array_axes(np.diag([5.0, 1, 1, 1])[[2, 1, 0, 3]] * [[-1], [-1], [1], [1]])
    'SPL'
    """
    matrix = np.asarray(affine, float)[:3, :3]
    lengths = np.linalg.norm(matrix, axis=0)
    if not (np.isfinite(matrix).all() and (lengths > 0).all()):
        return None
    cosines = matrix / lengths
    world = max(
        permutations(range(3)),
        key=lambda order: sum(abs(cosines[row, axis]) for axis, row in enumerate(order)),
    )
    return "".join(
        (_POSITIVE if cosines[row, axis] > 0 else _NEGATIVE)[row] for axis, row in enumerate(world)
    )


def to_display(array: NDArray[Any], axes: str | None) -> NDArray[Any]:
    """Return a view of an array whose axes run to superior, posterior and left.

    Parameters
    ----------
    array : (3 axes) array
    axes : str or None
        As from `array_axes`; with None the array stays as it is.

    Examples
    --------
    >>> to_display(np.arange(8).reshape(2, 2, 2), "IPL")[0].tolist()
    [[4, 5], [6, 7]]
    """
    if axes is None:
        return array
    order = display_order(axes)
    flips = tuple(
        slice(None, None, None if axes[axis] == letter else -1)
        for axis, letter in zip(order, _DISPLAY, strict=True)
    )
    return array.transpose(order)[flips]


def display_order(axes: str | None) -> tuple[int, int, int]:
    """Return which array axis runs along superior-inferior, which along the next, and the last.

    Raises
    ------
    ValueError
        If the letters name an axis twice or not at all.
    """
    if axes is None:
        return 0, 1, 2
    pairs = [{letter, OPPOSITE[letter]} for letter in _DISPLAY]
    order = tuple(
        next((axis for axis, letter in enumerate(axes) if letter in pair), -1) for pair in pairs
    )
    if len(axes) != 3 or -1 in order:
        raise ValueError(f"axes must be three letters such as 'SPL', got {axes!r}")
    return order[0], order[1], order[2]
