"""Learn organ and tumor segmentation from partially labeled CT, resumable.

Public names resolve on first use: ``import flare_train`` loads neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_train.checkpoint import find_checkpoints, load_checkpoint, save_checkpoint
    from flare_train.config import (
        AugmentConfig,
        LossConfig,
        OptimizerConfig,
        SamplingConfig,
        ScheduleConfig,
        TrainConfig,
    )
    from flare_train.errors import (
        CheckpointError,
        DivergedError,
        StoppedError,
        TrainingDataError,
    )
    from flare_train.loop import FitResult, fit
    from flare_train.store import StoredCase, read_stored_case

__all__ = [
    "AugmentConfig",
    "CheckpointError",
    "DivergedError",
    "FitResult",
    "LossConfig",
    "OptimizerConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "StoppedError",
    "StoredCase",
    "TrainConfig",
    "TrainingDataError",
    "find_checkpoints",
    "fit",
    "load_checkpoint",
    "read_stored_case",
    "save_checkpoint",
]

__version__ = version("flare-train")

_HOMES = {
    "checkpoint": ("find_checkpoints", "load_checkpoint", "save_checkpoint"),
    "config": (
        "AugmentConfig",
        "LossConfig",
        "OptimizerConfig",
        "SamplingConfig",
        "ScheduleConfig",
        "TrainConfig",
    ),
    "errors": ("CheckpointError", "DivergedError", "StoppedError", "TrainingDataError"),
    "loop": ("FitResult", "fit"),
    "store": ("StoredCase", "read_stored_case"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
