"""NIfTI-1 and NIfTI-2, read with every byte verified and written small and reproducible.

``.nii`` and ``.nii.gz`` are told apart by their bytes, not their names; ``.hdr`` with ``.img`` is
read too. Values come in the type they are stored in, unless the header scales them.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io._nifti_grid import nifti_geometry
from flare_io._nifti_header import HEADER_2, NiftiHeader, check_size, parse_header
from flare_io._nifti_writer import write_nifti
from flare_io._stream import MAX_TAIL, Stream, open_stream
from flare_io.errors import UnreadableVolumeError
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

__all__ = ["NiftiFile", "is_nifti_name", "open_nifti", "read_nifti", "write_nifti"]

_SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img", ".hdr.gz", ".img.gz")


@dataclass(frozen=True, eq=False)
class NiftiFile:
    """A NIfTI file whose header has been accepted; nothing of its voxels is read yet.

    Parameters
    ----------
    path, data_path : Path
        The header's file and the voxels' file, mostly the same.
    header : NiftiHeader
    compressed : bool
        Whether the voxels' file is.
    notes : tuple of str
        What is odd about the file and its header.
    """

    path: Path
    data_path: Path
    header: NiftiHeader
    compressed: bool
    notes: tuple[str, ...]

    @property
    def format(self) -> str:
        """Such as ``"NIfTI-1, gzip"``."""
        form = f"NIfTI-{self.header.version}" + (" pair" if self.header.separate else "")
        return form + (", gzip" if self.compressed else "")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        x, y, z = self.header.shape
        return z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that a read gives; integers may come smaller where they are scaled."""
        native = self.header.dtype.newbyteorder("=")
        return native if self.header.slope is None else _float_for(native)

    def geometry(self, policy: ReadPolicy) -> tuple[Geometry, tuple[str, ...]]:
        """Return the grid and what had to be said about it; raise `GeometryError` if refused."""
        return nifti_geometry(self.header, path=self.path, policy=policy)

    def array(self, policy: ReadPolicy) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Read one volume (z, y, x), verify the whole file, and return both array and notes."""
        index, notes = _volume_index(self, policy)
        raw, said = _read_voxels(self, index, policy)
        return _scaled(raw, self.header), (*notes, *said)


def is_nifti_name(name: str) -> bool:
    """Return whether a file is named like NIfTI."""
    return name.lower().endswith(_SUFFIXES)


def open_nifti(path: Path, *, policy: ReadPolicy) -> NiftiFile:
    """Read and check a header.

    Raises
    ------
    UnreadableVolumeError
        If it is no NIfTI, or promises what the file cannot hold.
    """
    header_path, data_path = _pair(path)
    with open_stream(header_path) as stream:
        start = stream.read(HEADER_2.itemsize)
    header = parse_header(start, path=header_path, policy=policy)
    if not header.separate:
        data_path = header_path
    with open_stream(data_path) as stream:
        compressed = stream.compressed
        available = stream.most_left() - header.data_offset
    check_size(header, path=data_path, available=available)
    notes = list(header.notes)
    if compressed != data_path.name.lower().endswith(".gz"):
        notes.append(f"is {'' if compressed else 'not '}gzipped, against its name")
    return NiftiFile(header_path, data_path, header, compressed, tuple(notes))


def read_nifti(path: Path, *, policy: ReadPolicy) -> Volume:
    """Read one volume with all bytes verified: checksum and length.

    Returns
    -------
    Volume
        Voxels in the stored type; where the header scales them, in an integer type if all scaled
        values are whole and slope and intercept too, otherwise float32, or float64 for types that
        float32 cannot hold.

    Raises
    ------
    UnreadableVolumeError, GeometryError
        If a byte is missing or damaged, or the header leaves the grid open.

    Notes
    -----
    Memory: the array, and 1 MiB for decompression; a scaled file also its stored numbers.
    """
    file = open_nifti(path, policy=policy)
    geometry, said = file.geometry(policy)
    array, told = file.array(policy)
    return Volume(array, geometry, (*file.notes, *said, *told))


def _pair(path: Path) -> tuple[Path, Path]:
    """Return header's and voxels' file of a name, the same unless it is one of a pair."""
    for one, other in ((".hdr", ".img"), (".img", ".hdr")):
        for gz in ("", ".gz"):
            if path.name.lower().endswith(one + gz):
                stem = path.name[: -len(one + gz)]
                candidates = [path.with_name(stem + other + end) for end in (gz, "", ".gz")]
                partner = next((c for c in candidates if c.exists()), candidates[0])
                return (path, partner) if one == ".hdr" else (partner, path)
    return path, path


def _volume_index(file: NiftiFile, policy: ReadPolicy) -> tuple[int, tuple[str, ...]]:
    volumes, index = file.header.volumes, policy.volume_index
    if volumes == 1 and index in (None, 0):
        return 0, ()
    if index is None:
        raise UnreadableVolumeError(
            file.path,
            "holds one volume",
            found=str(volumes),
            remedy=f"choose one with --volume K, 0 to {volumes - 1}",
            kind="volumes",
        )
    if index >= volumes:
        raise UnreadableVolumeError(
            file.path,
            f"has no volume {index}",
            found=f"{volumes} of them, from 0",
            kind="volumes",
        )
    return index, (f"volume {index} of {volumes}",)


def _read_voxels(
    file: NiftiFile, index: int, policy: ReadPolicy
) -> tuple[NDArray[Any], tuple[str, ...]]:
    header = file.header
    raw = np.empty(file.shape, header.dtype)
    with open_stream(file.data_path) as stream:
        _skip(stream, header.data_offset + index * header.volume_bytes)
        stream.read_into(raw.reshape(-1).view(np.uint8).data)
        _skip(stream, (header.volumes - 1 - index) * header.volume_bytes)
        extra = stream.finish(limit=0 if policy.strict else MAX_TAIL)
    if extra and policy.strict:
        raise UnreadableVolumeError(
            file.data_path,
            "ends with its voxels",
            found=f"{extra} bytes behind them",
            remedy="read without --strict to pass over them",
            kind="too-long",
        )
    if not raw.dtype.isnative:
        raw.byteswap(inplace=True)
    raw = raw.view(raw.dtype.newbyteorder("="))
    return raw, (f"{extra} bytes behind the voxels passed over",) if extra else ()


def _skip(stream: Stream, count: int) -> None:
    buffer = memoryview(bytearray(min(count, 1 << 20)))
    while count > 0:
        stream.read_into(buffer[: min(count, len(buffer))])
        count -= min(count, len(buffer))


def _float_for(dtype: np.dtype[Any]) -> np.dtype[Any]:
    wide = dtype.itemsize > 2 and dtype != np.float32
    return np.dtype(np.float64 if wide else np.float32)


def _scaled(raw: NDArray[Any], header: NiftiHeader) -> NDArray[Any]:
    """Apply slope and intercept in float64, as nibabel does, plane by plane."""
    if header.slope is None or header.intercept is None:
        return raw
    slope, intercept = header.slope, header.intercept
    target = _float_for(raw.dtype)
    if raw.dtype.kind in "iu" and slope.is_integer() and intercept.is_integer():
        ends = sorted(int(end) * int(slope) + int(intercept) for end in (raw.min(), raw.max()))
        fitting = [t for t in (np.int16, np.int32) if _holds(t, ends)]
        target = np.dtype(fitting[0]) if fitting else np.dtype(np.float64)
    result = np.empty(raw.shape, target)
    for source, into in zip(raw, result, strict=True):
        values = source.astype(np.float64)
        if slope != 1:
            values *= slope
        if intercept != 0:
            values += intercept
        into[...] = values
    return result


def _holds(dtype: Any, ends: list[int]) -> bool:
    limits = np.iinfo(dtype)
    return int(limits.min) <= ends[0] and ends[1] <= int(limits.max)
