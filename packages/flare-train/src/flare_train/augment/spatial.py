"""Crop, mirroring, rotation, scaling and elastic change, fused into one sampling of all maps.

Angles and scales act in millimeters: a rotation stays rigid on anisotropic voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from flare_train.augment.displacement import displacement_field
from flare_train.augment.parameters import BatchParameters

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
    parameters: BatchParameters,
    *,
    patch: Sequence[int],
    spacing_mm: Sequence[float] = (1.0, 1.0, 1.0),
) -> tuple[Tensor, Tensor]:
    """Move samples about their center and cut the patch out of their middle.

    Parameters
    ----------
    images : (b, c, *source) floating tensor
        Sampled linearly.
    targets : (b, *source) or (b, k, *source) integer tensor
        Sampled by nearest neighbor on the same points, so that no new label can appear.
    parameters : BatchParameters
        Angles, scale, elastic change and mirroring.
    patch : (3,) int
        Size along (z, y, x) of what is returned, at most that of the source.
    spacing_mm : (3,) float, optional
        Voxel size along (z, y, x).

    Returns
    -------
    images : (b, c, *patch) tensor
    targets : (b, *patch) or (b, k, *patch) tensor
        Samples that do not move are crops, equal to the given voxels bit for bit. Beyond the
        border of the source both are 0, as where a case ends before its patch does.

    Raises
    ------
    ValueError
        If the source is smaller than the patch.

    Notes
    -----
    The displacement acts first, then rotation and scaling, then mirroring; since all other changes
    treat both directions of an axis alike, mirroring here or at the end is the same.
    """
    source = tuple(images.shape[2:])
    if min(np.subtract(source, patch)) < 0:
        raise ValueError(
            f"images must be at least as large as the patch {tuple(patch)}, got {source}; read "
            "config.source_patch(patch, spacing_mm)"
        )
    if source == tuple(patch) and not parameters.spatial.any() and not parameters.mirror.any():
        return images, targets
    maps = targets if targets.ndim == 5 else targets.unsqueeze(1)
    # Points are computed in float32 also for images that are kept in half the bytes.
    precision = torch.promote_types(images.dtype, torch.float32)
    moved = []
    for sample, moves in enumerate(parameters.spatial.tolist()):
        if moves:
            image, labels = _move(
                images[sample].to(precision),
                maps[sample],
                parameters,
                sample=sample,
                patch=patch,
                spacing_mm=spacing_mm,
            )
        else:
            image, labels = (
                _middle(images[sample].to(precision), patch),
                _middle(maps[sample], patch),
            )
        # Copies also where nothing is mirrored: what comes back may be changed in place.
        mirrored = (np.flatnonzero(parameters.mirror[sample]) + 1).tolist()
        moved.append((image.flip(mirrored), labels.flip(mirrored)))
    images, maps = (_stacked(parts) for parts in zip(*moved, strict=True))
    return images, maps if targets.ndim == 5 else maps.squeeze(1)


def _stacked(samples: Sequence[Tensor]) -> Tensor:
    return samples[0].unsqueeze(0) if len(samples) == 1 else torch.stack(list(samples))


def _middle(maps: Tensor, patch: Sequence[int]) -> Tensor:
    starts = [(size - length) // 2 for size, length in zip(maps.shape[1:], patch, strict=True)]
    z, y, x = (slice(start, start + length) for start, length in zip(starts, patch, strict=True))
    return maps[:, z, y, x]


def _move(
    image: Tensor,
    labels: Tensor,
    parameters: BatchParameters,
    *,
    sample: int,
    patch: Sequence[int],
    spacing_mm: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """Sample one image (c, z, y, x) and its maps (k, z, y, x) on the points of the patch."""
    first = 1 if parameters.in_plane else 0
    if parameters.in_plane:
        image = _middle(image, (patch[0], *image.shape[2:]))
        labels = _middle(labels, (patch[0], *labels.shape[2:]))
    source, size = image.shape[1 + first :], tuple(patch[first:])
    scale, sigma, rms = (
        float(values[sample])
        for values in (parameters.scale, parameters.elastic_sigma, parameters.elastic_rms)
    )
    # Voxels of the patch to millimeters, back through the motion, and to voxels of the source.
    motion = rotation_matrix(np.nan_to_num(parameters.angles[sample])).T * np.nan_to_num(
        scale, nan=1.0
    )
    steps = np.asarray(spacing_mm, float)
    linear = (motion * steps[np.newaxis, :] / steps[:, np.newaxis])[first:, first:]
    field = None
    if not np.isnan(rms):
        seed = parameters.field_seeds[sample]
        field = displacement_field(size, sigma=sigma, rms=rms, seed=seed, device=image.device)
    points = _points(linear, field, size=size, source=source, device=image.device)
    # In the plane all slices are read at the same points: they travel as channels.
    rows = image.reshape(1, -1, *source)
    moved = F.grid_sample(
        rows, _grid(points, source), mode="bilinear", padding_mode="zeros", align_corners=False
    )
    places, inside = _nearest(points, source)
    copied = labels.reshape(-1, math.prod(source))
    copied = copied.gather(1, places.expand(len(copied), -1)).mul_(inside)
    return moved.reshape(len(image), *patch), copied.reshape(len(labels), *patch)


def _points(
    linear: NDArray[np.float64],
    field: Tensor | None,
    *,
    size: Sequence[int],
    source: Sequence[int],
    device: torch.device,
) -> list[Tensor]:
    """Return where each voxel of the patch is read: per axis its index in the source, (*size)."""
    dimensions = len(size)
    offsets = [
        (torch.arange(length, dtype=torch.float32, device=device) - (length - 1) / 2).view(
            -1, *(1,) * (dimensions - 1 - axis)
        )
        for axis, length in enumerate(size)
    ]
    if field is not None:
        offsets = [offset + wave for offset, wave in zip(offsets, field, strict=True)]
    points = []
    for row, length in zip(linear.tolist(), source, strict=True):
        point = offsets[0] * row[0] + (length - 1) / 2
        for offset, factor in zip(offsets[1:], row[1:], strict=True):
            point = point + offset * factor
        points.append(point.expand(*size))
    return points


def _grid(points: Sequence[Tensor], source: Sequence[int]) -> Tensor:
    """Return points as grid_sample takes them, (1, *size, d): (x, y, z), borders at -1 and 1."""
    grid = points[0].new_empty((1, *points[0].shape, len(source)))
    for axis, (point, length) in enumerate(zip(points, source, strict=True)):
        torch.mul(point, 2 / length, out=grid[0, ..., len(source) - 1 - axis])
        grid[..., len(source) - 1 - axis] += 1 / length - 1
    return grid


def _nearest(points: Sequence[Tensor], source: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return for each point the flat index of its nearest voxel, and whether it has one, (1, n)."""
    flat = torch.zeros_like(points[0], dtype=torch.int64)
    inside = torch.ones_like(points[0], dtype=torch.bool)
    for point, length in zip(points, source, strict=True):
        index = point.round().to(torch.int64)
        within = index.clamp(0, length - 1)
        inside.logical_and_(index == within)
        flat.mul_(length).add_(within)
    return flat.view(1, -1), inside.view(1, -1)
