"""Files read and written by SimpleITK; its x, y, z order and LPS tuples end here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import SimpleITK
from numpy.typing import NDArray

from flare_io._orthonormal import straighten
from flare_io.errors import UnreadableVolumeError
from flare_io.geometry import Geometry
from flare_io.volume import Volume

__all__ = ["image_grid", "read_image", "read_information", "to_sitk", "write_image"]

# SimpleITK's types are incomplete.
_itk: Any = SimpleITK

_REVERSE = [2, 1, 0]
_DTYPES = {
    _itk.sitkUInt8: np.uint8,
    _itk.sitkInt8: np.int8,
    _itk.sitkUInt16: np.uint16,
    _itk.sitkInt16: np.int16,
    _itk.sitkUInt32: np.uint32,
    _itk.sitkInt32: np.int32,
    _itk.sitkUInt64: np.uint64,
    _itk.sitkInt64: np.int64,
    _itk.sitkFloat32: np.float32,
    _itk.sitkFloat64: np.float64,
}


def read_information(path: Path) -> tuple[tuple[int, ...], np.dtype[Any], Geometry, str]:
    """Return shape (z, y, x), type and grid of a file's header, and a note on straightened axes."""
    reader = _reader(path)
    with _errors_named(path):
        reader.ReadImageInformation()
    pixel = reader.GetPixelID()
    if pixel not in _DTYPES:
        raise UnreadableVolumeError(
            path,
            "voxels must be real numbers",
            found=_itk.GetPixelIDValueAsString(pixel),
            kind="dtype",
        )
    dtype = np.dtype(_DTYPES[pixel])
    geometry, note = image_grid(reader, path=path)
    return tuple(reader.GetSize()[::-1]), dtype, geometry, note


def read_image(path: Path) -> NDArray[Any]:
    """Return the voxels of a file, (z, y, x), with a leading axis of volumes if it is 4-D."""
    with _errors_named(path):
        image = _reader(path).Execute()
    array: NDArray[Any] = _itk.GetArrayFromImage(image)
    return array


def image_grid(image: Any, *, path: Path) -> tuple[Geometry, str]:
    """Return the grid of an image or reader, and a note if its axes had to be straightened."""
    axes = image.GetDimension()
    spacing = np.array(image.GetSpacing())[:3]
    direction = np.array(image.GetDirection()).reshape(axes, axes)[:3, :3]
    origin = np.array(image.GetOrigin())[:3]
    matrix = (direction * spacing)[_REVERSE][:, _REVERSE]
    straight, lengths, note = straighten(matrix, image.GetSize()[2::-1], path=path)
    geometry = Geometry(
        spacing_mm=(float(lengths[0]), float(lengths[1]), float(lengths[2])),
        origin=(float(origin[2]), float(origin[1]), float(origin[0])),
        direction=tuple(map(tuple, (straight + 0.0).tolist())),
    )
    return geometry, note


def to_sitk(volume: Volume) -> Any:
    """Return a volume as a SimpleITK image; the voxels are copied."""
    array = volume.array
    if array.dtype == np.bool_:
        array = array.view(np.uint8)
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    image = _itk.GetImageFromArray(np.ascontiguousarray(array))
    geometry = volume.geometry
    image.SetSpacing(geometry.spacing_mm[::-1])
    image.SetOrigin(geometry.origin[::-1])
    image.SetDirection(geometry.direction_matrix[_REVERSE][:, _REVERSE].ravel().tolist())
    return image


def write_image(volume: Volume, path: Path) -> None:
    """Write a compressed file, in the format of its name."""
    with _errors_named(path):
        _itk.WriteImage(to_sitk(volume), str(path), useCompression=True, compressionLevel=1)


def _reader(path: Path) -> Any:
    reader = _itk.ImageFileReader()
    name = path.name.lower()
    reader.SetImageIO("NrrdImageIO" if name.endswith((".nrrd", ".nhdr")) else "MetaImageIO")
    reader.SetFileName(str(path))
    return reader


@contextmanager
def _errors_named(path: Path) -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        said = [line for line in str(error).splitlines() if line.strip()]
        raise UnreadableVolumeError(
            path,
            "SimpleITK refuses it",
            found=said[-1].strip()[:160] if said else "no reason given",
            kind="unreadable",
        ) from error
