"""Segmentation accuracy and cost as the FLARE challenge measures them, and soundly."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_metrics.case import score_case
    from flare_metrics.errors import GridError, LabelError, UnreadableFileError
    from flare_metrics.files import LabelMap, read_label_map
    from flare_metrics.folder import FolderScore, score_files, score_folder
    from flare_metrics.overlap import dice
    from flare_metrics.protocols import Label, Protocol, protocol, protocol_names
    from flare_metrics.scores import CaseScore, LabelScore
    from flare_metrics.surface import surface_dice

__all__ = [
    "CaseScore",
    "FolderScore",
    "GridError",
    "Label",
    "LabelError",
    "LabelMap",
    "LabelScore",
    "Protocol",
    "UnreadableFileError",
    "dice",
    "protocol",
    "protocol_names",
    "read_label_map",
    "score_case",
    "score_files",
    "score_folder",
    "surface_dice",
]

_HOME = {
    "CaseScore": "scores",
    "FolderScore": "folder",
    "GridError": "errors",
    "Label": "protocols",
    "LabelError": "errors",
    "LabelMap": "files",
    "LabelScore": "scores",
    "Protocol": "protocols",
    "UnreadableFileError": "errors",
    "dice": "overlap",
    "protocol": "protocols",
    "protocol_names": "protocols",
    "read_label_map": "files",
    "score_case": "case",
    "score_files": "folder",
    "score_folder": "folder",
    "surface_dice": "surface",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        # Looking it up takes longer than everything else here.
        from importlib.metadata import version

        return version("flare-metrics")
    if name not in _HOME:
        raise AttributeError(f"module 'flare_metrics' has no attribute {name!r}")
    value = getattr(import_module(f"flare_metrics.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
