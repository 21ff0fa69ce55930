"""What deciding on a device reads: sums in a ring as a part of the network's grid, and tables."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from flare_infer.device.ring import DeviceRing
from flare_io.crop import Box
from flare_io.resample import AxisOperator

__all__ = ["AxisTable", "PlacedLogits", "Tables", "axis_tables"]


@dataclass(frozen=True, eq=False)
class PlacedLogits:
    """Logits of a box of the network's grid; outside they are 0.

    Parameters
    ----------
    ring : DeviceRing
        Over the padded box.
    box : Box
        On the network's grid.
    ahead : (3,) int
        Voxels of padding in front of the box along each axis.
    """

    ring: DeviceRing
    box: Box
    ahead: tuple[int, int, int]

    @property
    def offset(self) -> tuple[int, int, int]:
        """What is added to a voxel of the network's grid to find it in the padded box."""
        z, y, x = (a - first for a, first in zip(self.ahead, self.box.start, strict=True))
        return z, y, x


@dataclass(frozen=True, eq=False)
class AxisTable:
    """One axis of the way to the finer grid, see `flare_io.banded.AxisOperator`.

    Parameters
    ----------
    operator : AxisOperator
    start : (n_out,) int32 tensor
    weights : (n_out, width) float32 tensor
    """

    operator: AxisOperator
    start: Tensor
    weights: Tensor


Tables: TypeAlias = tuple[AxisTable, AxisTable, AxisTable]
"""Of the axes z, y, x."""


def axis_tables(operators: Sequence[AxisOperator], device: torch.device) -> Tables:
    """Return the tables of the axes z, y, x on a device."""
    z, y, x = (
        AxisTable(
            each,
            torch.from_numpy(each.start.astype(np.int32)).to(device),
            torch.from_numpy(each.weights.astype(np.float32)).to(device),
        )
        for each in operators
    )
    return z, y, x
