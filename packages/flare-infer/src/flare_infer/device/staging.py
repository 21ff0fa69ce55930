"""Copies between host and device that nobody waits for: two buffers take turns."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flare_infer.device.place import Mark, Place

__all__ = ["LabelDownload", "Slab", "Staging"]


class Staging:
    """Planes on their way to a device.

    Parameters
    ----------
    place : Place
    shape : (planes, channels, y, x)
        Of each of the two buffers, float32.
    """

    def __init__(self, place: Place, shape: tuple[int, int, int, int]) -> None:
        self._place = place
        self._host = [place.host_buffer(shape, torch.float32) for _ in range(2)]
        self._there = self._host
        if place.is_cuda:
            self._there = [torch.empty(shape, device=place.device) for _ in range(2)]
        self._copied, self._used = [Mark(), Mark()], [Mark(), Mark()]
        self._turn = 0

    def to_fill(self) -> NDArray[np.float32]:
        """Return the buffer whose turn it is, as an array of the host."""
        # The device may still read what was filled two turns ago.
        self._copied[self._turn].wait()
        buffer: NDArray[np.float32] = self._host[self._turn].numpy()
        return buffer

    @contextmanager
    def sent(self, count: int) -> Iterator[Tensor]:
        """Send the first planes of the filled buffer; inside, work may be given that reads them."""
        place, turn = self._place, self._turn
        if place.is_cuda:
            place.order(self._used[turn], place.upload)
            with place.working(place.upload):
                self._there[turn][:count].copy_(self._host[turn][:count], non_blocking=True)
            self._copied[turn] = place.mark(place.upload)
            place.order(self._copied[turn])
        yield self._there[turn][:count]
        self._used[turn] = place.mark()
        self._turn = 1 - turn


class Slab:
    """Labels on their way back.

    Parameters
    ----------
    windows, come : Mark
        When the windows were done, and when the labels have come.
    array : (planes, y, x) uint8 or uint16 array
    """

    def __init__(self, windows: Mark, come: Mark, array: NDArray[Any]) -> None:
        self.windows, self._come, self._array = windows, come, array

    def labels(self) -> NDArray[Any]:
        """Return the labels when they have come: a view that the slab after next overwrites."""
        self._come.wait()
        return self._array


class LabelDownload:
    """Slabs of labels on their way from a device.

    Parameters
    ----------
    place : Place
    shape : (planes, y, x)
        Of the largest slab.
    dtype : numpy.dtype
        uint8 or uint16.
    """

    def __init__(self, place: Place, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> None:
        self._place, self._dtype = place, dtype
        # torch does little with uint16; int16 has the same bits.
        kind = torch.uint8 if dtype == np.uint8 else torch.int16
        self._host = [place.host_buffer(shape, kind) for _ in range(2)]
        self._there = self._host
        if place.is_cuda:
            self._there = [torch.empty(shape, dtype=kind, device=place.device) for _ in range(2)]
        self._copied = [Mark(), Mark()]
        self._turn = 0

    def to_fill(self, count: int) -> Tensor:
        """Return the buffer whose turn it is, as a tensor of the device for so many planes."""
        self._place.order(self._copied[self._turn])
        return self._there[self._turn][:count]

    def send(self, count: int, windows: Mark) -> Slab:
        """Send the filled planes back, behind all work that was given so far."""
        place, turn = self._place, self._turn
        if place.is_cuda:
            place.order(place.mark(), place.download)
            with place.working(place.download):
                self._host[turn][:count].copy_(self._there[turn][:count], non_blocking=True)
            self._copied[turn] = place.mark(place.download)
        self._turn = 1 - turn
        array = self._host[turn][:count].numpy().view(self._dtype)
        return Slab(windows, self._copied[turn], array)
