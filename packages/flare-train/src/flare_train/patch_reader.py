"""Boxes of cases as tensors, whatever holds the cases: memory, a mapped file or a device."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from flare_fusion.rules import Origin
from flare_train.stored_case import IGNORED, StoredCase

__all__ = ["PatchReader", "copy_box"]

Size = tuple[int, int, int]


def copy_box(target: Tensor, array: Any, start: Sequence[int]) -> None:
    """Fill a tensor with a box of an array, with 0 where the box lies outside the array.

    Parameters
    ----------
    target : (..., z, y, x) tensor
        Its last three sizes are those of the box; values are converted to its type.
    array : (..., z, y, x) array or tensor
        Anything that slices: NumPy, blosc2, a tensor on any device.
    start : (3,) int
        First voxel of the box along (z, y, x); may be negative.

    Notes
    -----
    From a blosc2 array only the blocks that the box touches are unpacked.

    Examples
    --------
    >>> row = torch.full((1, 1, 5), 9)
    >>> copy_box(row, np.arange(3).reshape(1, 1, 3), (0, 0, -1))
    >>> row.ravel().tolist()
    [0, 0, 1, 2, 0]
    """
    size = target.shape[-3:]
    inside, outside = [], []
    for first, length, whole in zip(start, size, array.shape[-3:], strict=True):
        low = min(max(first, 0), whole)
        high = max(min(first + length, whole), low)
        inside.append(slice(low, high))
        outside.append(slice(low - first, high - first) if high > low else slice(0, 0))
    if any(part.stop - part.start < length for part, length in zip(inside, size, strict=True)):
        target.zero_()
    box = array[(..., *inside)]
    if not isinstance(box, Tensor):
        # torch takes no read-only memory.
        box = torch.from_numpy(np.require(box, requirements="W"))
    region: Any = (..., *outside)
    target[region].copy_(box)


@dataclass(frozen=True)
class PatchReader:
    """Reads one box of every sample's case.

    Parameters
    ----------
    cases : sequence of b StoredCase
    starts : sequence of b (int, int, int)
        First voxel of each box along (z, y, x); may be negative.
    size : (int, int, int)
        Of every box.
    """

    cases: Sequence[StoredCase]
    starts: Sequence[Size]
    size: Size

    @property
    def device(self) -> torch.device:
        """The device that keeps the images of one of the cases, else the CPU."""
        for case in self.cases:
            if isinstance(case.image, Tensor):
                return case.image.device
        return torch.device("cpu")

    def read(self, name: Literal["image", "labels"], dtype: torch.dtype = torch.uint8) -> Tensor:
        """Return the boxes of all samples as one tensor: (b, c, *size) or (b, *size)."""
        arrays = [getattr(case, name) for case in self.cases]
        shape = (len(arrays), *arrays[0].shape[:-3], *self.size)
        result = torch.empty(shape, dtype=dtype, device=self.device)
        for sample, array, start in zip(result, arrays, self.starts, strict=True):
            copy_box(sample, array, start)
        return result

    def read_origins(self, labels: Tensor) -> Tensor | None:
        """Return where the labels came from, (b, *size), or None if no case knows.

        Parameters
        ----------
        labels : (b, *size) uint8 tensor
            What `read` gave. Where a case does not know, they count as ground truth.
        """
        if all(case.origins is None for case in self.cases):
            return None
        result = torch.empty_like(labels)
        for row, (case, start) in enumerate(zip(self.cases, self.starts, strict=True)):
            if case.origins is not None:
                copy_box(result[row], case.origins, start)
                continue
            labeled = (labels[row] != 0) & (labels[row] != IGNORED)
            result[row] = labeled.to(torch.uint8) * int(Origin.GROUND_TRUTH)
        return result
