"""Medical volumes read without silent damage: geometry, labels, resampling, datasets, a phantom.

Public names load on first use: importing the package loads nothing heavy.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_io.dataset import Case, Dataset, read_dataset
    from flare_io.errors import DatasetError, GeometryError, LabelError, UnreadableVolumeError
    from flare_io.files import (
        read_header,
        read_label_map,
        read_volume,
        write_label_map,
        write_volume,
    )
    from flare_io.geometry import Geometry
    from flare_io.labels import LabelTable, label_table
    from flare_io.montage import write_montage
    from flare_io.phantom import draw_phantom, write_phantom_dataset
    from flare_io.policy import ReadPolicy
    from flare_io.preparation import Preparation, prepare, restore
    from flare_io.preprocessing import Preprocessing
    from flare_io.volume import Volume, to_canonical

__all__ = [
    "Case",
    "Dataset",
    "DatasetError",
    "Geometry",
    "GeometryError",
    "LabelError",
    "LabelTable",
    "Preparation",
    "Preprocessing",
    "ReadPolicy",
    "UnreadableVolumeError",
    "Volume",
    "draw_phantom",
    "label_table",
    "prepare",
    "read_dataset",
    "read_header",
    "read_label_map",
    "read_volume",
    "restore",
    "to_canonical",
    "write_label_map",
    "write_montage",
    "write_phantom_dataset",
    "write_volume",
]

_HOMES = {
    "Case": "dataset",
    "Dataset": "dataset",
    "DatasetError": "errors",
    "Geometry": "geometry",
    "GeometryError": "errors",
    "LabelError": "errors",
    "LabelTable": "labels",
    "Preparation": "preparation",
    "Preprocessing": "preprocessing",
    "ReadPolicy": "policy",
    "UnreadableVolumeError": "errors",
    "Volume": "volume",
    "draw_phantom": "phantom",
    "label_table": "labels",
    "prepare": "preparation",
    "read_dataset": "dataset",
    "read_header": "files",
    "read_label_map": "files",
    "read_volume": "files",
    "restore": "preparation",
    "to_canonical": "volume",
    "write_label_map": "files",
    "write_montage": "montage",
    "write_phantom_dataset": "phantom",
    "write_volume": "files",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Loaded for the version alone: it brings the parser of e-mails.
        from importlib.metadata import version

        return version("flare-io")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
