"""Preprocessed cases on disk: blosc2 arrays and one JSON sidecar each, safe against a kill.

``DIR/<case>.image.b2nd`` (c, z, y, x) float16, ``.labels.b2nd`` (z, y, x) uint8, with known
provenance ``.origins.b2nd`` (z, y, x) uint8, ``.voxels.b2nd`` (n, 3) uint16 with up to 10 000
voxels of every label, and ``<case>.json``, which is written last: a case without a sidecar of the
right format, key and sizes is not there.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
from numpy.typing import NDArray

from flare_io.atomic import replacing, write_json
from flare_train.errors import TrainingDataError
from flare_train.stored_case import IGNORED, StoredCase

__all__ = [
    "FORMAT",
    "IGNORED",
    "StoredCase",
    "read_stored_case",
    "stored_key",
    "write_stored_case",
]

FORMAT = 2

# Measured on real CT, patches of 32 x 128 x 192, one thread: images 1.0 ms with bytes shuffled and
# 2 to 6 ms with bits shuffled, which also take more room; labels 0.25 ms unfiltered, 1 ms else.
_CHUNK = (32, 128, 128)
_BLOCKS = {"image": (8, 32, 64), "labels": (16, 64, 64), "origins": (16, 64, 64)}
_FILTERS = {
    "image": blosc2.Filter.SHUFFLE,
    "labels": blosc2.Filter.NOFILTER,
    "origins": blosc2.Filter.NOFILTER,
    "voxels": blosc2.Filter.SHUFFLE,
}


def write_stored_case(folder: os.PathLike[str] | str, case: StoredCase) -> None:
    """Write a case; after a kill at any moment it is either whole or not there."""
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    sidecar = root / f"{case.id}.json"
    # First of all: no sidecar may ever describe arrays of another key.
    sidecar.unlink(missing_ok=True)
    labels = sorted(case.voxels)
    tables = [case.voxels[label] for label in labels]
    if case.stated is not None:
        tables.append(case.stated)
    arrays = {
        "image": case.image,
        "labels": case.labels,
        "voxels": np.concatenate(tables or [np.zeros((0, 3), np.uint16)]),
    }
    if case.origins is not None:
        arrays["origins"] = case.origins
    for kind, array in arrays.items():
        _write_array(root / f"{case.id}.{kind}.b2nd", kind, array)
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
            "stated": None if case.stated is None else len(case.stated),
            "bytes": {kind: (root / f"{case.id}.{kind}.b2nd").stat().st_size for kind in arrays},
        },
    )


def _write_array(path: Path, kind: str, array: NDArray[Any]) -> None:
    layout: dict[str, Any] = {}
    if array.ndim >= 3:
        # A patch of 32 x 128 x 192 then unpacks few voxels that it does not need.
        layout = {
            name: (1,) * (array.ndim - 3)
            + tuple(min(size, most) for size, most in zip(array.shape[-3:], sizes, strict=True))
            for name, sizes in (("chunks", _CHUNK), ("blocks", _BLOCKS[kind]))
        }
    with replacing(path) as temporary:
        blosc2.asarray(
            np.ascontiguousarray(array),
            urlpath=str(temporary),
            mode="w",
            cparams={
                "codec": blosc2.Codec.LZ4HC,
                "clevel": 5,
                "filters": [_FILTERS[kind]],
                "nthreads": 1,
            },
            **layout,
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
        kind: blosc2.open(
            str(root / f"{id}.{kind}.b2nd"), mode="r", mmap_mode="r", dparams={"nthreads": 1}
        )
        for kind in record["bytes"]
    }
    table, start = arrays.pop("voxels")[:], 0
    voxels = {}
    for label, count in record["voxels"].items():
        voxels[int(label)] = table[start : start + count]
        start += count
    if in_memory:
        arrays = {kind: array[:] for kind, array in arrays.items()}
    z, y, x = record["spacing_mm"]
    return StoredCase(
        id=id,
        image=arrays["image"],
        labels=arrays["labels"],
        spacing_mm=(z, y, x),
        annotated=frozenset(record["annotated"]),
        voxels=voxels,
        key=record["key"],
        origins=arrays.get("origins"),
        stated=None if record["stated"] is None else table[start:],
    )


def _read_sidecar(root: Path, id: str) -> dict[str, Any] | None:
    try:
        record = json.loads((root / f"{id}.json").read_text())
        whole = record["format"] == FORMAT and all(
            (root / f"{id}.{kind}.b2nd").stat().st_size == size
            for kind, size in record["bytes"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if whole else None
