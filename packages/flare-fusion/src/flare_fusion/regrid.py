"""A label map on another grid, by its place in the patient.

Nearest neighbor only: labels have no values between them. Nothing calls this unasked.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.geometry import Geometry
from flare_io.volume import Volume

__all__ = ["labels_on_grid"]

# Coordinates halfway between two voxels must not be decided by rounding errors.
_HALF = 0.5 + 1e-6


def labels_on_grid(
    labels: Volume, geometry: Geometry, shape: tuple[int, int, int]
) -> tuple[Volume, int]:
    """Return a label map on another grid, by nearest neighbor in patient space.

    Parameters
    ----------
    labels : Volume
        Integer labels (z, y, x). Not modified.
    geometry : Geometry
        Where the voxels of the result lie.
    shape : (3,) int
        Shape of the result.

    Returns
    -------
    volume : Volume
        Of the type of ``labels``. Halfway between two voxels the one of higher index counts.
    outside : int
        Voxels of the result that lie outside of the given map; they are 0.

    Notes
    -----
    Voxel ``i`` of the result lies at ``p = geometry.affine @ i`` and takes the label of voxel
    ``round(inv(labels.geometry.affine) @ p)``. Grids whose axes run alike, in whatever order and
    direction, are indexed axis by axis; an oblique one takes several times as long. Needs the
    result and a few of its slices.

    Examples
    --------
    >>> grid = Geometry((1.0, 1.0, 1.0))
    >>> flipped = Geometry((1.0, 1.0, 1.0), direction=((1, 0, 0), (0, 1, 0), (0, 0, -1)))
    >>> two = Volume(np.array([[[7, 3]]], np.uint8), flipped)
    >>> volume, outside = labels_on_grid(two, grid, (1, 1, 3))
    >>> volume.array.ravel().tolist(), outside
    ([7, 0, 0], 2)
    """
    index = np.linalg.solve(labels.geometry.affine, geometry.affine)[:3]
    result = np.zeros(shape, labels.array.dtype)
    size = np.abs(index[:, :3])
    runs = size > 1e-6 * size.max(axis=1, keepdims=True)
    if (runs.sum(axis=0) == 1).all() and (runs.sum(axis=1) == 1).all():
        inside = _along_axes(labels.array, index, result)
    else:
        inside = sum(_oblique_slice(labels.array, index, result[z], z) for z in range(shape[0]))
    return Volume(result, geometry), result.size - inside


def _along_axes(source: NDArray[Any], index: NDArray[Any], result: NDArray[Any]) -> int:
    """Fill a grid whose every axis runs along one axis of the source; return voxels inside."""
    order = [int(np.abs(index[:, axis]).argmax()) for axis in range(3)]
    turned = source.transpose(order)
    places, taken = [], []
    for axis, own in enumerate(order):
        steps = np.arange(result.shape[axis])
        nearest = np.floor(index[own, axis] * steps + index[own, 3] + _HALF).astype(np.int64)
        inside = np.flatnonzero((nearest >= 0) & (nearest < turned.shape[axis]))
        places.append(inside)
        taken.append(nearest[inside])
    for z, nearest in zip(places[0], taken[0], strict=True):
        result[z][np.ix_(*places[1:])] = turned[nearest][np.ix_(*taken[1:])]
    return int(np.prod([len(inside) for inside in places]))


def _oblique_slice(source: NDArray[Any], index: NDArray[Any], result: NDArray[Any], z: int) -> int:
    rows = np.arange(result.shape[0])[:, None]
    columns = np.arange(result.shape[1])
    inside = np.ones(result.shape, bool)
    nearest = []
    for axis, size in enumerate(source.shape):
        start = index[axis, 0] * z + index[axis, 3] + _HALF
        place = np.floor(start + index[axis, 1] * rows + index[axis, 2] * columns)
        inside &= (place >= 0) & (place < size)
        nearest.append(place)
    result[inside] = source[tuple(place[inside].astype(np.int64) for place in nearest)]
    return int(inside.sum())
