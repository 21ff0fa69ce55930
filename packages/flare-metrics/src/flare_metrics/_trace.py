"""The surfaces of all labels of a label map, found in one look at it.

A surface lives on the corners between voxels; see `flare_metrics._surfels`. Only corners whose
eight voxels are not all alike can carry a piece of it, and slabs small enough for the cache are
searched for those by comparing whole rows. Outside the array is background.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._arrays import array_module, is_on_host
from flare_metrics._surfels import reordered_codes

__all__ = ["Surface", "trace_surfaces"]

# Label bytes of a slab: less repeats slices, more leaves the cache.
_SLAB_BYTES = 1 << 22


@dataclass(frozen=True, eq=False)
class Surface:
    """The surface of one label.

    Parameters
    ----------
    corners : (3, n) int32 array
        Corner (z, y, x): that before voxel (z, y, x).
    codes : (n,) uint8 array
        Which of the eight voxels around it carry the label; see `flare_metrics._surfels`.
    """

    corners: NDArray[np.int32]
    codes: NDArray[np.uint8]

    @property
    def size(self) -> int:
        """Number of corners."""
        return int(self.codes.size)


def trace_surfaces(labels: NDArray[Any]) -> dict[int, Surface]:
    """Return the surface of every label in a label map.

    Parameters
    ----------
    labels : (z, y, x) uint8 or uint16 array
        0 is background. Read once, along the axes as they lie in memory; C and Fortran order are
        equally quick.

    Returns
    -------
    dict of int to Surface
        All labels that occur. A map of one slice has a surface on its first plane of corners as
        on its second.
    """
    if labels.size == 0:
        return {}
    order = tuple(int(axis) for axis in np.argsort([-abs(step) for step in labels.strides]))
    stored = labels.transpose(order)
    depth, planes = _slab_depth(stored), stored.shape[0] + 1
    found = []
    for first in range(0, planes, depth):
        slab = _slab(stored, first, min(depth, planes - first))
        if slab is not None:
            found.append(_corners(*slab))
    return _by_label(found, order, array_module(labels))


_Slab = tuple[NDArray[Any], tuple[int, int, int]]
"""Labels of a run of slices within a border of background, and where the first voxel lies."""


def _slab(stored: NDArray[Any], first: int, planes: int) -> _Slab | None:
    """Cut the voxels around a run of corner planes; None where there are no labels."""
    xp = array_module(stored)
    low, high = max(first - 1, 0), min(first + planes, stored.shape[0])
    part = stored[low:high]
    used = part.max(axis=0) != 0
    rows, columns = (xp.flatnonzero(used.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        return None
    top, bottom = int(rows[0]), int(rows[-1]) + 1
    left, right = int(columns[0]), int(columns[-1]) + 1
    slab = xp.zeros((planes + 1, bottom - top + 2, right - left + 2), part.dtype)
    start = low - (first - 1)
    slab[start : start + high - low, 1:-1, 1:-1] = part[:, top:bottom, left:right]
    return slab, (first - 1, top - 1, left - 1)


_Corners = tuple[NDArray[Any], NDArray[Any], NDArray[np.uint8]]
"""Corner coordinates, labels and codes."""


def _corners(slab: NDArray[Any], origin: tuple[int, int, int]) -> _Corners:
    xp = array_module(slab)
    slices, row = slab.shape[1] * slab.shape[2], slab.shape[2]
    flat = slab.reshape(-1)
    at = _uneven(flat, row, slices)
    around = xp.empty((8, at.size), slab.dtype)
    steps = (slices + row + 1, slices + row, slices + 1, slices, row + 1, row, 1, 0)
    for voxel, step in enumerate(steps):
        around[voxel] = flat.take(at - step)
    which, values, codes = _codes_of_values(around)
    at = at.take(which)
    z = at // slices
    at -= z * slices
    y = at // row
    at -= y * row
    corners = xp.stack([z + origin[0], y + origin[1], at + origin[2]])
    return corners.astype(np.int32), values, codes


def _uneven(flat: NDArray[Any], row: int, slices: int) -> NDArray[Any]:
    """Flat positions of corners, from the second slice on, whose eight voxels are not alike."""
    xp = array_module(flat)
    at: NDArray[np.intp]
    x_steps = xp.zeros(flat.shape, bool)
    xp.not_equal(flat[1:], flat[:-1], out=x_steps[1:])
    # In the plane: four voxels are alike where three steps between them are none.
    plane = x_steps.copy()
    plane[row:] |= x_steps[:-row]
    steps = x_steps[row:]
    xp.not_equal(flat[row:], flat[:-row], out=steps)
    plane[row:] |= steps
    size = flat.size - slices
    uneven = xp.zeros(-(-size // 8) * 8, bool)
    steps = uneven[:size]
    xp.not_equal(flat[slices:], flat[:-slices], out=steps)
    steps |= plane[slices:]
    steps |= plane[:-slices]
    words = uneven.view(np.uint64)
    busy = xp.flatnonzero(words)
    bits = xp.flatnonzero(words.take(busy).view(bool))
    at = busy.take(bits >> 3)
    at <<= 3
    at += bits & 7
    at += slices
    return at


def _codes_of_values(
    around: NDArray[Any],
) -> tuple[NDArray[np.intp], NDArray[Any], NDArray[np.uint8]]:
    """Return corner number, label and code for each label at each corner of (8, n) values."""
    xp = array_module(around)
    least, most = around.min(axis=0), around.max(axis=0)
    code_most, code_least = _code(around, most), _code(around, least)
    lower = xp.flatnonzero(least)
    crowd = xp.flatnonzero((code_least | code_most) != 255)
    numbers = [xp.arange(most.size), lower]
    values, codes = [most, least.take(lower)], [code_most, code_least.take(lower)]
    if crowd.size:
        # Three labels and more meet here; the least and the most are done.
        few = around[:, crowd]
        done = (few == least.take(crowd)) | (few == most.take(crowd))
        for voxel in range(8):
            rest = xp.flatnonzero(~done[voxel])
            value = few[voxel].take(rest)
            numbers.append(crowd.take(rest))
            values.append(value)
            codes.append(_code(few[:, rest], value))
            done[:, rest] |= few[:, rest] == value
    return xp.concatenate(numbers), xp.concatenate(values), xp.concatenate(codes)


def _code(around: NDArray[Any], value: NDArray[Any]) -> NDArray[np.uint8]:
    code: NDArray[np.uint8] = (around[0] == value).astype(np.uint8)
    for voxel in range(1, 8):
        code <<= 1
        code |= around[voxel] == value
    return code


def _by_label(found: list[_Corners], order: tuple[int, ...], xp: Any) -> dict[int, Surface]:
    if not found:
        return {}
    values = xp.concatenate([part[1] for part in found])
    by_value = xp.argsort(values, kind="stable")
    back = [order.index(axis) for axis in range(3)]
    corners = xp.concatenate([part[0] for part in found], axis=1)[back][:, by_value]
    codes = xp.concatenate([part[2] for part in found]).take(by_value)
    if order != (0, 1, 2):
        codes = xp.asarray(reordered_codes(order)).take(codes)
    surfaces, start = {}, 0
    for label, count in enumerate(xp.bincount(values).tolist()):
        if count and label:
            here = slice(start, start + count)
            surfaces[label] = Surface(corners[:, here], codes[here])
        start += count
    return surfaces


def _slab_depth(array: NDArray[Any]) -> int:
    if not is_on_host(array):
        return int(array.shape[0]) + 1
    slice_bytes = array[0].nbytes if array.shape[0] else 1
    return max(1, _SLAB_BYTES // max(1, slice_bytes))
