"""Label maps written while their slabs are still being made."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from flare_io._nifti_writer import write_nifti_planes
from flare_io.geometry import Geometry

__all__ = ["write_label_slabs"]

Shape = tuple[int, int, int]
Slab = tuple[tuple[slice, slice, slice], NDArray[np.uint8]]


def write_label_slabs(
    slabs: Iterable[Slab],
    path: os.PathLike[str] | str,
    *,
    shape: Shape,
    geometry: Geometry,
) -> str:
    """Write a NIfTI label map slab by slab, with the bytes that `write_label_map` writes.

    Parameters
    ----------
    slabs : iterable of (place, labels)
        Where labels lie, as three slices, and a uint8 array of that shape, which must not change
        until the file is written. Slabs come from the first plane to the last; what none covers is
        0.
    path : path
        Ends in ``.nii`` or ``.nii.gz``. Its folder must exist.
    shape : (3,) int
        Of the label map, (z, y, x).
    geometry : Geometry

    Returns
    -------
    str
        SHA-256 of the file.

    Raises
    ------
    ValueError
        For another ending, other types, or slabs that do not lie behind one another.
    OSError
        Whatever the disk says; nothing is left behind, nor where ``slabs`` raises.

    Notes
    -----
    Memory: 4 MiB and the slabs that lie within them.

    Examples
    --------
    >>> import tempfile
    >>> from flare_io.files import read_label_map
    >>> path = Path(tempfile.mkdtemp()) / "labels.nii.gz"
    >>> whole = slice(None)
    >>> slabs = [((slice(2, 4), whole, whole), np.full((2, 8, 8), 3, np.uint8))]
    >>> digest = write_label_slabs(slabs, path, shape=(5, 8, 8), geometry=Geometry((2.0, 1.0, 1.0)))
    >>> read_label_map(path).array[:, 0, 0].tolist(), len(digest)
    ([0, 0, 3, 3, 0], 64)
    """
    return write_nifti_planes(_planes(slabs, shape), Path(path), shape=shape, geometry=geometry)


def _planes(slabs: Iterable[Slab], shape: Shape) -> Iterator[NDArray[np.uint8]]:
    """Yield every plane of the label map, from the first to the last."""
    empty = np.zeros(shape[1:], np.uint8)
    done = 0
    for place, labels in slabs:
        first, last, _ = place[0].indices(shape[0])
        if first < done or last - first != len(labels):
            raise ValueError(
                f"slabs must lie behind one another, got planes {first} to {last} in an array of "
                f"{len(labels)} behind plane {done}"
            )
        if labels.dtype != np.uint8:
            raise ValueError(f"slabs must be uint8, got {labels.dtype}")
        yield from (empty for _ in range(done, first))
        yield from (_spread(plane, place[1:], empty) for plane in labels)
        done = last
    yield from (empty for _ in range(done, shape[0]))


def _spread(
    labels: NDArray[np.uint8], place: tuple[slice, slice], empty: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    if labels.shape == empty.shape:
        return labels
    plane = empty.copy()
    plane[place] = labels
    return plane
