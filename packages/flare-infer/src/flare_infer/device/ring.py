"""The last planes of a long tensor on a device: `flare_infer.ring` with channels outermost."""

from __future__ import annotations

from collections.abc import Iterator

import torch

__all__ = ["DeviceRing"]


class DeviceRing:
    """The last planes of a long tensor; plane ``z`` lies in slot ``z`` modulo the depth.

    Parameters
    ----------
    depth : int
        How many planes are held.
    shape : (3,) int
        Channels, rows and columns.
    dtype : torch.dtype
    device : torch.device

    Attributes
    ----------
    values : (channels, depth, y, x) tensor
    end : int
        Planes begun so far; the last ``depth`` of them are held.

    Examples
    --------
    >>> ring = DeviceRing(3, (1, 1, 1), torch.float32, torch.device("cpu"))
    >>> ring.extend(5)
    >>> [(slots.start, planes.start, planes.stop) for slots, planes in ring.parts(2, 5)]
    [(2, 0, 1), (0, 1, 3)]
    """

    def __init__(
        self, depth: int, shape: tuple[int, int, int], dtype: torch.dtype, device: torch.device
    ) -> None:
        channels, rows, columns = shape
        self.values = torch.zeros((channels, depth, rows, columns), dtype=dtype, device=device)
        self.end = 0

    @property
    def depth(self) -> int:
        """How many planes are held."""
        return self.values.shape[1]

    def extend(self, end: int) -> None:
        """Begin planes up to ``end`` (excluded), all 0, in the place of the oldest ones."""
        first = max(self.end, end - self.depth)
        self.end = max(self.end, end)
        for slots, _ in self.parts(first, end):
            self.values[:, slots] = 0

    def parts(self, first: int, last: int) -> Iterator[tuple[slice, slice]]:
        """Yield the slots of planes ``first`` to ``last`` and which of these planes lie there.

        At most two pairs, the second behind the turn.

        Raises
        ------
        IndexError
            If planes are not held.
        """
        if first < last and not self.end - self.depth <= first < last <= self.end:
            raise IndexError(
                f"planes {first} to {last} are not held: {self.depth} planes to {self.end} are"
            )
        z = first
        while z < last:
            slot = z % self.depth
            count = min(last - z, self.depth - slot)
            yield slice(slot, slot + count), slice(z - first, z - first + count)
            z += count
