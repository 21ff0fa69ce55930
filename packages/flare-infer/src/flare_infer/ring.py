"""An array that is long in z, of which only the last planes are held."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["PlaneRing"]


class PlaneRing:
    """The last planes of a long array; plane ``z`` lies at ``z`` modulo the depth.

    Parameters
    ----------
    depth : int
        How many planes are held.
    shape : sequence of int
        Of one plane, channels included.
    dtype : type
        Of the numbers.

    Attributes
    ----------
    end : int
        Planes begun so far; the last ``depth`` of them are held.

    Examples
    --------
    >>> ring = PlaneRing(2, (1, 1))
    >>> ring.extend(3)
    >>> ring[2][...] = 7
    >>> ring.end, ring[1].item(), ring[2].item()
    (3, 0.0, 7.0)
    """

    def __init__(
        self, depth: int, shape: tuple[int, ...], dtype: type[np.floating[Any]] = np.float32
    ) -> None:
        self._planes = np.zeros((depth, *shape), dtype=dtype)
        self.end = 0

    def extend(self, end: int) -> None:
        """Begin planes up to ``end`` (excluded), all 0, in the place of the oldest ones."""
        for z in range(self.end, end):
            self._planes[z % len(self._planes)] = 0
        self.end = max(self.end, end)

    def __getitem__(self, z: int) -> NDArray[Any]:
        """Return plane ``z``, a view that later planes overwrite."""
        if not self.end - len(self._planes) <= z < self.end:
            raise IndexError(f"plane {z} is not held: {len(self._planes)} planes to {self.end} are")
        plane: NDArray[Any] = self._planes[z % len(self._planes)]
        return plane
