"""Boxes of a voxel grid: cutting out, putting back, and bringing to a size.

Boxes are half open, ``start`` included and ``stop`` not, in array order (z, y, x).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.geometry import Geometry

__all__ = ["Box", "Fit", "fit_to_shape", "nonzero_box"]

Index3 = tuple[int, int, int]


@dataclass(frozen=True)
class Box:
    """A half-open box of voxels.

    Parameters
    ----------
    start, stop : (3,) int
        First voxel inside and first voxel behind, 0 <= start < stop.

    Raises
    ------
    ValueError
        If the box is empty or starts below 0.

    Examples
    --------
    >>> box = Box((0, 1, 1), (1, 3, 2))
    >>> box.shape
    (1, 2, 1)
    >>> a = np.arange(12).reshape(1, 4, 3)
    >>> box.extract(a).ravel().tolist()
    [4, 7]
    >>> box.insert(box.extract(a), (1, 4, 3), fill=-1).ravel().tolist()
    [-1, -1, -1, -1, 4, -1, -1, 7, -1, -1, -1, -1]
    """

    start: Index3
    stop: Index3

    def __post_init__(self) -> None:
        start, stop = _index(self.start, "start"), _index(self.stop, "stop")
        if min(start) < 0 or any(a >= b for a, b in zip(start, stop, strict=True)):
            raise ValueError(f"box needs 0 <= start < stop on every axis, got {start} to {stop}")
        object.__setattr__(self, "start", start)
        object.__setattr__(self, "stop", stop)

    @classmethod
    def whole(cls, shape: Sequence[int]) -> Box:
        """Return the box that holds a whole array of this shape."""
        return cls((0, 0, 0), _index(shape, "shape"))

    @property
    def shape(self) -> Index3:
        """Number of voxels along (z, y, x)."""
        z, y, x = (b - a for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The box as an index of a (z, y, x) array."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x

    def extract(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return a view of the box's voxels in a (..., z, y, x) array that holds it."""
        self._check_inside(array.shape[-3:])
        return array[(..., *self.slices)]

    def insert(self, array: NDArray[Any], shape: Sequence[int], fill: float = 0) -> NDArray[Any]:
        """Return an array of ``shape``, ``fill`` everywhere but in the box.

        Parameters
        ----------
        array : (z, y, x) array
            The box's voxels; its shape must be the box's.
        shape : (3,) int
            Size of the whole.
        fill : number
            In the array's type.
        """
        if array.shape != self.shape:
            raise ValueError(f"array must have the box's shape {self.shape}, got {array.shape}")
        self._check_inside(shape)
        whole = np.full(tuple(shape), fill, dtype=array.dtype)
        whole[self.slices] = array
        return whole

    def expanded(self, margin: int | Sequence[int], shape: Sequence[int]) -> Box:
        """Return the box grown by a margin in voxels on both sides, cut at the array's ends."""
        margins = (margin,) * 3 if isinstance(margin, int) else tuple(margin)
        start = tuple(max(0, a - m) for a, m in zip(self.start, margins, strict=True))
        stop = tuple(min(n, b + m) for b, m, n in zip(self.stop, margins, shape, strict=True))
        return Box(_index(start, "start"), _index(stop, "stop"))

    def crop_geometry(self, geometry: Geometry) -> Geometry:
        """Return the geometry of ``extract(array)``."""
        origin = geometry.world_from_index(self.start).tolist()
        return Geometry(geometry.spacing_mm, tuple(origin), geometry.direction)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; ``Box(**it)`` is the way back."""
        return {"start": list(self.start), "stop": list(self.stop)}

    def _check_inside(self, shape: Sequence[int]) -> None:
        if len(shape) != 3 or any(b > n for b, n in zip(self.stop, shape, strict=True)):
            raise ValueError(f"box {self.start} to {self.stop} leaves the array of {tuple(shape)}")


def nonzero_box(array: NDArray[Any]) -> Box:
    """Return the smallest box around all voxels that are not 0.

    Parameters
    ----------
    array : (z, y, x) or (c, z, y, x) array
        With channels, a voxel counts where any channel is not 0. NaN counts as not 0.

    Returns
    -------
    Box
        The whole array where every voxel is 0.

    Notes
    -----
    Filling holes cannot change a bounding box, so none are filled. Planes are looked at from
    the faces inward: an image without an empty border costs six planes, one that is all 0 one pass.

    Examples
    --------
    >>> a = np.zeros((4, 5, 6))
    >>> a[1, 2, 3] = a[2, 2, 5] = -1000
    >>> nonzero_box(a)
    Box(start=(1, 2, 3), stop=(3, 3, 6))
    """
    if array.ndim not in (3, 4):
        raise ValueError(f"array must be (z, y, x) or (c, z, y, x), got shape {array.shape}")
    view = array if array.ndim == 4 else array[None]
    start, stop = [0, 0, 0], list(view.shape[1:])
    for axis in range(3):
        planes = np.moveaxis(view, axis + 1, 0)
        occupied = (k for k in range(len(planes)) if planes[k].any())
        first = next(occupied, None)
        if first is None:
            return Box.whole(view.shape[1:])
        start[axis] = first
        stop[axis] = 1 + next(k for k in reversed(range(len(planes))) if planes[k].any())
        # The next axes need not look at what is already known to be empty.
        view = view[(slice(None),) * (axis + 1) + (slice(start[axis], stop[axis]),)]
    return Box(_index(start, "start"), _index(stop, "stop"))


@dataclass(frozen=True)
class Fit:
    """An array brought to another shape about its center, and how to go back.

    Parameters
    ----------
    source_shape, shape : (3,) int
        Before and after. Where an axis shrinks it is cut, where it grows it is padded; the odd
        voxel goes to the end.

    Examples
    --------
    >>> fit = Fit((1, 1, 3), (1, 1, 6))
    >>> fit.apply(np.array([[[1, 2, 3]]]), fill=0).ravel().tolist()
    [0, 1, 2, 3, 0, 0]
    >>> fit.undo(np.array([[[0, 1, 2, 3, 0, 0]]]), fill=0).ravel().tolist()
    [1, 2, 3]
    """

    source_shape: Index3
    shape: Index3

    def __post_init__(self) -> None:
        object.__setattr__(self, "source_shape", _index(self.source_shape, "source_shape"))
        object.__setattr__(self, "shape", _index(self.shape, "shape"))
        if min(self.source_shape + self.shape) < 1:
            raise ValueError(f"shapes must be positive, got {self.source_shape} to {self.shape}")

    @property
    def source_box(self) -> Box:
        """The voxels of the source that are kept."""
        return _middle(self.source_shape, self.shape)

    @property
    def box(self) -> Box:
        """Where they lie in the result."""
        return _middle(self.shape, self.source_shape)

    def apply(self, array: NDArray[Any], *, fill: float = 0) -> NDArray[Any]:
        """Return the (z, y, x) array cut and padded to ``shape``."""
        if array.shape != self.source_shape:
            raise ValueError(f"array must have shape {self.source_shape}, got {array.shape}")
        return self.box.insert(self.source_box.extract(array), self.shape, fill)

    def undo(self, array: NDArray[Any], *, fill: float = 0) -> NDArray[Any]:
        """Return an array of ``shape`` back on the source; what was cut away is ``fill``."""
        if array.shape != self.shape:
            raise ValueError(f"array must have shape {self.shape}, got {array.shape}")
        return self.source_box.insert(self.box.extract(array), self.source_shape, fill)


def fit_to_shape(array: NDArray[Any], shape: Sequence[int], *, fill: float = 0) -> NDArray[Any]:
    """Return the (z, y, x) array cut and padded about its center; `Fit` knows the way back.

    Examples
    --------
    >>> fit_to_shape(np.ones((2, 2, 2)), (1, 2, 4)).shape
    (1, 2, 4)
    """
    return Fit(_index(array.shape, "array"), _index(shape, "shape")).apply(array, fill=fill)


def _middle(outer: Index3, inner: Index3) -> Box:
    """Return the middle box of size ``inner`` in ``outer``, cut where it does not fit."""
    size = [min(a, b) for a, b in zip(outer, inner, strict=True)]
    start = [(n - k) // 2 for n, k in zip(outer, size, strict=True)]
    return Box(
        _index(start, "start"), _index([a + k for a, k in zip(start, size, strict=True)], "stop")
    )


def _index(values: Sequence[int], name: str) -> Index3:
    if len(values) != 3:
        raise ValueError(f"{name} must hold three numbers (z, y, x), got {tuple(values)}")
    z, y, x = (int(v) for v in values)
    return z, y, x
