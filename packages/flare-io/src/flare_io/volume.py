"""The object that crosses every wall: a voxel array and where it lies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.errors import GeometryError
from flare_io.geometry import AxisOrder, Geometry, canonical_axis_order, describe_grid_difference

__all__ = ["Volume", "require_same_grid", "to_canonical"]


@dataclass(frozen=True, eq=False)
class Volume:
    """A (z, y, x) array and its geometry.

    Parameters
    ----------
    array : (z, y, x) array
        CT in Hounsfield units or integer labels. Kept as a read-only view, not copied.
    geometry : Geometry
        Spacing, origin and direction in array order.
    notes : tuple of str, optional
        What the reader repaired or found remarkable, for reports.

    Raises
    ------
    ValueError
        If the array is not three-dimensional or has no voxels.

    Examples
    --------
    >>> ct = Volume(np.zeros((4, 8, 8), np.int16), Geometry((5.0, 0.8, 0.8)))
    >>> ct.shape
    (4, 8, 8)
    """

    array: NDArray[Any]
    geometry: Geometry
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        view = np.asarray(self.array).view()
        if view.ndim != 3 or view.size == 0:
            raise ValueError(f"array must be (z, y, x) with voxels, got shape {view.shape}")
        view.flags.writeable = False
        object.__setattr__(self, "array", view)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along (z, y, x)."""
        z, y, x = self.array.shape
        return z, y, x

    def with_array(self, array: NDArray[Any]) -> Volume:
        """Return another array on the same grid; the shapes must be equal."""
        if array.shape != self.shape:
            raise ValueError(f"array must have shape {self.shape}, got {array.shape}")
        return replace(self, array=array)

    def reordered(self, order: AxisOrder) -> Volume:
        """Return the same voxels in the same places, with array axes in another order."""
        geometry = order.apply_geometry(self.geometry, self.shape)
        return replace(self, array=order.apply(self.array), geometry=geometry)


def to_canonical(volume: Volume) -> tuple[Volume, AxisOrder]:
    """Bring a volume to S, P, L axes; ``order.undo(array)`` is the exact way back.

    No voxel is copied or interpolated: an oblique scan keeps its small angle.

    Examples
    --------
    >>> flipped = Geometry((1.0, 1.0, 1.0), direction=((-1, 0, 0), (0, 1, 0), (0, 0, 1)))
    >>> canonical, order = to_canonical(Volume(np.arange(2).reshape(2, 1, 1), flipped))
    >>> canonical.array.ravel().tolist(), canonical.geometry.axis_codes
    ([1, 0], 'SPL')
    """
    order = canonical_axis_order(volume.geometry)
    return volume.reordered(order), order


def require_same_grid(volume: Volume, reference: Volume, *, name: str) -> None:
    """Raise `GeometryError` unless two volumes' voxels lie in the same places in the same order.

    Examples
    --------
    >>> grid = Geometry((1.0, 1.0, 1.0))
    >>> one, two = (Volume(np.zeros((n, 4, 4)), grid) for n in (4, 5))
    >>> require_same_grid(one, two, name="labels")
    Traceback (most recent call last):
        ...
    flare_io.errors.GeometryError: labels: must lie on the image's grid, found shape ...
    """
    difference = describe_grid_difference(
        volume.geometry, volume.shape, reference.geometry, reference.shape
    )
    if difference is not None:
        raise GeometryError(
            name,
            "must lie on the image's grid",
            found=difference,
            remedy="resample it to that grid",
            kind="grid",
        )
