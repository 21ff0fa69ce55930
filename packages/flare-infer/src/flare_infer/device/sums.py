"""Weighted sums of overlapping windows on a device, float32, of which only the last are held."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from flare_infer.device.place import Place
from flare_infer.device.ring import DeviceRing
from flare_infer.window_weights import ShareWeights
from flare_infer.windows import Shape, Start

__all__ = ["DeviceSums"]

# Linear interpolation of what a row decides reads one plane of the row before.
_PLANES_KEPT = 1


class DeviceSums:
    """The sums of one case; weights add up to 1, so that nothing is divided.

    Parameters
    ----------
    place : Place
    weights : ShareWeights
    classes : int
    padded, patch : (3,) int

    Attributes
    ----------
    ring : DeviceRing
        The sums; a plane that no further window reaches stays valid until the row after next.
    """

    def __init__(
        self, place: Place, weights: ShareWeights, classes: int, padded: Shape, patch: Shape
    ) -> None:
        device = place.device
        shape = (classes, *padded[1:])
        self.ring = DeviceRing(patch[0] + _PLANES_KEPT, shape, torch.float32, device)
        self._shares = tuple(
            {start: _on(values, device) for start, values in axis.items()}
            for axis in weights.shares
        )
        self._share = torch.empty(patch, device=device)

    def add(self, start: Start, prediction: Tensor) -> None:
        """Add the prediction (classes, z, y, x) of a window, of any floating type."""
        z, y, x = (axis[first] for axis, first in zip(self._shares, start, strict=True))
        # As large as one channel of a window; all channels are added in one pass with it.
        torch.mul(z[:, None, None] * y[:, None], x, out=self._share)
        rows = slice(start[1], start[1] + len(y))
        columns = slice(start[2], start[2] + len(x))
        for slots, planes in self.ring.parts(start[0], start[0] + len(z)):
            target = self.ring.values[:, slots, rows, columns]
            target.addcmul_(prediction[:, planes], self._share[planes])


def _on(values: NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.from_numpy(values).to(device)
