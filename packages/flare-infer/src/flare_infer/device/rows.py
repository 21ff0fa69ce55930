"""What is done on a device row by row: windows, then the planes that they made final."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import groupby, pairwise
from operator import itemgetter
from typing import TypeAlias

import numpy as np

from flare_infer.windows import Shape, Start, WindowPlan
from flare_io.crop import Box
from flare_io.resample import AxisOperator

__all__ = ["CaseGrid", "Row", "Rows", "plan_rows"]

Operators: TypeAlias = tuple[AxisOperator, AxisOperator, AxisOperator]


@dataclass(frozen=True)
class CaseGrid:
    """Where windows lie and where their logits go.

    Parameters
    ----------
    windows : WindowPlan
        Laid over the box, padded with 0 to at least one window, in equal parts on both sides.
    box : Box
        On the network's grid.
    operators : three AxisOperator
        From the network's grid to the result's, along z, y, x.
    """

    windows: WindowPlan
    box: Box
    operators: Operators

    @property
    def padded(self) -> Shape:
        """Shape of the padded box."""
        return self.windows.padded_shape(self.box.shape)

    @property
    def ahead(self) -> Shape:
        """Voxels of padding in front of the box along each axis."""
        z, y, x = ((n - m) // 2 for n, m in zip(self.padded, self.box.shape, strict=True))
        return z, y, x

    @property
    def inside(self) -> tuple[slice, slice, slice]:
        """The box as a part of the padded box."""
        z, y, x = (slice(k, k + n) for k, n in zip(self.ahead, self.box.shape, strict=True))
        return z, y, x


@dataclass(frozen=True)
class Row:
    """The windows that start in one plane.

    Parameters
    ----------
    end : int
        Planes of the padded box that must have been read, from the first on.
    starts : tuple of (z, y, x)
        Of the windows that are looked at, in the padded box.
    first, last : int
        Planes of the result that can be decided behind the row and not before; ``last`` excluded.
    """

    end: int
    starts: tuple[Start, ...]
    first: int
    last: int


@dataclass(frozen=True)
class Rows:
    """The rows of a case.

    Parameters
    ----------
    rows : tuple of Row
    before, behind : int
        Planes of the result ahead of all rows and after them, which no window reaches.
    """

    rows: tuple[Row, ...]
    before: int
    behind: int

    @property
    def most(self) -> int:
        """The largest number of planes of the result that a row decides."""
        return max(row.last - row.first for row in self.rows)


def plan_rows(grid: CaseGrid, wanted: Callable[[Start], bool] | None = None) -> Rows:
    """Return the rows of windows over a box, and what each of them makes final.

    Parameters
    ----------
    grid : CaseGrid
    wanted : callable, optional
        Which windows are looked at, from their first voxel in the padded box; None: all.

    Examples
    --------
    >>> from flare_io.resample import axis_operator
    >>> axes = tuple(axis_operator(n, n, order=1) for n in (6, 4, 4))
    >>> grid = CaseGrid(WindowPlan(patch=(4, 4, 4)), Box((0, 0, 0), (6, 4, 4)), axes)
    >>> [(row.end, row.first, row.last) for row in plan_rows(grid).rows]
    [(4, 0, 2), (6, 2, 6)]
    """
    windows, box, along = grid.windows, grid.box, grid.operators[0]
    # Of windows of few planes some start twice in one plane, and their shares count them twice.
    by_plane = groupby(windows.starts(grid.padded), key=itemgetter(0))
    starts = {
        z: tuple(start for start in row if not wanted or wanted(start)) for z, row in by_plane
    }
    ends = along.start + along.width
    # The zeros in front of the box and behind it need no window.
    before = int(np.searchsorted(ends, box.start[0], side="right"))
    stop = int(np.searchsorted(along.start, box.stop[0], side="left"))
    rows, done = [], before
    for first, following in pairwise((*starts, grid.padded[0])):
        final = following - grid.ahead[0] + box.start[0]
        known = int(np.searchsorted(ends, final, side="right"))
        last = stop if following == grid.padded[0] else max(done, min(stop, known))
        rows.append(Row(first + windows.patch[0], starts[first], done, last))
        done = last
    return Rows(tuple(rows), before, along.n_out - stop)
