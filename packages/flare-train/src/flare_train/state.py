"""What changes while a run goes on: weights, optimizer, their averages and counters."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from flare_nets.build import build_net
from flare_nets.channels_last import use_channels_last
from flare_nets.unet import UNet
from flare_train.config import TrainConfig
from flare_train.distributed import ParallelNet
from flare_train.ema import average_of
from flare_train.optimizers import Plateau, build_optimizer
from flare_train.precision import build_scaler, refuse_broken_gradient
from flare_train.randomness import stream_seed
from flare_train.start_weights import load_start_weights

__all__ = ["TrainState", "build_state"]


@dataclass
class TrainState:
    """A run at one moment.

    Parameters
    ----------
    net : UNet
        On the device of the run.
    optimizer : torch.optim.Optimizer
    parallel : ParallelNet
        The net as a training step calls it.
    average : UNet or None
        Running average of the weights, with ``config.ema_decay``.
    scaler : torch.amp.GradScaler or None
        Scale of the loss, in float16.
    iteration : int
        Updates made so far.
    epoch_losses : list of float
        Losses of the epoch that is not closed yet. Not empty right after its last iteration: then
        validation and records of the epoch are still to be done.
    plateau : Plateau
        What the schedule ``plateau`` knows of the closed epochs.
    best_score : float or None
        Highest score of a validation so far.
    """

    net: UNet
    optimizer: torch.optim.Optimizer
    parallel: ParallelNet
    average: UNet | None = None
    scaler: torch.amp.GradScaler | None = None
    iteration: int = 0
    epoch_losses: list[float] = field(default_factory=list)
    plateau: Plateau = field(default_factory=Plateau)
    best_score: float | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.net.parameters()).device

    @property
    def judged(self) -> UNet:
        """The net that is validated and exported: the average if there is one."""
        return self.net if self.average is None else self.average


def build_state(
    config: TrainConfig, *, device: torch.device | str = "cpu", resumes: bool = False
) -> TrainState:
    """Return the state before the first update.

    Parameters
    ----------
    config : TrainConfig
        The weights depend on ``config.seed`` and ``config.start`` alone.
    device : torch.device or str, optional
        Where the net goes.
    resumes : bool, optional
        A checkpoint follows: ``config.start`` is not read.

    Raises
    ------
    ValueError
        If the gradient could not be trusted, or ``config.start`` does not fit the net.
    """
    place = torch.device(device)
    refuse_broken_gradient(config, place)
    generator = torch.Generator().manual_seed(stream_seed(config.seed, "weights"))
    net = build_net(config.net, generator=generator)
    if config.start is not None and not resumes:
        load_start_weights(net, config.start, parts=config.start_parts)
    net = net.to(place)
    if place.type == "cpu":
        use_channels_last(net)
    return TrainState(
        net=net,
        optimizer=build_optimizer(net.parameters(), config.optimizer),
        parallel=ParallelNet(net),
        average=average_of(net) if config.ema_decay else None,
        scaler=build_scaler(config, place),
    )
