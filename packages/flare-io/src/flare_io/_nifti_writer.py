"""NIfTI files written small and reproducible, whole or as their voxels come."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from isal import isal_zlib
from numpy.typing import NDArray

from flare_io._nifti_grid import affine_ras, quaternion_of
from flare_io._nifti_header import DTYPES, HEADER_1, HEADER_2
from flare_io._stream import open_stream
from flare_io.atomic import write_file
from flare_io.errors import UnreadableVolumeError
from flare_io.geometry import Geometry
from flare_io.volume import Volume

__all__ = ["write_nifti", "write_nifti_planes"]

_CODES = {dtype: code for code, dtype in DTYPES.items()}
_PIECE_BYTES = 1 << 22
_SMALLEST_DATA_OFFSET = {1: 352, 2: 544}


def write_nifti(volume: Volume, path: Path) -> None:
    """Write ``.nii`` or ``.nii.gz``; the same volume always gives the same bytes.

    NIfTI-1, or NIfTI-2 where an axis is longer than 32767 voxels; qform and sform say the same.

    Raises
    ------
    ValueError
        If the array's type has no place in NIfTI.
    """
    array = _storable(volume.array)
    count = _planes_in_piece(array[0].nbytes)
    blocks = (array[start : start + count] for start in range(0, len(array), count))
    _write(_header_bytes(volume.geometry, volume.shape, array.dtype), blocks, path)


def write_nifti_planes(
    planes: Iterable[NDArray[np.uint8]],
    path: Path,
    *,
    shape: tuple[int, int, int],
    geometry: Geometry,
) -> str:
    """Write the same bytes as `write_nifti` while the planes are still being made.

    Parameters
    ----------
    planes : iterable of (y, x) uint8 arrays
        ``shape[0]`` of them, from the first to the last.
    path, shape, geometry
        Of the file and its voxels.

    Returns
    -------
    str
        SHA-256 of the file.

    Notes
    -----
    Memory: one piece of 4 MiB. Whatever ``planes`` raises leaves no file behind.
    """
    count = _planes_in_piece(shape[1] * shape[2])
    iterator = iter(planes)
    groups = iter(lambda: list(islice(iterator, count)), [])
    header = _header_bytes(geometry, shape, np.dtype(np.uint8))
    digest = hashlib.sha256()
    _write(header, map(np.stack, groups), path, on_bytes=digest.update)
    return digest.hexdigest()


class _Checksum:
    """CRC and length of what was written, to hold the file on the disk against."""

    def __init__(self) -> None:
        self.crc = 0
        self.length = 0

    def add(self, piece: bytes | memoryview) -> None:
        self.crc = isal_zlib.crc32(piece, self.crc)
        self.length += len(piece)

    def verify(self, path: Path) -> None:
        found = _Checksum()
        buffer = memoryview(bytearray(min(_PIECE_BYTES, self.length)))
        with open_stream(path) as stream:
            while found.length < self.length:
                piece = buffer[: min(len(buffer), self.length - found.length)]
                stream.read_into(piece)
                found.add(piece)
            extra = stream.finish(limit=0)
        if extra or found.crc != self.crc:
            raise UnreadableVolumeError(
                path,
                "does not hold what was written to it",
                found="another checksum" if not extra else f"{extra} bytes more",
                remedy="check the disk",
                kind="corrupt",
            )


def _write(
    header: bytes,
    blocks: Iterable[NDArray[Any]],
    path: Path,
    *,
    on_bytes: Callable[[bytes | memoryview], None] | None = None,
) -> None:
    """Write header and blocks of planes, compressed if the name says so."""
    name = path.name.lower()
    if not name.endswith((".nii", ".nii.gz")):
        raise ValueError(f"path must end in .nii or .nii.gz, got {path.name!r}")
    written = _Checksum()

    def stored() -> Iterator[bytes | memoryview]:
        for piece in _pieces(header, blocks):
            written.add(piece)
            yield piece

    def write(stream: BinaryIO) -> None:
        for piece in _gzipped(stored()) if name.endswith(".gz") else stored():
            if on_bytes is not None:
                on_bytes(piece)
            stream.write(piece)

    write_file(path, write, verify=written.verify)


def _gzipped(pieces: Iterable[bytes | memoryview]) -> Iterator[bytes]:
    compressor = isal_zlib.compressobj(1, isal_zlib.DEFLATED, 31)
    for piece in pieces:
        yield compressor.compress(piece)
    yield compressor.flush()


def _planes_in_piece(plane_bytes: int) -> int:
    # How the voxels are cut decides about the compressed bytes.
    return max(1, _PIECE_BYTES // max(1, plane_bytes))


def _pieces(header: bytes, blocks: Iterable[NDArray[Any]]) -> Iterator[bytes | memoryview]:
    yield header
    for block in blocks:
        little = np.ascontiguousarray(block, block.dtype.newbyteorder("<"))
        yield little.reshape(-1).view(np.uint8).data


def _storable(array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    if array.dtype == np.float16:
        return array.astype(np.float32)
    if array.dtype.newbyteorder("=") not in _CODES:
        raise ValueError(f"array must hold integers or floats up to 64 bits, got {array.dtype}")
    return array


def _header_bytes(geometry: Geometry, shape: tuple[int, int, int], dtype: np.dtype[Any]) -> bytes:
    version = 1 if max(shape) <= 32767 else 2
    table = HEADER_1 if version == 1 else HEADER_2
    fields = np.zeros((), table)
    affine = affine_ras(geometry)
    spacing = geometry.spacing_mm[::-1]
    rotation = affine[:3, :3] / spacing
    mirrored = np.linalg.det(rotation) < 0
    if mirrored:
        rotation = rotation * (1.0, 1.0, -1.0)
    fields["sizeof_hdr"] = table.itemsize
    fields["magic"] = b"n+1" if version == 1 else b"n+2\0\r\n\x1a\n"
    fields["dim"] = [3, *shape[::-1], 1, 1, 1, 1]
    fields["datatype"] = _CODES[dtype.newbyteorder("=")]
    fields["bitpix"] = dtype.itemsize * 8
    fields["pixdim"] = [-1.0 if mirrored else 1.0, *spacing, 0, 0, 0, 0]
    fields["vox_offset"] = _SMALLEST_DATA_OFFSET[version]
    fields["scl_slope"] = 1.0
    fields["xyzt_units"] = 2
    fields["qform_code"] = fields["sform_code"] = 1
    fields["quaternion"] = quaternion_of(rotation)
    fields["qoffset"] = affine[:3, 3]
    fields["srow"] = affine[:3]
    return fields.tobytes() + bytes(4)
