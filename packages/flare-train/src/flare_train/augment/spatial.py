"""Rotation and scaling, fused into one sampling of the image and one of the labels.

Angles and scales act in millimeters: a rotation stays rigid on anisotropic voxels.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["rotation_matrix", "transform_spatially"]


def rotation_matrix(angles: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the product of the rotations about z, y and x, for vectors in (z, y, x) order.

    Parameters
    ----------
    angles : (3,) array
        Radians about the z, y and x axis. A positive angle turns y towards x, z towards x and z
        towards y.

    Examples
    --------
    >>> np.round(rotation_matrix(np.array([np.pi / 2, 0, 0])) @ [0, 1, 0]).tolist()  # y goes to x
    [0.0, 0.0, 1.0]
    """
    matrix = np.eye(3)
    for angle, (first, second) in zip(angles, ((1, 2), (0, 2), (0, 1)), strict=True):
        plane = np.eye(3)
        cosine, sine = np.cos(angle), np.sin(angle)
        plane[first, first] = plane[second, second] = cosine
        plane[second, first], plane[first, second] = sine, -sine
        matrix = matrix @ plane
    return matrix


def transform_spatially(
    images: Tensor,
    targets: Tensor,
    *,
    angles: NDArray[np.floating],
    scale: NDArray[np.floating],
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Rotate and scale samples about their center.

    Parameters
    ----------
    images : (b, c, z, y, x) floating tensor
        Sampled linearly.
    targets : (b, z, y, x) integer tensor
        Sampled by nearest neighbor on the same points, so that no new label can appear.
    angles : (b, 3) array
        Radians about z, y, x; NaN: not rotated.
    scale : (b,) array
        2 makes the anatomy twice as large; NaN: not scaled.
    spacing_mm : (float, float, float), optional
        Voxel size along (z, y, x).

    Returns
    -------
    images, targets : tensors like the given ones
        Samples that are neither rotated nor scaled are equal to the given ones bit for bit. Beyond
        the border both repeat their last voxel, which keeps image and label together.

    Notes
    -----
    Cost: two samplings of the changed samples; untouched samples cost a copy.
    """
    chosen = np.flatnonzero(~np.isnan(scale) | ~np.isnan(angles).any(axis=1))
    if chosen.size == 0:
        return images, targets
    shape = images.shape[2:]
    theta = np.stack(
        [_sampling_matrix(np.nan_to_num(angles[i]), scale[i], shape, spacing_mm) for i in chosen]
    )
    index = torch.as_tensor(chosen, device=images.device)
    picked = images[index]
    grid = F.affine_grid(
        torch.as_tensor(theta, dtype=picked.dtype, device=picked.device),
        list(picked.shape),
        align_corners=False,
    )
    moved = F.grid_sample(picked, grid, mode="bilinear", padding_mode="border", align_corners=False)
    labels = F.grid_sample(
        targets[index, None].to(picked.dtype),
        grid,
        mode="nearest",
        padding_mode="border",
        align_corners=False,
    )
    images, targets = images.clone(), targets.clone()
    images[index] = moved
    targets[index] = labels[:, 0].to(targets.dtype)
    return images, targets


def _sampling_matrix(
    angles: NDArray[np.floating],
    scale: float,
    shape: torch.Size,
    spacing_mm: tuple[float, float, float],
) -> NDArray[np.float64]:
    """Where each output voxel is read, in the (x, y, z) order and unit cube of `affine_grid`."""
    factor = 1.0 if np.isnan(scale) else float(scale)
    # From the unit cube to millimeters, back through the inverse motion, and to the unit cube.
    extent = np.asarray(shape, float) * spacing_mm
    inverse = rotation_matrix(angles).T / factor
    cube = inverse * extent[np.newaxis, :] / extent[:, np.newaxis]
    theta = np.zeros((3, 4))
    theta[:, :3] = cube[::-1, ::-1]
    return theta
