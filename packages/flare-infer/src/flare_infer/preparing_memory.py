"""What preparing a case plane by plane holds of memory, beside the volume."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from flare_io.preprocessing import Preprocessing
from flare_io.resample import separate_axis

__all__ = ["PreparingMemory", "preparing_memory"]

# Rows of one product in resampling, and how many planes an interpolation reads by its order.
_ROWS = 32
_TAPS = {0: 1, 1: 2, 3: 60}
# Planes that are normalized at a time where nothing is resampled.
_PLANES_AT_ONCE = 8
_FLOAT, _DOUBLE = 4, 8


@dataclass(frozen=True)
class PreparingMemory:
    """Bytes that stay while windows are looked at, and bytes beside them for a moment."""

    held_bytes: float
    passing_bytes: float


def preparing_memory(
    preprocessing: Preprocessing,
    shape: Sequence[int],
    spacing_mm: Sequence[float],
    grid: Sequence[int],
) -> PreparingMemory:
    """Return what `flare_io.prepared_planes.prepare_planes` holds.

    Parameters
    ----------
    preprocessing : Preprocessing
    shape, spacing_mm : (3,)
        Of the volume, in the network's axes.
    grid : (3,) int
        The network's.

    Notes
    -----
    Resampled planes are held in float64: as many as a block of the result reads, those that came
    last a second time, and the block, with it its copies in float32 before and after channels are
    joined. While the next block is made, the planes of the last are there as well; they are small
    enough for the heap to keep their place.

    Examples
    --------
    >>> from flare_io.intensity import Intensity
    >>> gray = Intensity(scheme="none")
    >>> same = Preprocessing(spacing_mm=None, intensities=(gray,))
    >>> preparing_memory(same, (90, 10, 10), (1.0, 1.0, 1.0), (90, 10, 10))
    PreparingMemory(held_bytes=6400, passing_bytes=0)
    """
    channels = len(preprocessing.intensities)
    wanted = preprocessing.spacing_mm or spacing_mm
    coarse = separate_axis(spacing_mm, wanted, threshold=preprocessing.anisotropy_threshold)
    voxelwise = all(each.scheme in ("ct", "rgb", "none") for each in preprocessing.intensities)
    resampled = tuple(grid) != tuple(shape)
    if not voxelwise or (resampled and coarse not in (None, 0)):
        return PreparingMemory(_FLOAT * channels * math.prod(grid), _FLOAT * math.prod(shape))
    before, after = math.prod(shape[1:]), math.prod(grid[1:])
    if not resampled:
        return PreparingMemory(2 * _FLOAT * channels * before * _PLANES_AT_ONCE, 0)
    order = preprocessing.image_order
    taps = _TAPS[preprocessing.image_order_z if coarse == 0 else order]
    fresh = min(shape[0], _ROWS * shape[0] / grid[0])
    reach = min(shape[0], fresh + taps)
    block = min(_ROWS, grid[0])
    if after > before and not (coarse == 0 and order == 3):
        # Planes that grow are made a few at a time, from those between which they lie.
        return PreparingMemory(
            _DOUBLE * channels * before * block, (_FLOAT + _DOUBLE) * before * reach
        )
    planes = _DOUBLE * (2 * reach + fresh) + (_DOUBLE + 2 * _FLOAT) * block
    return PreparingMemory(channels * after * planes, 0)
