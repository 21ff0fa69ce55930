"""Preprocessed cases on disk: blosc2 arrays and one JSON sidecar each, safe against a kill.

``DIR/<case>.image.b2nd`` (c, z, y, x) float16, ``.labels.b2nd`` (z, y, x) uint8, ``.voxels.b2nd``
(n, 3) uint16 with up to 10 000 voxels of every label, and ``<case>.json``, which is written last: a
case without a sidecar of the right key is not there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from flare_io.atomic import replacing, write_json
from flare_train.errors import TrainingDataError
from flare_train.randomness import stream

__all__ = ["FORMAT", "StoredCase", "read_stored_case", "stored_key", "write_stored_case"]

FORMAT = 1
_LARGEST_SAMPLE = 10_000
_KINDS = ("image", "labels", "voxels")


@dataclass(frozen=True, eq=False)
class StoredCase:
    """One preprocessed case.

    Parameters
    ----------
    id : str
        Name of the case.
    image : (c, z, y, x) float16 array
        A NumPy array, or a blosc2 array that reads only what is sliced.
    labels : (z, y, x) uint8 array
        Label ids.
    spacing_mm : (float, float, float)
        Voxel size along (z, y, x).
    annotated : frozenset of int
        Label ids that the annotators of this case looked for.
    voxels : mapping of int to (n, 3) array
        Some voxels of every label that occurs, the background left out.
    key : str
        Content and settings that it was made from.
    """

    id: str
    image: Any
    labels: Any
    spacing_mm: tuple[float, float, float]
    annotated: frozenset[int]
    voxels: Mapping[int, NDArray[np.uint16]]
    key: str = ""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along (z, y, x)."""
        z, y, x = self.labels.shape
        return z, y, x

    @property
    def present(self) -> frozenset[int]:
        """Label ids that occur, the background left out."""
        return frozenset(self.voxels)

    def locations(self, label: int) -> NDArray[np.uint16]:
        """Return up to 10 000 voxels of a label, (n, 3); no rows where it does not occur."""
        return self.voxels.get(label, np.zeros((0, 3), np.uint16))

    @classmethod
    def from_arrays(
        cls,
        id: str,
        image: NDArray[Any],
        labels: NDArray[Any],
        *,
        spacing_mm: tuple[float, float, float],
        annotated: frozenset[int],
        key: str = "",
    ) -> StoredCase:
        """Make a case from arrays in memory and look up where its labels are.

        Raises
        ------
        TrainingDataError
            If image and label grids differ, a value is not finite or a label is not in 0..255.
        """
        if image.ndim != 4 or image.shape[1:] != labels.shape:
            raise TrainingDataError(
                f"{id}: image must be (c, z, y, x) on the grid of the labels, got shapes "
                f"{image.shape} and {labels.shape}; prepare both together"
            )
        if not np.isfinite(image).all():
            count = int((~np.isfinite(image)).sum())
            raise TrainingDataError(
                f"{id}: all voxels of the image must be finite, found {count} NaN or infinite; "
                "repair the file or leave the case out"
            )
        if labels.min() < 0 or labels.max() > 255:
            raise TrainingDataError(
                f"{id}: label ids must lie in 0..255, found {labels.min()} to {labels.max()}; "
                "renumber the labels"
            )
        small = np.ascontiguousarray(labels, np.uint8)
        return cls(
            id=id,
            # Beyond the range of float16 lies no intensity that a normalized image can have.
            image=np.clip(image, -65504, 65504).astype(np.float16),
            labels=small,
            spacing_mm=spacing_mm,
            annotated=annotated,
            voxels=_sample_voxels(id, small),
            key=key,
        )


def _sample_voxels(id: str, labels: NDArray[np.uint8]) -> dict[int, NDArray[np.uint16]]:
    flat = labels.ravel()
    occupied = np.flatnonzero(flat)
    ids = flat[occupied]
    voxels = {}
    for label in np.unique(ids):
        places = occupied[ids == label]
        if len(places) > _LARGEST_SAMPLE:
            # Keyed by case and label: the same case gives the same sample in every run.
            rng = stream(0, id, int(label), "voxels")
            places = np.sort(rng.choice(places, _LARGEST_SAMPLE, replace=False))
        index = np.unravel_index(places, labels.shape)
        voxels[int(label)] = np.stack(index, axis=1).astype(np.uint16)
    return voxels


def write_stored_case(folder: os.PathLike[str] | str, case: StoredCase) -> None:
    """Write a case; after a kill at any moment it is either whole or not there."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    sidecar = root / f"{case.id}.json"
    # First of all: no sidecar may ever describe arrays of another key.
    sidecar.unlink(missing_ok=True)
    labels = sorted(case.voxels)
    empty = [np.zeros((0, 3), np.uint16)]
    arrays = {
        "image": case.image,
        "labels": case.labels,
        "voxels": np.concatenate([case.voxels[label] for label in labels] or empty),
    }
    for kind, array in arrays.items():
        _write_array(root / f"{case.id}.{kind}.b2nd", array)
    write_json(
        sidecar,
        {
            "format": FORMAT,
            "key": case.key,
            "id": case.id,
            "shape": list(case.shape),
            "spacing_mm": list(case.spacing_mm),
            "annotated": sorted(case.annotated),
            "voxels": {str(label): len(case.voxels[label]) for label in labels},
            "bytes": {kind: (root / f"{case.id}.{kind}.b2nd").stat().st_size for kind in _KINDS},
        },
    )


def _write_array(path: Path, array: NDArray[Any]) -> None:
    with replacing(path) as temporary:
        blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=str(temporary),
            mode="w",
            cparams={
                "codec": blosc2.Codec.LZ4HC,
                "clevel": 5,
                "filters": [blosc2.Filter.BITSHUFFLE],
                "nthreads": 1,
            },
        )


def stored_key(folder: os.PathLike[str] | str, id: str) -> str | None:
    """Return the key of a stored case, or None if it is not there whole."""
    record = _read_sidecar(Path(folder), id)
    return None if record is None else str(record["key"])


def read_stored_case(
    folder: os.PathLike[str] | str, id: str, *, in_memory: bool = True
) -> StoredCase:
    """Open a stored case.

    Parameters
    ----------
    folder : path
        Folder of the store.
    id : str
        Name of the case.
    in_memory : bool, optional
        Read the arrays at once; else every patch is read from the memory-mapped file.

    Raises
    ------
    TrainingDataError
        If the case is not there whole.
    """
    root = Path(folder)
    record = _read_sidecar(root, id)
    if record is None:
        raise TrainingDataError(
            f"{root / id}: no whole case of this name in the store; build the store again"
        )
    arrays = {
        kind: blosc2.open(str(root / f"{id}.{kind}.b2nd"), mode="r", mmap_mode="r")
        for kind in _KINDS
    }
    table, start = arrays["voxels"][:], 0
    voxels = {}
    for label, count in record["voxels"].items():
        voxels[int(label)] = table[start : start + count]
        start += count
    z, y, x = record["spacing_mm"]
    return StoredCase(
        id=id,
        image=arrays["image"][:] if in_memory else arrays["image"],
        labels=arrays["labels"][:] if in_memory else arrays["labels"],
        spacing_mm=(z, y, x),
        annotated=frozenset(record["annotated"]),
        voxels=voxels,
        key=record["key"],
    )


def _read_sidecar(root: Path, id: str) -> dict[str, Any] | None:
    try:
        record = json.loads((root / f"{id}.json").read_text())
        whole = record["format"] == FORMAT and all(
            (root / f"{id}.{kind}.b2nd").stat().st_size == record["bytes"][kind] for kind in _KINDS
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if whole else None
