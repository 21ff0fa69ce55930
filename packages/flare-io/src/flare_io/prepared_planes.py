"""A case prepared plane by plane, so that memory does not grow with the length of a scan."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.intensity import Intensity
from flare_io.preparation import Preparation, coarse_axis, plan_preparation, prepare
from flare_io.preprocessing import Preprocessing
from flare_io.resample import resampled_blocks
from flare_io.volume import Volume

__all__ = ["PreparedPlanes", "can_stream", "prepare_planes"]

_PLANES_AT_ONCE = 8
# What the other schemes do to a voxel depends on all voxels.
_VOXELWISE = ("ct", "rgb", "none")


@dataclass(frozen=True, eq=False)
class PreparedPlanes:
    """A case that is prepared while it is read.

    Parameters
    ----------
    preparation : Preparation
        The way back.
    blocks : iterator of (c, planes, y, x) float32 arrays
        From the first plane to the last; together what `flare_io.preparation.prepare` returns.
    """

    preparation: Preparation
    blocks: Iterator[NDArray[np.float32]]


def prepare_planes(
    volumes: Volume | Sequence[Volume], preprocessing: Preprocessing
) -> PreparedPlanes:
    """Turn one case into the network's planes, each made when it is asked for.

    Parameters
    ----------
    volumes, preprocessing
        As for `flare_io.preparation.prepare`. The volumes must not change before the last plane.

    Returns
    -------
    PreparedPlanes
        Equal to what `flare_io.preparation.prepare` gives, bit for bit.

    Raises
    ------
    ValueError, GeometryError
        As `flare_io.preparation.prepare`, partly with the first plane.

    Notes
    -----
    Memory beside the volumes: what `flare_io.resample.resampled_blocks` holds, about 100 planes of
    the network's grid in float64 for order 3. Where `can_stream` says no, the whole case is
    prepared at once.

    Examples
    --------
    >>> from flare_io.geometry import Geometry
    >>> ct = Volume(np.full((10, 8, 8), 80, np.int16), Geometry((2.0, 1.0, 1.0)))
    >>> scheme = Intensity(scheme="ct", mean=80, std=140, low=-960, high=300)
    >>> wanted = Preprocessing(spacing_mm=(4.0, 2.0, 2.0), intensities=(scheme,))
    >>> case = prepare_planes(ct, wanted)
    >>> case.preparation.shape, sum(block.shape[1] for block in case.blocks)
    ((5, 4, 4), 5)
    """
    arrays, preparation = plan_preparation(volumes, preprocessing)
    if not can_stream(preparation, preprocessing):
        whole = prepare(volumes, preprocessing).array
        return PreparedPlanes(preparation, iter([whole]))
    channels = [
        _channel_blocks(preparation.box.extract(array), intensity, preparation, preprocessing)
        for array, intensity in zip(arrays, preprocessing.intensities, strict=True)
    ]
    blocks = (np.stack(channel_blocks) for channel_blocks in zip(*channels, strict=True))
    return PreparedPlanes(preparation, blocks)


def can_stream(preparation: Preparation, preprocessing: Preprocessing) -> bool:
    """Return whether planes can be made one after the other.

    They can where intensities change voxel by voxel (``ct``, ``rgb``, ``none``) and no axis but the
    first is resampled on its own.
    """
    voxelwise = all(each.scheme in _VOXELWISE for each in preprocessing.intensities)
    return voxelwise and (
        not preparation.is_resampled or coarse_axis(preparation, preprocessing) in (None, 0)
    )


class _NormalizedPlanes:
    """A channel whose planes are normalized when they are read, see `PlaneSource`."""

    def __init__(self, array: NDArray[Any], intensity: Intensity) -> None:
        self._array, self._intensity = array, intensity

    @property
    def shape(self) -> tuple[int, ...]:
        return self._array.shape

    def __getitem__(self, planes: slice, /) -> NDArray[np.float32]:
        return self._intensity.apply(self._array[planes])

    # Voxelwise schemes never change the order of two values, rounding included.
    def min(self) -> np.float32:
        least: np.float32 = self._intensity.apply(self._array.min(keepdims=True)).min()
        return least

    def max(self) -> np.float32:
        most: np.float32 = self._intensity.apply(self._array.max(keepdims=True)).max()
        return most


def _channel_blocks(
    array: NDArray[Any],
    intensity: Intensity,
    preparation: Preparation,
    preprocessing: Preprocessing,
) -> Iterator[NDArray[np.float32]]:
    first, last = Intensity(scheme="none"), intensity
    if preprocessing.normalize_first:
        first, last = last, first
    source = _NormalizedPlanes(array, first)
    if not preparation.is_resampled:
        starts = range(0, len(array), _PLANES_AT_ONCE)
        blocks: Iterator[NDArray[Any]] = (source[k : k + _PLANES_AT_ONCE] for k in starts)
    else:
        blocks = resampled_blocks(
            source,
            preparation.shape,
            order=preprocessing.image_order,
            separate_first=coarse_axis(preparation, preprocessing) == 0,
            order_separate=preprocessing.image_order_z,
        )
    for block in blocks:
        values = np.ascontiguousarray(block, dtype=np.float32)
        last.apply_in_place(values)
        yield values
