"""Optimizer and learning rate, both pure functions of the settings and the iteration."""

from __future__ import annotations

from collections.abc import Iterable

import torch

from flare_train.config import OptimizerConfig, ScheduleConfig, TrainConfig

__all__ = ["build_optimizer", "learning_rate"]


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


def learning_rate(config: TrainConfig, iteration: int) -> float:
    """Return the learning rate of an iteration, counted from 0.

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
    if schedule.unit == "epoch":
        passed, total = iteration // config.iterations_per_epoch, config.epochs
    else:
        passed, total = iteration, config.iterations
    return config.optimizer.learning_rate * _decay(schedule, passed, total)


def _decay(schedule: ScheduleConfig, passed: int, total: int) -> float:
    if schedule.kind == "poly":
        return float((1 - passed / total) ** schedule.power)
    return float(schedule.factor ** (passed // schedule.every))
