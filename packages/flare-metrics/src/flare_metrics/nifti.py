"""NIfTI label maps, every byte verified before the first is used.

A compressed file is decompressed to its end, so that its checksum and length are compared; a cut
or damaged file is an error, never a shorter organ. Arrays come out as (z, y, x), the reverse of
the file's axes, without reorientation.
"""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._nifti_header import HEADER_BYTES, NiftiHeader, parse_header
from flare_metrics.errors import GridError, UnreadableFileError
from flare_metrics.grid import Grid

__all__ = ["read_nifti"]

_GZIP = b"\x1f\x8b"
# Decompressed pieces stay in the cache until they are copied to their place.
_PIECE = 1 << 18
_INPUT = 1 << 16
_MAX_BYTES = 1 << 34
# Some writers leave a little behind the data; a gzip bomb leaves gigabytes.
_MAX_TAIL = 1 << 20
_REMEDY = "copy or export it again"


def read_nifti(
    path: str | os.PathLike[str], *, zooms_only: bool = False
) -> tuple[NDArray[Any], Grid]:
    """Return the array (z, y, x) and the grid of a three-dimensional NIfTI-1 or NIfTI-2 file.

    Parameters
    ----------
    path : path
        ``.nii`` or ``.nii.gz``; what the bytes say counts, not the name.
    zooms_only : bool
        Take the header's zooms as millimeters and look at nothing else: no unit, no affine.

    Returns
    -------
    array : (z, y, x) array
        Stored values, scaled where the header says so; read-only.
    grid : Grid

    Raises
    ------
    UnreadableFileError
        If the file is missing, no NIfTI, cut or damaged.
    GridError
        If it has more than three axes, or a spacing that is no length.

    Notes
    -----
    Takes the size of the file and once that of the voxels in memory, and releases the
    interpreter's lock while it decompresses.
    """
    path = Path(path)
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(
            path, f"cannot be read: {error.strerror}", kind="unreadable"
        ) from error
    if stored[:2] == _GZIP:
        header, voxels = _inflated(stored, path)
    else:
        header = parse_header(stored[:HEADER_BYTES], path)
        end = header.offset + _voxel_bytes(header, path)
        if len(stored) < end:
            raise _too_short(path, end, len(stored))
        voxels = np.frombuffer(stored, np.uint8, end - header.offset, header.offset)
    values = voxels.view(header.dtype).reshape(header.shape[::-1])
    if (header.slope, header.intercept) != (1.0, 0.0):
        values = values.astype(np.float64)
        with np.errstate(all="ignore"):
            values *= header.slope
            values += header.intercept
    values.flags.writeable = False
    return values, _grid(header, path, zooms_only=zooms_only)


def _voxel_bytes(header: NiftiHeader, path: Path) -> int:
    size = math.prod(header.shape) * header.dtype.itemsize
    if size > _MAX_BYTES:
        raise UnreadableFileError(
            path, "header promises more than 16 GiB", found=str(header.shape), kind="too-large"
        )
    return size


def _inflated(stored: bytes, path: Path) -> tuple[NiftiHeader, NDArray[np.uint8]]:
    """Return the header and the voxels of a compressed file, all checksums right."""
    pieces = _pieces(stored, path)
    start = bytearray()
    for piece in pieces:
        start += piece
        if len(start) >= HEADER_BYTES:
            break
    header = parse_header(bytes(start[:HEADER_BYTES]), path)
    size = _voxel_bytes(header, path)
    voxels = np.empty(size, np.uint8)
    place = voxels.data
    # Where in the voxels the next piece goes; negative within the header.
    at = -header.offset
    for piece in _chained(bytes(start), pieces):
        inside = memoryview(piece)[max(-at, 0) : max(size - at, 0)]
        begin = max(at, 0)
        place[begin : begin + len(inside)] = inside
        at += len(piece)
        if at > size + _MAX_TAIL:
            raise UnreadableFileError(
                path, "more data than its header promises", remedy=_REMEDY, kind="too-large"
            )
    if at < size:
        raise _too_short(path, size + header.offset, at + header.offset)
    return header, voxels


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _pieces(stored: bytes, path: Path) -> Iterator[bytes]:
    """Decompress all members of a gzip file, in pieces of bounded size."""
    rest = memoryview(stored)
    try:
        while rest[:2] == _GZIP:
            # This many window bits make zlib compare checksum and length.
            member = zlib.decompressobj(wbits=31)
            taken = 0
            piece: bytes | memoryview = b""
            while not member.eof:
                if not piece:
                    piece = rest[taken : taken + _INPUT]
                    taken += len(piece)
                    if not piece:
                        raise UnreadableFileError(
                            path,
                            "gzip stream ends early",
                            found=f"{len(stored)} bytes",
                            remedy=_REMEDY,
                            kind="truncated",
                        )
                yield member.decompress(piece, _PIECE)
                piece = member.unconsumed_tail
            rest = rest[taken - len(member.unused_data) :]
    except zlib.error as error:
        raise UnreadableFileError(
            path, "gzip data is damaged", found=str(error), remedy=_REMEDY, kind="corrupt"
        ) from error


def _too_short(path: Path, expected: int, found: int) -> UnreadableFileError:
    return UnreadableFileError(
        path,
        f"data must fill {expected} bytes",
        found=str(found),
        remedy=_REMEDY,
        kind="truncated",
    )


def _grid(header: NiftiHeader, path: Path, *, zooms_only: bool) -> Grid:
    unit = 1.0 if zooms_only else header.mm_per_unit
    x, y, z = (zoom * unit for zoom in header.zooms)
    shape = (header.shape[2], header.shape[1], header.shape[0])
    if not (math.isfinite(x + y + z) and min(x, y, z) > 0):
        raise GridError(
            path, "spacing must be positive and finite", found=f"{header.zooms} (x, y, z)"
        )
    if zooms_only:
        return Grid(shape, (z, y, x), np.diag([z, y, x, 1.0])[[2, 1, 0, 3]])
    # Columns of (z, y, x); world rows stay as in the file.
    affine = header.affine[:, [2, 1, 0, 3]]
    affine[:3] *= unit
    if not np.isfinite(affine).all():
        raise GridError(path, "the affine must be finite", remedy="export the file again")
    if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise GridError(path, "the affine is singular", remedy="export the file again")
    return Grid(shape, (z, y, x), affine)
