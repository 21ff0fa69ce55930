"""The channels of one case, from whatever an application holds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

__all__ = ["Image", "read_channels"]

Image = os.PathLike[str] | str | Volume | Iterable[os.PathLike[str] | str | Volume]

# Of the enumeration of devices in DLPack's header.
_DLPACK_CPU = 1


def read_channels(
    image: Image | Any, geometry: Geometry | None, policy: ReadPolicy
) -> list[Volume]:
    """Return the channels of a case.

    Parameters
    ----------
    image : path, Volume, (z, y, x) array, or iterable of paths or Volumes
        Arrays of NumPy, or of any library that speaks DLPack: those of the host are not copied.
    geometry : Geometry or None
        Of an array.
    policy : ReadPolicy
        For paths.

    Raises
    ------
    ValueError
        If a geometry is missing, or given where there is one, or there is no channel.
    DataError
        From reading.
    """
    array = _array(image)
    if array is not None:
        if geometry is None:
            raise ValueError("geometry must be given with an array")
        return [Volume(array, geometry)]
    if geometry is not None:
        raise ValueError("geometry goes with an array only: files and volumes have their own")
    if isinstance(image, Volume | str | os.PathLike):
        return [_volume(image, policy)]
    channels = [_volume(each, policy) for each in image]
    if not channels:
        raise ValueError("image must hold at least one channel, got none")
    return channels


def _array(image: Any) -> NDArray[Any] | None:
    """Return an array of any library that speaks DLPack on the host, None for anything else."""
    if isinstance(image, np.ndarray) or not hasattr(image, "__dlpack__"):
        return image if isinstance(image, np.ndarray) else None
    kind, _ = image.__dlpack_device__()
    if kind == _DLPACK_CPU:
        array: NDArray[Any] = np.from_dlpack(image)
    else:
        from torch.utils.dlpack import from_dlpack

        array = from_dlpack(image).cpu().numpy()
    return array


def _volume(image: os.PathLike[str] | str | Volume, policy: ReadPolicy) -> Volume:
    if isinstance(image, Volume):
        return image
    from flare_io.files import read_volume

    return read_volume(Path(image), policy=policy)
