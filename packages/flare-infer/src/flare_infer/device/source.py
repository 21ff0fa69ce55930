"""The padded input of a case on a device, read as far as it is needed, held as deep as a window."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flare_infer.device.place import Place
from flare_infer.device.ring import DeviceRing
from flare_infer.device.rows import CaseGrid
from flare_infer.device.staging import Staging
from flare_infer.ring import PlaneRing
from flare_infer.windows import Start

__all__ = ["DeviceSource", "Planes"]

# So many are sent with one copy.
_PLANES_AT_ONCE = 8


class Planes:
    """The planes of blocks, one after the other; the first is made at once.

    Parameters
    ----------
    blocks : iterable of (c, planes, y, x) float32 arrays
    expected : int
        How many planes there must be.

    Raises
    ------
    ValueError
        If there is none.
    """

    def __init__(self, blocks: Iterable[NDArray[np.float32]], expected: int) -> None:
        planes = (plane for block in blocks for plane in np.moveaxis(block, 1, 0))
        first = next(planes, None)
        if first is None:
            raise ValueError("blocks must hold at least one plane, got none")
        self.channels = len(first)
        self._planes: Iterator[NDArray[np.float32]] = chain((first,), planes)
        self._expected, self._given = expected, 0

    def take(self) -> NDArray[np.float32]:
        """Return the next plane (c, y, x); ``ValueError`` if there is none."""
        plane = next(self._planes, None)
        if plane is None:
            raise ValueError(f"blocks must hold {self._expected} planes, got {self._given}")
        self._given += 1
        return plane


class DeviceSource:
    """The last planes of the padded input, for one window after the other.

    Parameters
    ----------
    place : Place
    planes : Planes
        Of the box of the grid.
    grid : CaseGrid
    dtype : torch.dtype
        In which the device holds them.
    watched : bool
        Hold them on the host as well, to see there which windows are constant.
    """

    def __init__(
        self, place: Place, planes: Planes, grid: CaseGrid, *, dtype: torch.dtype, watched: bool
    ) -> None:
        self._place, self._planes = place, planes
        self._inside, self._patch = grid.inside, grid.windows.patch
        depth, (_, rows, columns) = self._patch[0], grid.padded
        shape = (planes.channels, rows, columns)
        self._ring = DeviceRing(depth, shape, dtype, place.device)
        buffer = (_PLANES_AT_ONCE, planes.channels, *grid.box.shape[1:])
        self._staging = Staging(place, buffer)
        # A device that is asked whether a window is constant must be waited for.
        self._watched = PlaneRing(depth, shape) if watched else None

    def read(self, end: int) -> None:
        """Read planes of the padded case up to ``end``, excluded, and send them."""
        first = max(self._ring.end, self._inside[0].start)
        with self._place.working():
            self._ring.extend(end)
        if self._watched is not None:
            self._watched.extend(end)
        last = min(end, self._inside[0].stop)
        for z in range(first, last, _PLANES_AT_ONCE):
            self._send(z, min(z + _PLANES_AT_ONCE, last))

    def _send(self, first: int, last: int) -> None:
        buffer = self._staging.to_fill()
        for target, z in zip(buffer, range(first, last), strict=False):
            target[...] = self._planes.take()
            if self._watched is not None:
                self._watched[z][:, *self._inside[1:]] = target
        with self._staging.sent(last - first) as planes, self._place.working():
            for slots, which in self._ring.parts(first, last):
                place = self._ring.values[:, slots, *self._inside[1:]]
                place.copy_(planes[which].transpose(0, 1))

    def put_window(self, start: Start, target: Tensor) -> None:
        """Copy the window that starts there into a tensor (1, c, z, y, x)."""
        z, rows, columns = (slice(k, k + n) for k, n in zip(start, self._patch, strict=True))
        for slots, which in self._ring.parts(z.start, z.stop):
            target[0, :, which].copy_(self._ring.values[:, slots, rows, columns])

    def constant(self, start: Start) -> bytes | None:
        """Return the value of a window whose voxels are all the same, None of any other.

        None as well where planes are not watched.
        """
        if self._watched is None:
            return None
        z, rows, columns = (slice(k, k + n) for k, n in zip(start, self._patch, strict=True))
        planes = [self._watched[k][:, rows, columns] for k in range(z.start, z.stop)]
        value = planes[0][:, :1, :1]
        # Most windows show something in their middle: a look at one voxel spares the rest.
        height, width = (n // 2 for n in self._patch[1:])
        if (planes[len(planes) // 2][:, height, width] != value[:, 0, 0]).any():
            return None
        return value.tobytes() if all((plane == value).all() for plane in planes) else None
