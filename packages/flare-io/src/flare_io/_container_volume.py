"""Volumes in NRRD and MetaImage files: verified here, read and written by SimpleITK."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io._container import Container, read_container, verify_data
from flare_io.atomic import replacing
from flare_io.errors import GeometryError, UnreadableVolumeError
from flare_io.geometry import Geometry, describe_grid_difference
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

__all__ = ["ContainerFile", "open_container", "write_container"]


@dataclass(frozen=True, eq=False)
class ContainerFile:
    """An NRRD or MetaImage file whose header has been accepted."""

    path: Path
    container: Container
    notes: tuple[str, ...] = ()

    @property
    def format(self) -> str:
        """Such as ``"NRRD, gzip"``."""
        packed = "" if self.container.encoding == "raw" else f", {self.container.encoding}"
        return self.container.format + packed

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        x, y, z = self.container.sizes[:3]
        return z, y, x

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored numbers."""
        from flare_io._sitk import read_information

        return read_information(self.path)[1]

    def geometry(self, policy: ReadPolicy) -> tuple[Geometry, tuple[str, ...]]:
        """Return the grid and what had to be said about it; raise `GeometryError` if refused."""
        from flare_io._sitk import read_information

        if not self.container.spaced:
            raise GeometryError(
                self.path, "states no spacing", remedy="export it again", kind="spacing"
            )
        if not self.container.oriented and policy.assume_orientation is None:
            raise GeometryError(
                self.path,
                "states no orientation",
                remedy="say where its x, y, z axes run, such as --assume-orientation LPS",
                kind="orientation",
            )
        geometry, note = read_information(self.path)[2:]
        if not self.container.oriented:
            assumed = Geometry.from_axis_letters(
                str(policy.assume_orientation), spacing_mm=geometry.spacing_mm
            )
            return assumed, (f"orientation {policy.assume_orientation} assumed as asked, origin 0",)
        return geometry, (note,) if note else ()

    def array(self, policy: ReadPolicy) -> tuple[NDArray[Any], tuple[str, ...]]:
        """Verify the data, read one volume (z, y, x), and return both array and notes."""
        from flare_io._sitk import read_image

        volumes = math.prod(self.container.sizes[3:])
        index = policy.volume_index
        if volumes > 1 and index is None:
            raise UnreadableVolumeError(
                self.path,
                "holds one volume",
                found=str(volumes),
                remedy=f"choose one with --volume K, 0 to {volumes - 1}",
                kind="volumes",
            )
        if index is not None and index >= volumes:
            raise UnreadableVolumeError(
                self.path, f"has no volume {index}", found=f"{volumes}, from 0", kind="volumes"
            )
        notes = verify_data(self.container, policy=policy)
        array = read_image(self.path).reshape(volumes, *self.shape)[index or 0]
        return array, notes if volumes == 1 else (*notes, f"volume {index} of {volumes}")


def open_container(path: Path, *, policy: ReadPolicy) -> ContainerFile:
    """Read and check the header of an NRRD or MetaImage file."""
    return ContainerFile(path, read_container(path, policy=policy))


def write_container(volume: Volume, path: Path) -> None:
    """Write ``.nrrd`` or ``.mha``, compressed, and read it back before it gets its name."""
    from flare_io._sitk import read_image, read_information, write_image

    def verify(temporary: Path) -> None:
        verify_data(read_container(temporary, policy=ReadPolicy()), policy=ReadPolicy(strict=True))
        shape, _, geometry, _ = read_information(temporary)
        apart = describe_grid_difference(volume.geometry, volume.shape, geometry, shape)
        if apart or not np.array_equal(
            read_image(temporary), volume.array, equal_nan=_float(volume)
        ):
            raise UnreadableVolumeError(
                path,
                "does not hold what was written to it",
                found=apart or "other values",
                remedy="check the disk",
                kind="corrupt",
            )

    with replacing(path, verify=verify) as temporary:
        write_image(volume, temporary)


def _float(volume: Volume) -> bool:
    return bool(volume.array.dtype.kind == "f")
