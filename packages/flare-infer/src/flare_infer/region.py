"""The part of a case in which windows are run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.heads import Head
from flare_infer.sliding import Net, PlaneBlocks, logit_planes
from flare_infer.window_sums import PLANES_KEPT
from flare_infer.windows import Start, WindowPlan
from flare_io.crop import Box, nonzero_box

__all__ = ["Region", "boxed_case", "region_planes"]

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Region:
    """What is worth a look: the intersection of masks on grids of their own.

    Parameters
    ----------
    shape : (3,) int
        Of the network's grid.
    masks : tuple of (z, y, x) bool arrays
        Each divides the whole grid into equal cells, of any number along each axis. None at all:
        everything is worth a look.

    Examples
    --------
    >>> region = Region((8, 8, 8), (np.arange(4).reshape(4, 1, 1) == 1,))
    >>> region.box
    Box(start=(2, 0, 0), stop=(4, 8, 8))
    >>> region.meets(Box((3, 0, 0), (6, 4, 4))), region.meets(Box((4, 0, 0), (8, 8, 8)))
    (True, False)
    """

    shape: Shape
    masks: tuple[NDArray[np.bool_], ...] = ()

    @property
    def box(self) -> Box | None:
        """The smallest box of whole voxels around it, None if there is nothing."""
        box = Box.whole(self.shape)
        for mask in self.masks:
            if not mask.any():
                return None
            cells = nonzero_box(mask)
            sides = list(zip(cells.start, cells.stop, mask.shape, self.shape, strict=True))
            start = [max(a * n // m, k) for (a, _, m, n), k in zip(sides, box.start, strict=True)]
            stop = [min(-(-b * n // m), k) for (_, b, m, n), k in zip(sides, box.stop, strict=True)]
            if any(a >= b for a, b in zip(start, stop, strict=True)):
                return None
            box = Box(_three(start), _three(stop))
        return box

    def meets(self, box: Box) -> bool:
        """Return whether a box of voxels holds at least a part of a cell of every mask."""
        return all(mask[self._cells(box, mask.shape)].any() for mask in self.masks)

    def window_box(self, windows: WindowPlan) -> Box | None:
        """Return the box over which windows are laid, None if there is nothing to look at.

        At least a window large where the case is, so that nothing is padded that is there. An axis
        along which the box would save no window stays whole, which keeps the windows as they are.
        """
        box = self.box
        if box is None:
            return None
        start, stop = [0, 0, 0], list(self.shape)
        axes = zip(box.start, box.stop, windows.patch, self.shape, strict=True)
        for axis, (a, b, side, n) in enumerate(axes):
            missing = max(0, min(side, n) - (b - a))
            first = min(max(0, a - missing // 2), n - (b - a) - missing)
            last = first + (b - a) + missing
            if _count(last - first, side, windows.step) < _count(n, side, windows.step):
                start[axis], stop[axis] = first, last
        return Box(_three(start), _three(stop))

    def _cells(self, box: Box, counts: Sequence[int]) -> tuple[slice, ...]:
        sides = zip(box.start, box.stop, counts, self.shape, strict=True)
        return tuple(slice(a * m // n, -(-b * m // n)) for a, b, m, n in sides)


def region_planes(
    nets: Sequence[Net],
    blocks: Iterable[NDArray[np.float32]],
    windows: WindowPlan,
    *,
    region: Region,
    head: Head,
    **settings: Any,
) -> Iterator[NDArray[np.float32]]:
    """Yield the logits of a whole case, of which only a region is looked at.

    Parameters
    ----------
    nets, windows, head, settings
        As for `flare_infer.sliding.logit_planes`; fast mode, layout ``grid``.
    blocks : iterable of (c, planes, y, x) float32 arrays
        The case from its first plane on. What lies behind the region is not asked for.
    region : Region
        Windows that do not meet it are not run.

    Yields
    ------
    (classes, y, x) float32 array
        As `flare_infer.sliding.logit_planes`. Where no window is, logits are 0, which every head
        takes for background. Where windows were left out beside others, logits are those of the
        others times the share they have: the same labels.
    """
    plane_shape = (len(head.labels), *region.shape[1:])
    empty = np.zeros(plane_shape, dtype=np.float32)
    box = region.window_box(windows)
    if box is None:
        for _ in range(region.shape[0]):
            yield empty
        return
    case = boxed_case(blocks, windows, region=region, box=box)
    planes = logit_planes(nets, case, windows, mode="fast", head=head, **settings)
    whole = box.shape[1:] == region.shape[1:]
    # One more than must stay valid, as the newest is being filled.
    canvases = cycle(np.zeros((0 if whole else PLANES_KEPT + 1, *plane_shape), dtype=np.float32))
    for z in range(region.shape[0]):
        if not box.start[0] <= z < box.stop[0]:
            yield empty
        elif whole:
            yield next(planes)
        else:
            canvas = next(canvases)
            canvas[:, *box.slices[1:]] = next(planes)
            yield canvas


def boxed_case(
    blocks: Iterable[NDArray[np.float32]], windows: WindowPlan, *, region: Region, box: Box
) -> PlaneBlocks:
    """Return the part of a case in a box over which windows are laid.

    Parameters
    ----------
    blocks, windows, region
        As for `region_planes`.
    box : Box
        `Region.window_box`.
    """
    before = [(n - m) // 2 for n, m in zip(windows.padded_shape(box.shape), box.shape, strict=True)]

    def wanted(start: Start) -> bool:
        # From the padded box to the case; what is padded meets nothing.
        corner = [k - p + o for k, p, o in zip(start, before, box.start, strict=True)]
        far = [k + n for k, n in zip(corner, windows.patch, strict=True)]
        far = [min(k, n) for k, n in zip(far, region.shape, strict=True)]
        return region.meets(Box(_three(max(0, k) for k in corner), _three(far)))

    return PlaneBlocks(box.shape, _cut(blocks, box), wanted)


def _cut(blocks: Iterable[NDArray[np.float32]], box: Box) -> Iterator[NDArray[np.float32]]:
    """Yield the box's part of blocks that hold one plane behind the other."""
    first = 0
    for block in blocks:
        last = first + block.shape[1]
        a, b = max(first, box.start[0]), min(last, box.stop[0])
        if a < b:
            yield block[:, a - first : b - first, *box.slices[1:]]
        if last >= box.stop[0]:
            return
        first = last


def _count(length: int, side: int, step: float) -> int:
    return math.ceil(max(0, length - side) / (side * step)) + 1


def _three(values: Iterable[int]) -> Shape:
    z, y, x = values
    return z, y, x
