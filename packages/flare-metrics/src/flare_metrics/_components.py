"""Connected components of a mask as runs of voxels, without a volume of numbers.

A run is a stretch of foreground along the array's fastest axis. Runs are few where lesions are:
finding which of them touch takes a binary search in the sorted runs for each neighboring row.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arrays import on_host
from flare_metrics._connected import connected_numbers

__all__ = ["Components", "checked_connectivity", "components", "shared_voxels"]

_Integers = NDArray[np.int64]

# Name of a connectivity by axes -> on how many axes a neighbor may lie one step away.
_STEPS = {2: {4: 1, 8: 2}, 3: {6: 1, 18: 2, 26: 3}}


@dataclass(frozen=True, eq=False)
class Components:
    """The components of a mask.

    Parameters
    ----------
    starts, ends : (runs,) int64 array
        Where each run begins and ends (exclusive), on the flat grid of the array with a gap
        between its rows, ascending.
    numbers : (runs,) int64 array
        The component of each run, from 0.
    voxels : (components,) int64 array
        Voxels of each component, > 0.
    """

    starts: _Integers
    ends: _Integers
    numbers: _Integers
    voxels: _Integers

    def at_least(self, voxels: float) -> Components:
        """Return the components that have so many voxels."""
        kept = self.voxels >= voxels
        if kept.all():
            return self
        runs = kept[self.numbers]
        numbers = (np.cumsum(kept) - 1)[self.numbers[runs]]
        return Components(self.starts[runs], self.ends[runs], numbers, self.voxels[kept])


def components(mask: NDArray[np.bool_], *, connectivity: int) -> Components:
    """Return the connected components of a mask.

    Parameters
    ----------
    mask : (z, y, x) or (y, x) bool array
        NumPy or CuPy; only its rows that hold foreground are copied. Fastest where the last axis
        is contiguous.
    connectivity : int
        26, 18 or 6; in 2-D 8 or 4.

    Notes
    -----
    The mask is read once; all else grows with the number of runs.
    """
    found = _runs(mask)
    row = mask.shape[-1] + 2
    plane = (mask.shape[-2] + 1) * row
    steps = _STEPS[mask.ndim][connectivity]
    numbers = np.arange(found.starts.size)
    # One neighboring row after the other: the pairs of all at once can be many in noise.
    for shift, reach in _earlier_rows(mask.ndim, steps, row, plane):
        first, second = _meeting(
            found.starts - shift - reach, found.ends - shift + reach, found.starts, found.ends
        )
        numbers = _merged(numbers, first, second)
    voxels = np.bincount(numbers, weights=found.ends - found.starts).astype(np.int64)
    return replace(found, numbers=numbers, voxels=voxels)


def checked_connectivity(connectivity: int | None, axes: int) -> int:
    """Return the connectivity, the fullest by default, or raise."""
    choices = _STEPS[axes]
    if connectivity is None:
        return max(choices)
    if connectivity not in choices:
        raise ValueError(
            f"connectivity must be {', '.join(map(str, choices))} for {axes} axes, "
            f"got {connectivity}"
        )
    return connectivity


def shared_voxels(a: Components, b: Components) -> tuple[_Integers, _Integers, _Integers]:
    """Return which components of two masks of one shape meet, and in how many voxels.

    Returns
    -------
    component of a, component of b, voxels : (pairs,) int64 array each
        Every pair once, those of the same component of ``a`` in a row.
    """
    first, second = _meeting(a.starts, a.ends, b.starts, b.ends)
    common = np.minimum(a.ends[first], b.ends[second]) - np.maximum(
        a.starts[first], b.starts[second]
    )
    stride = max(1, b.voxels.size)
    pairs, position = np.unique(a.numbers[first] * stride + b.numbers[second], return_inverse=True)
    voxels = np.bincount(position, weights=common, minlength=pairs.size).astype(np.int64)
    return pairs // stride, pairs % stride, voxels


def _runs(mask: NDArray[np.bool_]) -> Components:
    used = mask.any(axis=-1)
    rows = on_host(mask[used])
    # Background before and after each row: no run reaches from one row into the next.
    padded = np.zeros((rows.shape[0], rows.shape[1] + 2), bool)
    padded[:, 1:-1] = rows
    flat = padded.reshape(-1)
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    starts, ends = edges[::2], edges[1::2]
    # An empty row after each plane: no row has a neighbor in the next plane by accident.
    position = np.stack(np.nonzero(on_host(used)))
    true_row = position[0] if mask.ndim == 2 else position[0] * (mask.shape[1] + 1) + position[1]
    nth = starts // padded.shape[1]
    moved = (true_row[nth] - nth) * padded.shape[1]
    nothing = np.zeros(0, np.int64)
    return Components(starts + moved, ends + moved, nothing, nothing)


def _earlier_rows(axes: int, steps: int, row: int, plane: int) -> Iterator[tuple[int, int]]:
    """Yield how far back each neighboring row lies, and how far runs may reach along the row."""
    for back_z, back_y in ((0, 1), (1, -1), (1, 0), (1, 1)):
        if back_z and axes == 2:
            continue
        used = back_z + abs(back_y)
        if used <= steps:
            yield back_z * plane + back_y * row, int(used < steps)


def _meeting(
    low: _Integers, high: _Integers, starts: _Integers, ends: _Integers
) -> tuple[_Integers, _Integers]:
    """Return the pairs (interval, run) that have a voxel in common."""
    begin = np.searchsorted(ends, low, side="right")
    counts = np.searchsorted(starts, high, side="left") - begin
    interval = np.repeat(np.arange(low.size), counts)
    offset = np.cumsum(counts) - counts
    return interval, np.arange(interval.size) + (begin - offset)[interval]


def _merged(numbers: _Integers, first: _Integers, second: _Integers) -> _Integers:
    """Return the numbers of components when pairs of runs are joined."""
    if not first.size:
        return numbers
    size = int(numbers.max()) + 1
    return connected_numbers(numbers[first], numbers[second], size)[numbers]
