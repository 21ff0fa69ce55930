"""Segmentation accuracy and cost as the FLARE challenge measures them, and soundly."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_metrics.case import score_case
    from flare_metrics.detection import DetectionScore, detection_score
    from flare_metrics.efficiency import measure_efficiency
    from flare_metrics.errors import GridError, LabelError, UnreadableFileError
    from flare_metrics.files import LabelMap, read_label_map
    from flare_metrics.folder import FolderScore, score_files, score_folder
    from flare_metrics.overlap import dice, jaccard
    from flare_metrics.protocols import Label, Protocol, protocol, protocol_names
    from flare_metrics.scores import CaseScore, LabelScore
    from flare_metrics.surface import average_surface_distance, hausdorff, surface_dice
    from flare_metrics.volumes import confusion_volumes, volume_difference

__all__ = [
    "CaseScore",
    "DetectionScore",
    "FolderScore",
    "GridError",
    "Label",
    "LabelError",
    "LabelMap",
    "LabelScore",
    "Protocol",
    "UnreadableFileError",
    "average_surface_distance",
    "confusion_volumes",
    "detection_score",
    "dice",
    "hausdorff",
    "jaccard",
    "measure_efficiency",
    "protocol",
    "protocol_names",
    "read_label_map",
    "score_case",
    "score_files",
    "score_folder",
    "surface_dice",
    "volume_difference",
]

_HOME = {
    "CaseScore": "scores",
    "DetectionScore": "detection",
    "FolderScore": "folder",
    "GridError": "errors",
    "Label": "protocols",
    "LabelError": "errors",
    "LabelMap": "files",
    "LabelScore": "scores",
    "Protocol": "protocols",
    "UnreadableFileError": "errors",
    "average_surface_distance": "surface",
    "confusion_volumes": "volumes",
    "detection_score": "detection",
    "dice": "overlap",
    "hausdorff": "surface",
    "jaccard": "overlap",
    "measure_efficiency": "efficiency",
    "protocol": "protocols",
    "protocol_names": "protocols",
    "read_label_map": "files",
    "score_case": "case",
    "score_files": "folder",
    "score_folder": "folder",
    "surface_dice": "surface",
    "volume_difference": "volumes",
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
