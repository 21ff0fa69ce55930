"""Loss of resolution: Gaussian blur, and voxels thinned out and interpolated back.

Both act in place on one channel of one sample, (z, y, x), and return it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

__all__ = ["blur_", "lower_resolution_"]


def blur_(image: Tensor, sigmas: Sequence[float]) -> Tensor:
    """Blur by a Gaussian along each axis; borders are mirrored.

    Parameters
    ----------
    image : (z, y, x) floating tensor
        Axes of one voxel are left alone.
    sigmas : (3,) float
        In voxels, > 0.

    Notes
    -----
    Kernels have the odd number of weights nearest to 4 sigma + 1/2, as batchgeneratorsv2: 3 below
    a sigma of 0.875, else 5 up to 1.375. They are cut shorter where an axis is too short for them.

    Examples
    --------
    >>> import torch
    >>> line = torch.tensor([[[0.0, 0.0, 1.0, 0.0, 0.0]]])
    >>> [round(v, 3) for v in blur_(line, (0.5, 0.5, 0.5)).ravel().tolist()]
    [0.0, 0.107, 0.787, 0.107, 0.0]
    """
    for axis, sigma in enumerate(sigmas):
        size = image.shape[axis]
        reach = min(math.floor(2 * sigma + 0.25), size - 1)
        if reach == 0:
            continue
        weights = [math.exp(-0.5 * (step / sigma) ** 2) for step in range(reach + 1)]
        total = 2 * sum(weights) - weights[0]
        before = image.clone()
        image.mul_(weights[0] / total)
        for step in range(1, reach + 1):
            _add_neighbors_(image, before, axis, step, weights[step] / total)
    return image


def _add_neighbors_(image: Tensor, before: Tensor, axis: int, step: int, weight: float) -> None:
    """Add the voxels `step` to both sides; beyond a border its mirror image."""
    size = image.shape[axis]
    inner = size - step
    image.narrow(axis, step, inner).add_(before.narrow(axis, 0, inner), alpha=weight)
    image.narrow(axis, 0, inner).add_(before.narrow(axis, step, inner), alpha=weight)
    low = before.narrow(axis, 1, step).flip(axis)
    high = before.narrow(axis, size - 1 - step, step).flip(axis)
    image.narrow(axis, 0, step).add_(low, alpha=weight)
    image.narrow(axis, inner, step).add_(high, alpha=weight)


def lower_resolution_(image: Tensor, share: float, *, in_plane: bool) -> Tensor:
    """Keep the nearest voxels of a coarser grid and interpolate linearly between them.

    Parameters
    ----------
    image : (z, y, x) floating tensor
    share : float
        Voxels that are kept along each axis, in (0, 1].
    in_plane : bool
        Leave the z axis as it is.

    Examples
    --------
    >>> import torch
    >>> line = torch.tensor([[[0.0, 1.0, 2.0, 3.0]]])  # voxels 1 and 3 are kept
    >>> lower_resolution_(line, 0.5, in_plane=True).ravel().tolist()
    [1.0, 1.5, 2.5, 3.0]
    """
    shape = image.shape
    size = [max(round(length * share), 1) for length in shape]
    if in_plane:
        size[0] = shape[0]
        thin = F.interpolate(image.unsqueeze(0), size[1:], mode="nearest-exact")
        full = F.interpolate(thin, shape[1:], mode="bilinear", align_corners=False)
        return image.copy_(full[0])
    volume = image[None, None]
    thin = F.interpolate(volume, size, mode="nearest-exact")
    full = F.interpolate(thin, tuple(shape), mode="trilinear", align_corners=False)
    return image.copy_(full[0, 0])
