"""Optimizer, learning rate and how they are checked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flare_train.settings import require

__all__ = ["OptimizerConfig", "ScheduleConfig"]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Optimizer and its constants.

    Parameters
    ----------
    kind : {"sgd", "adamw"}
        SGD with Nesterov momentum, as nnU-Net, or AdamW for short budgets.
    learning_rate : float
        First learning rate, > 0.
    momentum : float
        Of SGD, in [0, 1).
    weight_decay : float
        >= 0.
    clip_norm : float
        Largest norm of the gradient of all weights together, > 0.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.99
    weight_decay: float = 3e-5
    clip_norm: float = 12.0

    def __post_init__(self) -> None:
        require(self.kind in ("sgd", "adamw"), "optimizer.kind", "be 'sgd' or 'adamw'", self.kind)
        require(self.learning_rate > 0, "optimizer.learning_rate", "be > 0", self.learning_rate)
        require(0 <= self.momentum < 1, "optimizer.momentum", "lie in [0, 1)", self.momentum)
        require(self.weight_decay >= 0, "optimizer.weight_decay", "be >= 0", self.weight_decay)
        require(self.clip_norm > 0, "optimizer.clip_norm", "be > 0", self.clip_norm)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate falls.

    Parameters
    ----------
    kind : {"poly", "step", "plateau"}
        ``poly``: ``(1 - t / total) ** power``. ``step``: ``factor ** (t // every)``. ``plateau``:
        times `factor` whenever the mean training loss of an epoch was not below its lowest for
        `every` epochs.
    unit : {"epoch", "iteration"}
        What t counts. nnU-Net changes the rate once per epoch. ``plateau`` counts epochs always.
    power : float
        Of ``poly``, > 0.
    factor, every : float, int
        Of ``step`` and ``plateau``: factor in (0, 1], and after how many units.
    """

    kind: Literal["poly", "step", "plateau"] = "poly"
    unit: Literal["epoch", "iteration"] = "epoch"
    power: float = 0.9
    factor: float = 0.9
    every: int = 200

    def __post_init__(self) -> None:
        kinds = ("poly", "step", "plateau")
        require(self.kind in kinds, "schedule.kind", f"be one of {kinds}", self.kind)
        known = ("epoch", "iteration")
        require(self.unit in known, "schedule.unit", "be 'epoch' or 'iteration'", self.unit)
        require(
            self.kind != "plateau" or self.unit == "epoch",
            "schedule.unit",
            "be 'epoch' for a plateau",
            self.unit,
        )
        require(self.power > 0, "schedule.power", "be > 0", self.power)
        require(0 < self.factor <= 1, "schedule.factor", "lie in (0, 1]", self.factor)
        require(self.every >= 1, "schedule.every", "be >= 1", self.every)
