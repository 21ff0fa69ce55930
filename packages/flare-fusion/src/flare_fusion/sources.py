"""The label maps of one case: where they lie, and whether they share the image's grid."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.dataset import Case
from flare_io.errors import DatasetError, GeometryError
from flare_io.files import read_header, read_label_map
from flare_io.geometry import describe_grid_difference
from flare_io.volume import Volume

__all__ = ["file_of_source", "read_sources"]


def file_of_source(name: str, case: Case, folders: Mapping[str, Path]) -> Path | None:
    """Return the file of a source; None for the partial label of an unlabeled case."""
    if name in folders:
        for suffix in (".nii.gz", ".nii", ".nrrd", ".mha"):
            path = folders[name] / f"{case.id}{suffix}"
            if path.exists():
                return path
        raise DatasetError(
            folders[name], f"source {name} has no label map of case {case.id}", kind="missing"
        )
    if name == "partial":
        return case.label
    # The set that S2 replaces is the FLARE 2022 winner's, which is B.
    for key in (name, "B") if name == "pseudo" else (name,):
        if key in case.pseudo_labels:
            return case.pseudo_labels[key]
    raise DatasetError(
        case.id,
        f"case has no source {name}",
        found=", ".join(case.pseudo_labels) or "none",
        remedy=f"name its folder with --source {name}=DIR",
        kind="missing",
    )


def read_sources(
    case: Case, files: Mapping[str, Path | None]
) -> tuple[dict[str, NDArray[Any]], Volume]:
    """Return the arrays of all sources and a volume on the image's grid."""
    header = read_header(case.image[0])
    arrays: dict[str, NDArray[Any]] = {}
    for name, path in files.items():
        if path is None:
            continue
        volume = read_label_map(path)
        difference = describe_grid_difference(
            header.geometry, header.shape, volume.geometry, volume.shape
        )
        if difference is not None:
            raise GeometryError(
                path,
                f"source {name} must lie on the image's grid",
                found=difference,
                remedy="resample it to the image first",
                kind="grid",
            )
        arrays[name] = volume.array
    nothing = np.zeros(header.shape, np.uint8)
    filled = {name: arrays.get(name, nothing) for name in files}
    return filled, Volume(nothing, header.geometry)
