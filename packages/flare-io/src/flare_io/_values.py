"""Voxel values that no reader should hand on without a word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.errors import LabelError, UnreadableVolumeError
from flare_io.policy import ReadPolicy

__all__ = [
    "check_thickness",
    "describe_not_hu",
    "image_values",
    "label_values",
    "narrowed",
    "smallest_unsigned",
]

_FEW_SLICES = 8
_LABEL_TOLERANCE = 1e-3
_LARGEST_LABEL = 65535
# An uncropped CT shows air, and no scanner writes anything below its padding.
_AIR_HU = -200


def check_thickness(
    shape: tuple[int, int, int], *, path: Path, policy: ReadPolicy
) -> tuple[str, ...]:
    """Refuse a single slice unless it is allowed; note a volume of few."""
    thinnest = min(shape)
    if thinnest == 1 and not policy.allow_thin:
        raise UnreadableVolumeError(
            path,
            "a volume needs more than one slice",
            found=f"{shape} (z, y, x)",
            remedy="say --allow-thin if that is meant",
            kind="thin",
        )
    if thinnest < _FEW_SLICES:
        return (f"only {thinnest} voxels along {'zyx'[shape.index(thinnest)]}",)
    return ()


def image_values(
    array: NDArray[Any], *, path: Path, policy: ReadPolicy
) -> tuple[NDArray[Any], tuple[str, ...]]:
    """Return an image's values, NaN and offset treated as the policy says, and notes.

    Raises
    ------
    UnreadableVolumeError
        If values are not finite, do not fit 32 bits, or cannot be HU where that is asked for.
    """
    array, notes = _finite(narrowed(array, path=path), path=path, nan_value=policy.nan_value)
    if policy.hu_offset is not None:
        array = _shifted(array, policy.hu_offset)
        notes = (*notes, f"{policy.hu_offset:g} added to all values as asked")
    strange = describe_not_hu(array)
    if strange is None:
        return array, notes
    rule, found, remedy = strange
    if policy.hu_check:
        raise UnreadableVolumeError(path, rule, found=found, remedy=remedy, kind="not-hu")
    return array, (*notes, f"{rule}, found {found}")


def describe_not_hu(array: NDArray[Any]) -> tuple[str, str, str] | None:
    """Return rule, finding and remedy where values cannot be Hounsfield units, else None.

    Examples
    --------
    >>> describe_not_hu(np.array([[[0, 1000, 2500]]]))[0]
    'values look unshifted, not like HU'
    >>> describe_not_hu(np.array([[[-1000, 0, 60]]])) is None
    True
    """
    low, high = float(array.min()), float(array.max())
    found = f"{low:g} to {high:g}"
    override = "say --assume-hu if they are HU"
    if high < 0:
        return "values cannot be HU: all are below water", found, override
    if low >= 0 and high <= 1:
        return "values cannot be HU: they look normalized to 0..1", found, override
    if low >= 0 and high <= 255:
        return "values cannot be HU: they look like 8-bit gray", found, override
    if low >= 0 and high > _AIR_HU + 1024:
        way_out = f"say --hu-offset -1024 if 0 is air, or {override.removeprefix('say ')}"
        return "values look unshifted, not like HU", found, way_out
    return None


def label_values(array: NDArray[Any], *, path: Path) -> NDArray[Any]:
    """Return labels in the smallest unsigned type that holds them.

    Raises
    ------
    LabelError
        If a value is negative, above 65535, or farther than 0.001 from a whole number.
    """
    if array.dtype.kind == "f":
        rounded = np.rint(array)
        # NaN, and infinity minus itself, compares false and is listed with the rest.
        with np.errstate(invalid="ignore"):
            wrong = ~(np.abs(array - rounded) <= _LABEL_TOLERANCE)
        _refuse_labels(array, wrong, "labels must be whole numbers within 0.001", path)
        array = rounded
    low, high = array.min(), array.max()
    if low < 0 or high > _LARGEST_LABEL:
        wrong = (array < 0) | (array > _LARGEST_LABEL)
        _refuse_labels(array, wrong, f"labels must lie in 0..{_LARGEST_LABEL}", path)
    return smallest_unsigned(array)


def smallest_unsigned(array: NDArray[Any]) -> NDArray[Any]:
    """Return whole numbers >= 0 as uint8 where they fit, else uint16 or uint32.

    Examples
    --------
    >>> smallest_unsigned(np.array([0, 255])).dtype, smallest_unsigned(np.array([256])).dtype
    (dtype('uint8'), dtype('uint16'))
    """
    if array.dtype == np.bool_:
        return array.view(np.uint8)
    return array.astype(np.min_scalar_type(int(array.max())), copy=False)


def narrowed(array: NDArray[Any], *, path: Path) -> NDArray[Any]:
    """Return 64-bit integers as int32, other arrays as they are.

    Raises
    ------
    UnreadableVolumeError
        If a value does not fit.
    """
    if array.dtype.kind not in "iu" or array.dtype.itemsize < 8:
        return array
    limits = np.iinfo(np.int32)
    low, high = int(array.min()), int(array.max())
    if low < limits.min or high > limits.max:
        raise UnreadableVolumeError(
            path,
            "64-bit values must fit 32 bits",
            found=f"{low} to {high}",
            remedy="store them as floating point",
            kind="dtype",
        )
    return array.astype(np.int32)


def _finite(
    array: NDArray[Any], *, path: Path, nan_value: float | None
) -> tuple[NDArray[Any], tuple[str, ...]]:
    if array.dtype.kind != "f":
        return array, ()
    # A sum is finite only if all terms are; it needs no array of its own. Overflow means a look.
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(array.sum()):
            return array, ()
    strange = ~np.isfinite(array)
    count = int(np.count_nonzero(strange))
    if count == 0:
        return array, ()
    first = tuple(int(k) for k in np.unravel_index(int(strange.argmax()), array.shape))
    found = f"{count} of {array.size} NaN or infinite, the first at {first} (z, y, x)"
    if count == array.size or nan_value is None:
        raise UnreadableVolumeError(
            path,
            "values must be finite",
            found=found,
            remedy="" if count == array.size else "say --nan=-1024 to replace them by air",
            kind="nan",
        )
    replaced = np.where(strange, array.dtype.type(nan_value), array)
    return replaced, (f"{found}: replaced by {nan_value:g} as asked",)


def _shifted(array: NDArray[Any], offset: float) -> NDArray[Any]:
    if array.dtype.kind == "f":
        return np.asarray(array + array.dtype.type(offset))
    if not float(offset).is_integer():
        return (array + np.float64(offset)).astype(np.float32)
    ends = [int(end) + int(offset) for end in (array.min(), array.max())]
    small = np.iinfo(np.int16)
    fits = small.min <= ends[0] and ends[1] <= small.max
    wide = array.astype(np.int64) + int(offset)
    return wide.astype(np.int16 if fits else np.int32)


def _refuse_labels(array: NDArray[Any], wrong: NDArray[np.bool_], rule: str, path: Path) -> None:
    if not wrong.any():
        return
    values, counts = np.unique(array[wrong], return_counts=True)
    listed = [
        f"{value:g} ({count} voxels)"
        for value, count in zip(values[:10].tolist(), counts[:10].tolist(), strict=True)
    ]
    raise LabelError(
        path,
        rule,
        found=", ".join(listed) + (" ..." if len(values) > 10 else ""),
        remedy="is it an image, not a label map?",
        kind="labels",
    )
