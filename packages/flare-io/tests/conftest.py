"""Files made byte by byte, independent of the code that reads them."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest

CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024}
# Offset and form of each field of the NIfTI-1 header, from nifti1.h.
FIELDS = {
    "sizeof_hdr": (0, "i"),
    "dim": (40, "8h"),
    "datatype": (70, "h"),
    "bitpix": (72, "h"),
    "pixdim": (76, "8f"),
    "vox_offset": (108, "f"),
    "scl_slope": (112, "f"),
    "scl_inter": (116, "f"),
    "xyzt_units": (123, "B"),
    "qform_code": (252, "h"),
    "sform_code": (254, "h"),
    "quatern": (256, "3f"),
    "qoffset": (268, "3f"),
    "srow": (280, "12f"),
    "magic": (344, "4s"),
}


def header_1(array: np.ndarray, order: str = "<", **changes: object) -> bytes:
    """Return 352 bytes for a (z, y, x) array with 2 x 0.8 x 0.7 mm voxels and axes x to R."""
    sizes = array.shape[::-1]
    values: dict[str, object] = {
        "sizeof_hdr": 348,
        "dim": (len(sizes), *sizes) + (1,) * (7 - len(sizes)),
        "datatype": CODES[array.dtype.str[1:]],
        "bitpix": array.dtype.itemsize * 8,
        "pixdim": (1.0, 0.7, 0.8, 2.0, 0, 0, 0, 0),
        "vox_offset": 352.0,
        "scl_slope": 1.0,
        "xyzt_units": 2,
        "sform_code": 1,
        "srow": (0.7, 0, 0, -10, 0, 0.8, 0, -20, 0, 0, 2, 30),
        "magic": b"n+1",
        **changes,
    }
    data = bytearray(352)
    for name, value in values.items():
        offset, form = FIELDS[name]
        struct.pack_into(
            order + form, data, offset, *(value if isinstance(value, tuple) else (value,))
        )
    return bytes(data)


def nifti_bytes(array: np.ndarray, order: str = "<", **changes: object) -> bytes:
    """Return a whole NIfTI-1 file; keywords replace header fields."""
    return (
        header_1(array, order, **changes) + array.astype(array.dtype.newbyteorder(order)).tobytes()
    )


def ct_array(shape: tuple[int, ...] = (9, 10, 11), seed: int = 0) -> np.ndarray:
    """Return int16 values from air to bone, no two files alike."""
    return np.random.default_rng(seed).integers(-1000, 1500, shape, dtype=np.int16)


class Maker:
    """Writes files into a test's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def raw(self, data: bytes, name: str = "case.nii") -> Path:
        path = self.folder / name
        path.write_bytes(data)
        return path

    def nifti(
        self, array: np.ndarray | None = None, name: str = "case.nii.gz", **changes: object
    ) -> Path:
        data = nifti_bytes(ct_array() if array is None else array, **changes)
        return self.raw(gzip.compress(data, 1, mtime=0) if name.endswith(".gz") else data, name)


@pytest.fixture
def make(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture
def real_ct() -> Path:
    """Return the folder of real CT, if this checkout has it beside it."""
    folder = Path(__file__).parents[4] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no real CT: ../shared/data is absent")
    return folder
