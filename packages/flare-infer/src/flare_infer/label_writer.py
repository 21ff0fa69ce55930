"""A label map's file, written in a thread while the network works on later slabs."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.geometry import Geometry, canonical_axis_order
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume

__all__ = ["LabelWriter", "file_sha256", "run_along_file"]

Place = tuple[slice, slice, slice]


class LabelWriter:
    """Writes one label map; a context, behind which no thread and no half file is left.

    Parameters
    ----------
    path : Path
        The final name; nothing lies there before `finish` returns.
    shape : (3,) int
        Of the label map.
    geometry : Geometry
    along : bool
        Whether slabs come in the order of the file, see `run_along_file`. They are then written as
        they come where the format allows it: NIfTI, uint8.
    """

    def __init__(
        self, path: Path, *, shape: tuple[int, int, int], geometry: Geometry, along: bool
    ) -> None:
        self._path, self._shape, self._geometry = path, shape, geometry
        self._along = along and path.name.lower().endswith((".nii", ".nii.gz"))
        self._slabs: SimpleQueue[tuple[Place, NDArray[Any]] | None] = SimpleQueue()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="flare-infer-write")
        self._written: Future[str] | None = None
        self._complete = False

    def __enter__(self) -> LabelWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Give up what is not finished."""
        self._slabs.put(None)
        self._thread.shutdown()

    def put(self, place: Place, labels: NDArray[Any]) -> None:
        """Take a slab; the `on_slab` of a prediction."""
        if not self._along or labels.dtype != np.uint8:
            return
        if self._written is None:
            self._written = self._thread.submit(self._write)
        self._slabs.put((place, labels))

    def finish(self, labels: Volume) -> str:
        """Bring the file to its end, or write it whole; return its SHA-256.

        Raises
        ------
        OSError
            Whatever the disk says, at whichever slab.
        """
        from flare_io.files import write_label_map

        if self._written is None:
            write_label_map(labels, self._path)
            return file_sha256(self._path)
        self._complete = True
        self._slabs.put(None)
        return self._written.result()

    def _write(self) -> str:
        from flare_io.label_slabs import write_label_slabs

        return write_label_slabs(
            self._taken(), self._path, shape=self._shape, geometry=self._geometry
        )

    def _taken(self) -> Iterator[tuple[Place, NDArray[Any]]]:
        while (slab := self._slabs.get()) is not None:
            yield slab
        if not self._complete:
            # Raised inside of the write, it takes the temporary file away.
            raise InterruptedError(f"{self._path}: given up")


def run_along_file(preprocessing: Preprocessing, geometry: Geometry) -> bool:
    """Return whether a model sees the planes of a volume in the order in which files hold them."""
    axis = preprocessing.transpose[0]
    if preprocessing.axes != "canonical":
        return axis == 0
    order = canonical_axis_order(geometry)
    return order.permutation[axis] == 0 and not order.flips[axis]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
