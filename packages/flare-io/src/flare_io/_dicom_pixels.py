"""Pixels of one slice as Hounsfield units.

Uncompressed data is taken from the file as it stands, every byte accounted for; compressed data
goes through SimpleITK. Rescaling is per slice: ``value * slope + intercept`` in float64, exact for
integral values.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from flare_io._dicom_header import SliceHeader
from flare_io.errors import UnreadableVolumeError

__all__ = ["check_pixels", "read_stack", "same_pixels", "stack_dtype"]


def check_pixels(header: SliceHeader) -> None:
    """Refuse a file whose pixels are missing, short, colored or many frames."""
    if header.pixels is None:
        raise UnreadableVolumeError(
            header.path,
            "must hold pixel data",
            found="none",
            remedy="copy the file again",
            kind="no-pixels",
        )
    rows, columns = header.matrix
    allocated, stored, high = header.bits
    if header.frames != 1:
        raise UnreadableVolumeError(
            header.path,
            "must be a single-frame image",
            found=f"{header.frames} frames",
            remedy="convert the enhanced image to one file a slice",
            kind="multi-frame",
        )
    if header.samples != 1 or header.photometric != "MONOCHROME2":
        raise UnreadableVolumeError(
            header.path,
            "must be a gray image (MONOCHROME2)",
            found=f"{header.photometric or 'nothing'}, {header.samples} samples a pixel",
            kind="color",
        )
    if (
        not rows
        or not columns
        or allocated not in (8, 16, 32)
        or not stored <= high + 1 <= allocated
    ):
        raise UnreadableVolumeError(
            header.path,
            "must state a matrix and 8, 16 or 32 bits a pixel",
            found=f"{rows} x {columns}, {allocated} bits, {stored} stored up to bit {high}",
            kind="dicom",
        )
    expected = rows * columns * allocated // 8
    if not header.pixels.encapsulated and header.pixels.length < expected:
        raise UnreadableVolumeError(
            header.path,
            "pixel data must be complete",
            found=f"{header.pixels.length} of {expected} bytes",
            remedy="copy the file again",
            kind="truncated",
        )


def same_pixels(header: SliceHeader, other: SliceHeader) -> bool:
    """Whether two files hold the same stored pixels with the same rescale, byte for byte."""
    alike = all(
        getattr(header, name) == getattr(other, name)
        for name in ("rescale", "matrix", "bits", "signed", "syntax")
    )
    return alike and _stored_bytes(header) == _stored_bytes(other)


def stack_dtype(headers: Sequence[SliceHeader]) -> np.dtype[np.int16] | np.dtype[np.float32]:
    """Return int16 where every slope and intercept is integral, float32 otherwise."""
    integral = all(value.is_integer() for header in headers for value in header.rescale)
    return np.dtype(np.int16) if integral else np.dtype(np.float32)


def read_stack(headers: Sequence[SliceHeader]) -> NDArray[np.int16 | np.int32 | np.float32]:
    """Return the (z, y, x) values of slices of one matrix, in the order given.

    int16 or float32 by `stack_dtype`; int32 in the rare case that integral values do not fit int16.
    """
    wanted = stack_dtype(headers)
    stack = np.empty((len(headers), *headers[0].matrix), dtype=wanted)
    for index, header in enumerate(headers):
        values = _values(header)
        if wanted == np.int16:
            values = np.rint(values)
            if stack.dtype == np.int16 and not _fits(values, np.int16):
                stack = stack.astype(np.int32)
            if not _fits(values, np.int32):
                raise UnreadableVolumeError(
                    header.path,
                    "values must fit 32-bit integers",
                    found=f"{values.min():g} to {values.max():g}",
                    kind="range",
                )
        stack[index] = values
    return stack


def _fits(values: NDArray[np.float64], dtype: type[np.int16 | np.int32]) -> bool:
    limits = np.iinfo(dtype)
    return bool(values.min() >= limits.min and values.max() <= limits.max)


def _values(header: SliceHeader) -> NDArray[np.float64]:
    extent = header.pixels
    if extent is not None and extent.encapsulated:
        from flare_io._sitk_dicom import decode_slice

        values = decode_slice(header.path)
        if values.shape != header.matrix:
            raise UnreadableVolumeError(
                header.path,
                f"decoded pixels must be {header.matrix[0]} x {header.matrix[1]}",
                found=" x ".join(map(str, values.shape)),
                kind="codec",
            )
        return values
    slope, intercept = header.rescale
    return np.asarray(_stored_values(header) * slope + intercept, dtype=np.float64)


def _stored_values(header: SliceHeader) -> NDArray[np.int64]:
    allocated, stored, high = header.bits
    rows, columns = header.matrix
    words = np.frombuffer(
        _stored_bytes(header), dtype=f"{header.byte_order}u{allocated // 8}", count=rows * columns
    )
    # Bits above the high bit may hold old overlays: they are no part of the value.
    values = words.astype(np.int64) >> (high + 1 - stored) & ((1 << stored) - 1)
    if header.signed:
        sign = 1 << (stored - 1)
        values = (values ^ sign) - sign
    return values.reshape(rows, columns)


def _stored_bytes(header: SliceHeader) -> bytes:
    assert header.pixels is not None, "check_pixels comes first"
    with header.path.open("rb") as file:
        file.seek(header.pixels.offset)
        data = file.read(header.pixels.length)
    if len(data) != header.pixels.length:
        raise UnreadableVolumeError(
            header.path,
            "file must not change while it is read",
            found=f"{len(data)} of {header.pixels.length} bytes",
            kind="truncated",
        )
    return data
