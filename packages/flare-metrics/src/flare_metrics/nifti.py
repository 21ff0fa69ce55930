"""NIfTI label maps, every byte verified before the first is used.

A compressed file is decompressed to its end, so that its checksum and length are compared; a cut
or damaged file is an error, never a shorter organ. Arrays come out as (z, y, x), the reverse of
the file's axes, without reorientation.
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.errors import GridError, UnreadableFileError
from flare_metrics.grid import Grid

__all__ = ["read_nifti"]

_GZIP = b"\x1f\x8b"
_PIECE = 1 << 20
_MAX_BYTES = 1 << 34
# Some writers leave a little behind the data; a gzip bomb leaves gigabytes.
_MAX_TAIL = 1 << 20
_MM_PER_UNIT = {"meter": 1000.0, "micron": 0.001}
_REMEDY = "copy or export it again"


def read_nifti(path: str | os.PathLike[str]) -> tuple[NDArray[Any], Grid]:
    """Return the array (z, y, x) and the grid of a three-dimensional NIfTI-1 or NIfTI-2 file.

    Parameters
    ----------
    path : path
        ``.nii`` or ``.nii.gz``; what the bytes say counts, not the name.

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
    """
    path = Path(path)
    try:
        stored = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(
            path, f"cannot be read: {error.strerror}", kind="unreadable"
        ) from error
    start = _inflated(stored, path, limit=1024)[0] if stored[:2] == _GZIP else stored
    header = _header(start, path)
    shape = _shape(header, path)
    dtype = header.get_data_dtype()
    offset = int(header.get_data_offset())
    expected = offset + int(np.prod(shape)) * dtype.itemsize
    if expected > _MAX_BYTES:
        raise UnreadableFileError(
            path, "header promises more than 16 GiB", found=str(shape), kind="too-large"
        )
    data = stored
    if stored[:2] == _GZIP:
        data, complete = _inflated(stored, path, limit=expected + _MAX_TAIL)
        if not complete:
            raise UnreadableFileError(
                path, "more data than its header promises", remedy=_REMEDY, kind="too-large"
            )
    if len(data) < expected:
        raise UnreadableFileError(
            path,
            f"data must fill {expected} bytes",
            found=str(len(data)),
            remedy=_REMEDY,
            kind="truncated",
        )
    values = np.frombuffer(data, dtype, int(np.prod(shape)), offset).reshape(shape, order="F").T
    return _scaled(values, header), _grid(header, path)


def _inflated(stored: bytes, path: Path, *, limit: int) -> tuple[bytes, bool]:
    """Decompress up to a limit; also whether that was all, with all checksums right."""
    out = bytearray()
    rest = memoryview(stored)
    try:
        while rest[:2] == _GZIP:
            member = zlib.decompressobj(wbits=31)
            piece: bytes | memoryview = rest
            while piece and not member.eof:
                out += member.decompress(piece, min(_PIECE * 16, max(limit + 1 - len(out), 1)))
                if len(out) > limit:
                    return bytes(out), False
                piece = member.unconsumed_tail
            if not member.eof:
                out += member.flush()
            if not member.eof:
                raise UnreadableFileError(
                    path,
                    "gzip stream ends early",
                    found=f"{len(stored)} bytes",
                    remedy=_REMEDY,
                    kind="truncated",
                )
            rest = memoryview(member.unused_data)
    except zlib.error as error:
        raise UnreadableFileError(
            path, "gzip data is damaged", found=str(error), remedy=_REMEDY, kind="corrupt"
        ) from error
    return bytes(out), True


def _header(start: bytes, path: Path) -> Any:
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.spatialimages import HeaderDataError
    from nibabel.wrapstruct import WrapStructError

    kinds: tuple[tuple[Any, bytes], ...] = (
        (Nifti1Header, start[344:347]),
        (Nifti2Header, start[4:7]),
    )
    for kind, magic in kinds:
        if magic in (b"n+1", b"n+2") and len(start) >= kind.sizeof_hdr:
            try:
                # Unchecked: nibabel's checks repair silently, a spacing of 0 for one.
                header = kind(start[: kind.sizeof_hdr], check=False)
                header["pixdim"][1:4] = np.abs(header["pixdim"][1:4])
                header.get_data_dtype()
                header.get_best_affine()
                return header
            except (HeaderDataError, WrapStructError, ValueError) as error:
                raise UnreadableFileError(
                    path, f"NIfTI header is wrong: {error}", kind="corrupt"
                ) from error
    raise UnreadableFileError(
        path, "not NIfTI", found=f"a file that starts with {start[:12]!r}", kind="format"
    )


def _shape(header: Any, path: Path) -> tuple[int, int, int]:
    stated = tuple(int(n) for n in header["dim"][1 : 1 + max(int(header["dim"][0]), 0)])
    if not stated or min(stated) < 1:
        raise GridError(path, "every axis must have voxels", found=str(stated))
    shape = stated + (1,) * (3 - len(stated))
    if any(n != 1 for n in shape[3:]) or len(stated) < 2:
        raise GridError(
            path,
            "a label map has three axes",
            found=str(stated),
            remedy="split it into single volumes",
        )
    x, y, z = shape[:3]
    return x, y, z


def _scaled(values: NDArray[Any], header: Any) -> NDArray[Any]:
    slope, intercept = (float(header[name]) for name in ("scl_slope", "scl_inter"))
    # Zero or NaN stands for "not scaled".
    if not np.isfinite(slope) or slope == 0 or (slope, intercept) == (1.0, 0.0):
        return values
    return np.asarray(values * slope + (intercept if np.isfinite(intercept) else 0.0))


def _grid(header: Any, path: Path) -> Grid:
    unit = _MM_PER_UNIT.get(header.get_xyzt_units()[0], 1.0)
    zooms = [float(zoom) for zoom in header["pixdim"][1:4]]
    affine = np.asarray(header.get_best_affine(), np.float64)
    if not (np.isfinite(zooms).all() and min(zooms) > 0 and np.isfinite(affine).all()):
        raise GridError(
            path, "spacing must be positive and finite", found=f"{tuple(zooms)} mm (x, y, z)"
        )
    if abs(np.linalg.det(affine[:3, :3])) < 1e-12:
        raise GridError(path, "the affine is singular", remedy="export the file again")
    # Columns of (z, y, x); world rows stay as in the file.
    reverse = affine[:, [2, 1, 0, 3]]
    reverse[:3] *= unit
    shape = _shape(header, path)
    z, y, x = zooms[2] * unit, zooms[1] * unit, zooms[0] * unit
    return Grid((shape[2], shape[1], shape[0]), (z, y, x), reverse)
