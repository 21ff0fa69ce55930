"""Label maps from files: integers on a grid."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flare_metrics.casts import cast_labels
from flare_metrics.errors import LabelError, UnreadableFileError
from flare_metrics.grid import Grid
from flare_metrics.nifti import read_nifti

__all__ = ["LABEL_MAP_SUFFIXES", "LabelMap", "case_name", "read_label_map"]

_NIFTI_SUFFIXES = (".nii.gz", ".nii")
_OTHER_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
LABEL_MAP_SUFFIXES = _NIFTI_SUFFIXES + _OTHER_SUFFIXES
# Resampled exports hold 0.99999 where 1 was meant.
_ROUNDING = 1e-3


@dataclass(frozen=True, eq=False)
class LabelMap:
    """Integer labels and their grid.

    Parameters
    ----------
    array : (z, y, x) integer array
        In the file's axis order, reversed.
    grid : Grid
    """

    array: NDArray[Any]
    grid: Grid

    def with_z_first(self) -> LabelMap:
        """Return the same labels with the axis nearest to superior-inferior in front.

        No voxel is moved; scores do not depend on the direction in which an axis runs.
        """
        z = self.grid.z_axis
        order = [z, *(axis for axis in range(3) if axis != z)]
        if z == 0:
            return self
        array = self.array.transpose(order)
        spacing = tuple(self.grid.spacing_mm[axis] for axis in order)
        affine = self.grid.affine[:, [*order, 3]]
        return LabelMap(array, Grid(array.shape, spacing, affine))  # type: ignore[arg-type]  # 3 axes


def case_name(path: str | os.PathLike[str]) -> str | None:
    """Return the case that a file name stands for, None where it is no label map.

    Examples
    --------
    >>> case_name("out/FLARE23Ts_0001.nii.gz"), case_name("notes.txt")
    ('FLARE23Ts_0001', None)
    """
    name = Path(path).name
    for suffix in LABEL_MAP_SUFFIXES:
        if name.lower().endswith(suffix) and len(name) > len(suffix) and not name.startswith("."):
            return name[: -len(suffix)]
    return None


def read_label_map(
    path: str | os.PathLike[str],
    *,
    cast: Literal["none", "uint8", "int8"] = "none",
    zooms_only: bool = False,
) -> LabelMap:
    """Read a label map, verified to its last byte.

    Parameters
    ----------
    path : path
        ``.nii``, ``.nii.gz``; with the extra ``formats`` also ``.mha``, ``.mhd``, ``.nrrd``,
        ``.nhdr``.
    cast : {"none", "uint8", "int8"}
        Take any value and cast it to 8 bits; see `cast_labels`.
    zooms_only : bool
        Take the spacing from the zooms of a NIfTI header as millimeters, and ignore its unit and
        its affine, which may then be wrong.

    Returns
    -------
    LabelMap
        Without a cast, values that lie within 1e-3 of an integer are rounded to it.

    Raises
    ------
    UnreadableFileError
        If the file cannot be read whole.
    GridError
        If it has not three axes, or no sensible spacing.
    LabelError
        If values are no integers.
    ImportError
        If the format needs the extra.
    """
    path = Path(path)
    name = path.name.lower()
    if name.endswith(_NIFTI_SUFFIXES):
        array, grid = read_nifti(path, zooms_only=zooms_only)
    elif name.endswith(_OTHER_SUFFIXES):
        from flare_metrics._sitk import read_with_sitk

        array, grid = read_with_sitk(path)
    else:
        raise UnreadableFileError(
            path, f"a label map must be one of {' '.join(LABEL_MAP_SUFFIXES)}", kind="format"
        )
    if cast == "none":
        return LabelMap(_integers(array, path), grid)
    return LabelMap(cast_labels(array, cast), grid)


def _integers(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if np.issubdtype(array.dtype, np.integer):
        return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind != "f":
        raise LabelError(path, "labels must be integers", found=str(array.dtype), kind="not-labels")
    low, high = _range(array, path)
    if low < -(2**31) or high >= 2**31:
        raise LabelError(
            path, "labels must fit 32 bits", found=f"{low:g} to {high:g}", kind="not-labels"
        )
    labels = np.empty(array.shape, np.uint8 if low >= 0 and high < 256 else np.int32)
    for k, part in enumerate(array):
        labels[k] = np.rint(part)
    return labels


def _range(array: NDArray[Any], path: Path) -> tuple[float, float]:
    """Return the lowest and highest of almost-integers; slice by slice, as floats are large."""
    low, high, wrong, example = np.inf, -np.inf, 0, 0.0
    for part in array:
        with np.errstate(invalid="ignore"):
            whole = part.astype(np.int32)
        if (whole == part).all():
            low, high = min(low, whole.min()), max(high, whole.max())
            continue
        rounded = np.rint(part)
        with np.errstate(invalid="ignore"):
            off = ~(np.abs(part - rounded) <= _ROUNDING)
        if off.any():
            wrong, example = wrong + int(off.sum()), part[off].flat[0]
        low, high = min(low, rounded.min()), max(high, rounded.max())
    if wrong:
        raise LabelError(
            path,
            "labels must be integers",
            found=f"{wrong} other values such as {example:.6g}",
            remedy="export label maps, not probabilities",
            kind="not-labels",
        )
    return float(low), float(high)
