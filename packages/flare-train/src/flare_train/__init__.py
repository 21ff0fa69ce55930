"""Learn organ and tumor segmentation from partially labeled CT, resumable.

Public names resolve on first use: ``import flare_train`` loads neither torch nor matplotlib.
"""

from __future__ import annotations

import importlib
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_train.augment_config import AugmentConfig
    from flare_train.checkpoint import find_checkpoints, load_checkpoint, save_checkpoint
    from flare_train.config import (
        GenesisConfig,
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
    from flare_train.planning import Budget, PlanRequest, plan_run
    from flare_train.run import RunConfig, fit_dataset, read_run_config
    from flare_train.snapshots import find_snapshots, read_weights
    from flare_train.start_weights import StartReport, load_start_weights
    from flare_train.store import StoredCase, read_stored_case

__all__ = [
    "AugmentConfig",
    "Budget",
    "CheckpointError",
    "DivergedError",
    "FitResult",
    "GenesisConfig",
    "LossConfig",
    "OptimizerConfig",
    "PlanRequest",
    "RunConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "StartReport",
    "StoppedError",
    "StoredCase",
    "TrainConfig",
    "TrainingDataError",
    "find_checkpoints",
    "find_snapshots",
    "fit",
    "fit_dataset",
    "load_checkpoint",
    "load_start_weights",
    "plan_run",
    "read_run_config",
    "read_stored_case",
    "read_weights",
    "save_checkpoint",
]

__version__ = version("flare-train")

_HOMES = {
    "planning": ("Budget", "PlanRequest", "plan_run"),
    "start_weights": ("StartReport", "load_start_weights"),
    "checkpoint": ("find_checkpoints", "load_checkpoint", "save_checkpoint"),
    "augment_config": ("AugmentConfig",),
    "config": (
        "GenesisConfig",
        "LossConfig",
        "OptimizerConfig",
        "SamplingConfig",
        "ScheduleConfig",
        "TrainConfig",
    ),
    "errors": ("CheckpointError", "DivergedError", "StoppedError", "TrainingDataError"),
    "loop": ("FitResult", "fit"),
    "run": ("RunConfig", "fit_dataset", "read_run_config"),
    "snapshots": ("find_snapshots", "read_weights"),
    "store": ("StoredCase", "read_stored_case"),
}
_HOME = {name: module for module, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
