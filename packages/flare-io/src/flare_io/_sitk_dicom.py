"""Compressed DICOM slices, decoded by SimpleITK's GDCM.

The one place where the DICOM reader meets SimpleITK: it decodes pixels, and no geometry is taken
from it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from flare_io.errors import UnreadableVolumeError

__all__ = ["decode_slice"]

# SimpleITK has no type information.
_itk: Any = SimpleITK


def decode_slice(path: Path) -> NDArray[np.float64]:
    """Return the (y, x) values of a single-frame file with its rescale applied.

    Raises
    ------
    UnreadableVolumeError
        If the compressed data cannot be decoded.
    """
    reader = _itk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    try:
        values = _itk.GetArrayFromImage(reader.Execute())
    except RuntimeError as error:
        raise UnreadableVolumeError(
            path,
            "compressed pixel data cannot be decoded",
            remedy="decompress the series, e.g. with gdcmconv --raw",
            kind="codec",
        ) from error
    return np.asarray(values, dtype=np.float64).reshape(values.shape[-2:])
