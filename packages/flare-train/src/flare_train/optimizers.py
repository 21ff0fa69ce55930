"""Optimizer and learning rate, both pure functions of settings, iteration and past losses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from flare_train.config import TrainConfig
from flare_train.optimizer_config import OptimizerConfig, ScheduleConfig

__all__ = ["Plateau", "build_optimizer", "learning_rate"]


@dataclass(frozen=True)
class Plateau:
    """What the schedule ``plateau`` remembers of the epochs so far.

    Parameters
    ----------
    lowest : float or None
        Lowest mean loss of an epoch; None before the first.
    waited : int
        Epochs since then, or since the last cut.
    cuts : int
        How often the rate was cut.
    """

    lowest: float | None = None
    waited: int = 0
    cuts: int = 0

    def after(self, loss: float, *, every: int) -> Plateau:
        """Return what is remembered after one more epoch.

        Examples
        --------
        >>> memory = Plateau()
        >>> for loss in (3.0, 2.0, 2.5, 2.0, 1.0):
        ...     memory = memory.after(loss, every=2)
        >>> memory
        Plateau(lowest=1.0, waited=0, cuts=1)
        """
        if self.lowest is None or loss < self.lowest:
            return Plateau(loss, 0, self.cuts)
        if self.waited + 1 == every:
            return Plateau(self.lowest, 0, self.cuts + 1)
        return Plateau(self.lowest, self.waited + 1, self.cuts)


def build_optimizer(
    parameters: Iterable[torch.nn.Parameter], config: OptimizerConfig
) -> torch.optim.Optimizer:
    """Return the optimizer that a config describes.

    Examples
    --------
    >>> weight = torch.nn.Parameter(torch.zeros(1))
    >>> type(build_optimizer([weight], OptimizerConfig(kind="adamw"))).__name__
    'AdamW'
    """
    if config.kind == "adamw":
        return torch.optim.AdamW(
            parameters, lr=config.learning_rate, weight_decay=config.weight_decay
        )
    return torch.optim.SGD(
        parameters,
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        nesterov=config.momentum > 0,
    )


def learning_rate(config: TrainConfig, iteration: int, *, cuts: int = 0) -> float:
    """Return the learning rate of an iteration, counted from 0.

    Parameters
    ----------
    config : TrainConfig
    iteration : int
    cuts : int, optional
        Of the schedule ``plateau``, from `Plateau`; the others need none.

    References
    ----------
    ``poly``: Chen et al., *DeepLab*, 2018, as in nnU-Net, which counts epochs.

    Examples
    --------
    >>> from flare_nets.config import NetConfig
    >>> net = NetConfig(
    ...     architecture="plain",
    ...     in_channels=1,
    ...     out_channels=2,
    ...     features=(4, 8),
    ...     kernels=((3, 3, 3),) * 2,
    ...     strides=((1, 1, 1), (2, 2, 2)),
    ...     convs=(1, 1),
    ...     decoder_convs=(1,),
    ... )
    >>> config = TrainConfig(net=net, classes=(0, 1), patch=(8, 8, 8), epochs=1000)
    >>> learning_rate(config, 0), round(learning_rate(config, 500 * 250), 6)  # 0.01 * 0.5**0.9
    (0.01, 0.005359)
    """
    schedule = config.schedule
    if schedule.kind == "plateau":
        return config.optimizer.learning_rate * schedule.factor**cuts
    if schedule.unit == "epoch":
        passed, total = iteration // config.iterations_per_epoch, config.epochs
    else:
        passed, total = iteration, config.iterations
    return config.optimizer.learning_rate * _decay(schedule, passed, total)


def _decay(schedule: ScheduleConfig, passed: int, total: int) -> float:
    if schedule.kind == "poly":
        return float((1 - passed / total) ** schedule.power)
    return float(schedule.factor ** (passed // schedule.every))
