"""The header of a NIfTI-1 or NIfTI-2 file, of either byte order, checked before anything is sized.

One table per version names the fields that matter; the rest of the header is passed over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flare_io.errors import UnreadableVolumeError
from flare_io.policy import ReadPolicy

__all__ = ["DTYPES", "HEADER_1", "HEADER_2", "NiftiHeader", "check_size", "parse_header"]

DTYPES: dict[int, np.dtype[Any]] = {
    2: np.dtype(np.uint8),
    4: np.dtype(np.int16),
    8: np.dtype(np.int32),
    16: np.dtype(np.float32),
    64: np.dtype(np.float64),
    256: np.dtype(np.int8),
    512: np.dtype(np.uint16),
    768: np.dtype(np.uint32),
    1024: np.dtype(np.int64),
    1280: np.dtype(np.uint64),
}
"""Data type codes of the standard that hold one real number per voxel."""

_NOT_ONE_NUMBER = {
    1: "single bits",
    32: "complex numbers",
    1792: "complex numbers",
    2048: "complex numbers",
    128: "RGB colors",
    2304: "RGBA colors",
    1536: "128-bit numbers",
}


def _table(size: int, **fields: tuple[str, int]) -> np.dtype[Any]:
    """Return a little-endian structure of named fields at byte offsets."""
    return np.dtype(
        {
            "names": list(fields),
            "formats": [form for form, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": size,
        }
    )


HEADER_1 = _table(
    348,
    sizeof_hdr=("<i4", 0),
    dim=("<8i2", 40),
    datatype=("<i2", 70),
    bitpix=("<i2", 72),
    pixdim=("<8f4", 76),
    vox_offset=("<f4", 108),
    scl_slope=("<f4", 112),
    scl_inter=("<f4", 116),
    xyzt_units=("u1", 123),
    qform_code=("<i2", 252),
    sform_code=("<i2", 254),
    quaternion=("<3f4", 256),
    qoffset=("<3f4", 268),
    srow=("<(3,4)f4", 280),
    magic=("S4", 344),
)
HEADER_2 = _table(
    540,
    sizeof_hdr=("<i4", 0),
    magic=("S8", 4),
    datatype=("<i2", 12),
    bitpix=("<i2", 14),
    dim=("<8i8", 16),
    pixdim=("<8f8", 104),
    vox_offset=("<i8", 168),
    scl_slope=("<f8", 176),
    scl_inter=("<f8", 184),
    qform_code=("<i4", 344),
    sform_code=("<i4", 348),
    quaternion=("<3f8", 352),
    qoffset=("<3f8", 376),
    srow=("<(3,4)f8", 400),
    xyzt_units=("<i4", 500),
)


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """The fields of a NIfTI header that say what the voxels are and where they lie.

    Parameters
    ----------
    version : {1, 2}
        Of the standard.
    separate : bool
        Whether the voxels are in an ``.img`` file beside the header.
    shape : (3,) int
        Voxels along the file's x, y, z.
    volumes : int
        Number of volumes, 1 unless the file is 4-D.
    dtype : dtype
        Of the stored numbers, byte order included.
    data_offset : int
        Bytes in front of the voxels.
    slope, intercept : float or None
        Of the stored numbers to values; None where the standard says "not scaled".
    pixdim : (8,) float array
        As stored.
    unit : int
        The space part of ``xyzt_units``.
    qform_code, sform_code : int
        Whether each transform holds.
    quaternion, qoffset : (3,) float array
        The qform.
    srow : (3, 4) float array
        The sform.
    notes : tuple of str
        What is odd and harmless.
    """

    version: Literal[1, 2]
    separate: bool
    shape: tuple[int, int, int]
    volumes: int
    dtype: np.dtype[Any]
    data_offset: int
    slope: float | None
    intercept: float | None
    pixdim: NDArray[np.float64]
    unit: int
    qform_code: int
    sform_code: int
    quaternion: NDArray[np.float64]
    qoffset: NDArray[np.float64]
    srow: NDArray[np.float64]
    notes: tuple[str, ...] = ()

    @property
    def volume_bytes(self) -> int:
        """Bytes of one volume."""
        return math.prod(self.shape) * self.dtype.itemsize


def parse_header(start: bytes, *, path: Path, policy: ReadPolicy) -> NiftiHeader:
    """Check a file's first bytes and return its header.

    Parameters
    ----------
    start : bytes
        At least the first 540 bytes, or the whole file where it is shorter.
    path : Path
        For messages.
    policy : ReadPolicy
        ``max_voxels`` and ``strict`` count here.

    Raises
    ------
    UnreadableVolumeError
        If it is no NIfTI, or dimensions or data type are not those of one real volume.
    """
    fields = _fields(start, path)
    version: Literal[1, 2] = 1 if fields.dtype.itemsize == HEADER_1.itemsize else 2
    magic = bytes(fields["magic"])[:3]
    if magic not in ((b"n+1", b"ni1"), (b"n+2", b"ni2"))[version - 1]:
        raise UnreadableVolumeError(
            path,
            "not NIfTI: the magic word is missing",
            found=repr(bytes(fields["magic"])),
            remedy="convert it from Analyze 7.5, which does not say left from right",
            kind="format",
        )
    shape, volumes = _shape(fields["dim"], path, policy)
    dtype, notes = _dtype(fields, path)
    slope, intercept = _scaling(fields, path)
    return NiftiHeader(
        version=version,
        separate=magic[1:2] == b"i",
        shape=shape,
        volumes=volumes,
        dtype=dtype,
        data_offset=_offset(fields, magic, path),
        slope=slope,
        intercept=intercept,
        pixdim=fields["pixdim"].astype(np.float64),
        unit=int(fields["xyzt_units"]) & 7,
        qform_code=int(fields["qform_code"]),
        sform_code=int(fields["sform_code"]),
        quaternion=fields["quaternion"].astype(np.float64),
        qoffset=fields["qoffset"].astype(np.float64),
        srow=fields["srow"].astype(np.float64),
        notes=notes,
    )


def check_size(header: NiftiHeader, *, path: Path, available: int) -> None:
    """Refuse a header that promises more than the file can hold, before memory is asked for."""
    promised = header.volume_bytes * header.volumes
    if promised > available:
        raise UnreadableVolumeError(
            path,
            f"ends early: {header.shape[::-1]} (z, y, x) voxels need {promised} bytes",
            found=f"room for at most {max(available, 0)}",
            remedy="copy or export it again",
            kind="truncated",
        )


def _fields(start: bytes, path: Path) -> Any:
    for table in (HEADER_1, HEADER_2):
        for order in ("<", ">"):
            ordered = table.newbyteorder(order)
            size = int(np.frombuffer(start[:4], f"{order}i4")[0]) if len(start) >= 4 else 0
            if size == table.itemsize:
                if len(start) < table.itemsize:
                    raise UnreadableVolumeError(
                        path,
                        f"ends early: its header has {table.itemsize} bytes",
                        found=str(len(start)),
                        remedy="copy or export it again",
                        kind="truncated",
                    )
                return np.frombuffer(start[: table.itemsize], ordered)[0]
    found = f"a file that starts with {start[:16]!r}" if start else "an empty file"
    raise UnreadableVolumeError(
        path,
        "not NIfTI",
        found=found,
        remedy="name a .nii, .nii.gz, .nrrd or .mha file, or a DICOM folder",
        kind="empty" if not start else "format",
    )


def _shape(dim: NDArray[Any], path: Path, policy: ReadPolicy) -> tuple[tuple[int, int, int], int]:
    axes = int(dim[0])
    sizes = [int(n) for n in dim[1 : 1 + max(0, min(axes, 7))]]
    if not 1 <= axes <= 7 or min(sizes) < 1:
        raise UnreadableVolumeError(
            path,
            "dimensions must be positive, 1 to 7 of them",
            found=f"{axes} dimensions {tuple(sizes)} (x, y, z)",
            kind="dimensions",
        )
    if axes < 3:
        raise UnreadableVolumeError(
            path,
            "a volume has three axes",
            found=f"{axes}-D, {tuple(sizes)} (x, y)",
            remedy="stack the slices to a volume",
            kind="dimensions",
        )
    if math.prod(sizes) > policy.max_voxels:
        raise UnreadableVolumeError(
            path,
            f"may hold at most {policy.max_voxels} voxels",
            found=" x ".join(map(str, sizes)),
            remedy="raise --max-voxels if that is meant",
            kind="too-large",
        )
    x, y, z = sizes[:3]
    return (x, y, z), math.prod(sizes[3:])


def _dtype(fields: Any, path: Path) -> tuple[np.dtype[Any], tuple[str, ...]]:
    code, bits = int(fields["datatype"]), int(fields["bitpix"])
    if code not in DTYPES:
        raise UnreadableVolumeError(
            path,
            "voxels must be real numbers",
            found=f"{_NOT_ONE_NUMBER.get(code, 'an unknown type')} (data type {code})",
            remedy="export one channel or the magnitude",
            kind="dtype",
        )
    little = fields.dtype["dim"].base.byteorder in "<="
    dtype = DTYPES[code].newbyteorder("<" if little else ">")
    if bits == dtype.itemsize * 8:
        return dtype, ()
    return dtype, (f"header says {bits} bits per voxel, {DTYPES[code]} has {dtype.itemsize * 8}",)


def _scaling(fields: Any, path: Path) -> tuple[float | None, float | None]:
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope == 0 or not math.isfinite(slope):
        return None, None
    if not math.isfinite(intercept):
        raise UnreadableVolumeError(
            path,
            "scl_inter must be finite where scl_slope holds",
            found=f"slope {slope:g}, intercept {intercept}",
            kind="scaling",
        )
    return (None, None) if (slope, intercept) == (1.0, 0.0) else (slope, intercept)


def _offset(fields: Any, magic: bytes, path: Path) -> int:
    stated = float(fields["vox_offset"])
    least = 0 if magic[1:2] == b"i" else fields.dtype.itemsize
    if math.isfinite(stated) and stated == int(stated) and least <= stated < 2**40:
        return int(stated)
    if stated == 0:
        # Some writers leave 0; the standard's smallest value is meant.
        return int(fields.dtype.itemsize) + 4
    raise UnreadableVolumeError(
        path,
        f"vox_offset must be a whole number >= {least}",
        found=f"{stated:g}",
        kind="corrupt",
    )
