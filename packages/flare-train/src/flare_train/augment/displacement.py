"""Smooth random displacements: white Gaussian noise under a Gaussian, without the dense noise.

Noise is drawn on knots one sigma apart and spread by Gaussians along one axis after the other. At
that distance the sum is stationary to 1e-4, so its law is that of densely filtered noise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from flare_train.randomness import stream

__all__ = ["displacement_field"]

# Knots this many sigma beyond the border still count: exp(-8) of the middle.
_REACH = 4


def displacement_field(
    shape: Sequence[int],
    *,
    sigma: float,
    rms: float,
    seed: int,
    device: torch.device | str = "cpu",
) -> Tensor:
    """Return a random displacement along each axis of a grid.

    Parameters
    ----------
    shape : (d,) int
        Size of the grid.
    sigma : float
        Width in voxels of the Gaussian that smooths the noise: two points at distance r move with
        a correlation of exp(-r^2 / (4 sigma^2)).
    rms : float
        Root mean square of the displacement along one axis, in voxels.
    seed : int
        Names the field.
    device : torch.device or str, optional
        Where it is made; the same numbers on all, up to rounding.

    Returns
    -------
    (d, *shape) float32 tensor
        In voxels.

    Notes
    -----
    Cost: for a volume about shape[0] / sigma + 9 multiplications a voxel and axis.

    Examples
    --------
    >>> field = displacement_field((8, 8), sigma=4.0, rms=0.0, seed=1)
    >>> field.shape, float(field.abs().max())
    (torch.Size([2, 8, 8]), 0.0)
    """
    dimensions = len(shape)
    knots = [math.ceil(size / sigma) + 2 * _REACH + 1 for size in shape]
    noise = stream(seed, "displacement").standard_normal((dimensions, *knots), np.float32)
    # Sum over knots of exp(-x^2 / sigma^2) is the square root of pi, for each axis.
    noise *= rms / math.pi ** (dimensions / 4)
    field = torch.from_numpy(noise).to(device)
    for axis in reversed(range(dimensions)):
        field = torch.movedim(field, axis + 1, -1) @ _weights(shape[axis], knots[axis], sigma).to(
            device
        )
        field = torch.movedim(field, -1, axis + 1)
    return field.contiguous()


def _weights(size: int, knots: int, sigma: float) -> Tensor:
    voxels = np.arange(size, dtype=np.float32)
    centers = (np.arange(knots, dtype=np.float32) - _REACH) * sigma
    distance = (voxels[np.newaxis, :] - centers[:, np.newaxis]) / sigma
    return torch.from_numpy(np.exp(-0.5 * distance**2))
