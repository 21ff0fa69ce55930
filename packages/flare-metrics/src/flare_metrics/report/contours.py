"""Outlines of masks as closed lines, and lines drawn solid or dashed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL.ImageDraw import ImageDraw

__all__ = ["dashes", "draw_lines", "outlines"]

# Directions in (row, column): right, down, left, up. The mask lies at the right hand.
_STEPS = ((0, 1), (1, 0), (0, -1), (-1, 0))

Line = NDArray[np.float64]
"""(points, 2) rows and columns; the last point is the first."""


def outlines(mask: NDArray[np.bool_]) -> list[Line]:
    """Return the outlines of a mask, one closed line for each border.

    Parameters
    ----------
    mask : (rows, columns) bool array

    Returns
    -------
    list of (points, 2) float arrays
        Rows and columns in pixels, where pixel (r, c) covers r to r + 1 and c to c + 1. The lines
        go through the middles of the pixels' sides, so steps are cut off at 45 degrees. Pixels
        that touch at a corner only are two bodies. Empty for an empty mask.

    Examples
    --------
    >>> outlines(np.array([[True]]))[0].tolist()
    [[0.0, 0.5], [0.5, 1.0], [1.0, 0.5], [0.5, 0.0], [0.0, 0.5]]
    """
    sides = _sides(mask)
    lines = []
    while sides:
        row, column, direction = start = next(iter(sides))
        points: list[tuple[float, float]] = []
        while not points or (row, column, direction) != start:
            down, right = _STEPS[direction]
            points.append((row + down / 2, column + right / 2))
            row, column = row + down, column + right
            # Toward the mask first: that keeps bodies apart that share a corner.
            turns = ((direction + turn) % 4 for turn in (1, 0, 3))
            direction = next(turn for turn in turns if (row, column, turn) in sides)
            # The start is left until it is reached again.
            if (row, column, direction) != start:
                sides.discard((row, column, direction))
        sides.discard(start)
        lines.append(np.array([*points, points[0]]))
    return lines


def dashes(line: Line, *, dash: float, gap: float) -> list[Line]:
    """Cut a line into pieces of equal length with gaps between them.

    Examples
    --------
    >>> [piece.tolist() for piece in dashes(np.array([[0.0, 0], [0, 10]]), dash=4, gap=3)]
    [[[0.0, 0.0], [0.0, 4.0]], [[0.0, 7.0], [0.0, 10.0]]]
    """
    lengths = np.linalg.norm(np.diff(line, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(lengths)])
    pieces = []
    for begin in np.arange(0.0, along[-1], dash + gap):
        end = min(begin + dash, along[-1])
        inner = along[(along > begin) & (along < end)]
        stops = np.concatenate([[begin], inner, [end]])
        pieces.append(np.stack([np.interp(stops, along, line[:, axis]) for axis in (0, 1)], axis=1))
    return pieces


def draw_lines(
    draw: ImageDraw, lines: Sequence[Line], *, color: tuple[int, int, int, int], width: int
) -> None:
    """Draw lines given in pixels of the picture."""
    for line in lines:
        points = [(float(column), float(row)) for row, column in line]
        draw.line(points, fill=color, width=width, joint="curve")


def _sides(mask: NDArray[np.bool_]) -> set[tuple[int, int, int]]:
    """Return the sides between mask and background: where each starts, and its direction."""
    padded = np.pad(mask, 1)
    inside = padded[1:-1, 1:-1]
    # Neighbor above, right, below, left; where the side starts, seen from the pixel's corner.
    neighbors = (padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])
    corners = ((0, 0), (0, 1), (1, 1), (1, 0))
    return {
        side
        for direction, (neighbor, corner) in enumerate(zip(neighbors, corners, strict=True))
        for side in _starts(inside & ~neighbor, corner, direction)
    }


def _starts(
    pixels: NDArray[np.bool_], corner: tuple[int, int], direction: int
) -> Iterator[tuple[int, int, int]]:
    rows, columns = np.nonzero(pixels)
    for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
        yield row + corner[0], column + corner[1], direction
