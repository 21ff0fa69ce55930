"""The fields of a NIfTI-1 or NIfTI-2 header, of either byte order, that voxels and grid need."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.errors import GridError, UnreadableFileError

HEADER_BYTES = 540
_DTYPES = {
    2: "u1",
    4: "i2",
    8: "i4",
    16: "f4",
    64: "f8",
    256: "i1",
    512: "u2",
    768: "u4",
    1024: "i8",
    1280: "u8",
}
_MM_PER_UNIT = {1: 1000.0, 3: 0.001}
# name: (count and type, offset) in NIfTI-1, the same in NIfTI-2
_FIELDS: dict[str, tuple[tuple[str, int], tuple[str, int]]] = {
    "dim": (("8i2", 40), ("8i8", 16)),
    "datatype": (("i2", 70), ("i2", 12)),
    "pixdim": (("8f4", 76), ("8f8", 104)),
    "vox_offset": (("f4", 108), ("i8", 168)),
    "scl_slope": (("f4", 112), ("f8", 176)),
    "scl_inter": (("f4", 116), ("f8", 184)),
    "xyzt_units": (("u1", 123), ("i4", 500)),
    "qform_code": (("i2", 252), ("i4", 344)),
    "sform_code": (("i2", 254), ("i4", 348)),
    "quatern": (("3f4", 256), ("3f8", 352)),
    "qoffset": (("3f4", 268), ("3f8", 376)),
    "srow": (("12f4", 280), ("12f8", 400)),
}


@dataclass(frozen=True, eq=False)
class NiftiHeader:
    """What a header says, unchecked where it concerns the grid only.

    Parameters
    ----------
    shape : (3,) int
        x, y, z.
    dtype : dtype
        With byte order.
    offset : int
        Bytes before the voxels.
    slope, intercept : float
        1 and 0 where the header does not scale.
    zooms : (3,) float
        x, y, z, in the header's unit.
    mm_per_unit : float
    affine : (4, 4) float array
        From (x, y, z, 1) to the world, in the header's unit.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    intercept: float
    zooms: tuple[float, float, float]
    mm_per_unit: float
    affine: NDArray[np.float64]


def parse_header(start: bytes, path: Path) -> NiftiHeader:
    """Return the header in the first bytes of a file, or refuse the file."""
    fields = _fields(start, path)
    code = int(fields["datatype"])
    if code not in _DTYPES:
        raise UnreadableFileError(
            path,
            "NIfTI header is wrong: voxels must be integers or real numbers",
            found=f"data type {code}",
            kind="corrupt",
        )
    order = fields.dtype["dim"].base.byteorder
    size = fields.dtype.itemsize
    stated = float(fields["vox_offset"])
    if not (math.isfinite(stated) and (stated == 0 or size <= stated < 1 << 31)):
        raise UnreadableFileError(
            path,
            "NIfTI header is wrong: voxels start behind it",
            found=f"{stated:g}",
            kind="corrupt",
        )
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    # Zero or no number stands for "not scaled".
    if not (math.isfinite(slope) and slope and math.isfinite(intercept)):
        slope, intercept = 1.0, 0.0
    x, y, z = (abs(float(zoom)) for zoom in fields["pixdim"][1:4])
    shape = _shape(fields["dim"], path)
    with np.errstate(all="ignore"):
        affine = _affine(fields, shape, (x, y, z))
    return NiftiHeader(
        shape=shape,
        dtype=np.dtype(_DTYPES[code]).newbyteorder(order),
        offset=int(stated) or size + 4,
        slope=slope,
        intercept=intercept,
        zooms=(x, y, z),
        mm_per_unit=_MM_PER_UNIT.get(int(fields["xyzt_units"]) & 7, 1.0),
        affine=affine,
    )


def _fields(start: bytes, path: Path) -> Any:
    """Return the header as a record, of the version and byte order that its first number tells."""
    for version, (size, magic_at, magic) in enumerate(((348, 344, b"n+1"), (540, 4, b"n+2"))):
        if start[magic_at : magic_at + 3] != magic or len(start) < size:
            continue
        for order in "<>":
            if int(np.frombuffer(start, f"{order}i4", 1)[0]) == size:
                return np.frombuffer(start, _record(version, order, size), 1)[0]
        raise UnreadableFileError(
            path, f"NIfTI header is wrong: it must say that it has {size} bytes", kind="corrupt"
        )
    raise UnreadableFileError(
        path, "not NIfTI", found=f"a file that starts with {start[:12]!r}", kind="format"
    )


def _record(version: int, order: str, size: int) -> np.dtype[Any]:
    kinds, offsets = zip(*(field[version] for field in _FIELDS.values()), strict=True)
    formats = [f"{kind[:-2]}{order}{kind[-2:]}" for kind in kinds]
    layout: Any = {"names": list(_FIELDS), "formats": formats, "offsets": offsets, "itemsize": size}
    record: np.dtype[Any] = np.dtype(layout)
    return record


def _shape(dim: NDArray[Any], path: Path) -> tuple[int, int, int]:
    axes = int(dim[0])
    stated = tuple(int(n) for n in dim[1 : 1 + min(max(axes, 0), 7)])
    if not stated or min(stated) < 1:
        raise GridError(path, "every axis must have voxels", found=str(stated))
    shape = stated + (1,) * (3 - len(stated))
    if any(n != 1 for n in shape[3:]) or not 2 <= axes <= 7:
        raise GridError(
            path,
            "a label map has three axes",
            found=str(stated),
            remedy="split it into single volumes",
        )
    return shape[0], shape[1], shape[2]


def _affine(
    fields: Any, shape: tuple[int, int, int], zooms: tuple[float, float, float]
) -> NDArray[np.float64]:
    """Return the sform, else the qform, else the centered grid that nibabel assumes."""
    affine = np.eye(4)
    if fields["sform_code"] > 0:
        affine[:3] = np.reshape(fields["srow"], (3, 4))
    elif fields["qform_code"] > 0:
        handed = np.array([1.0, 1.0, -1.0 if fields["pixdim"][0] < 0 else 1.0])
        affine[:3, :3] = _rotation(*map(float, fields["quatern"])) * (np.array(zooms) * handed)
        affine[:3, 3] = fields["qoffset"]
    else:
        scale = np.array(zooms) * (-1, 1, 1)
        affine[:3, :3] = np.diag(scale)
        affine[:3, 3] = -scale * (np.array(shape) - 1) / 2
    return affine


def _rotation(b: float, c: float, d: float) -> NDArray[np.float64]:
    """Return the rotation of the quaternion (a, b, c, d), a >= 0; NaN where it has none."""
    rest = 1.0 - (b * b + c * c + d * d)
    if not rest > -1e-5:
        return np.full((3, 3), np.nan)
    # Below float32's rounding the angle is a half turn.
    a = math.sqrt(rest) if rest > 1e-7 else 0.0
    a, b, c, d = (value / math.hypot(a, b, c, d) for value in (a, b, c, d))
    return np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - c * c - b * b],
        ]
    )
