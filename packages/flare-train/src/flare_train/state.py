"""What changes while a run goes on: weights, optimizer, iteration; and one update of it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import torch

from flare_nets.build import build_net
from flare_nets.unet import UNet
from flare_train.augment import augment, draw_parameters
from flare_train.batches import Batch
from flare_train.config import TrainConfig
from flare_train.errors import DivergedError
from flare_train.losses import segmentation_loss
from flare_train.optimizers import build_optimizer, learning_rate
from flare_train.randomness import stream_seed

__all__ = ["TrainState", "build_state", "train_step"]


@dataclass
class TrainState:
    """A run at one moment.

    Parameters
    ----------
    net : UNet
        On the device of the run.
    optimizer : torch.optim.Optimizer
    iteration : int
        Updates made so far.
    epoch_losses : list of float
        Losses of the epoch that is not closed yet. Not empty right after its last iteration: then
        validation and records of the epoch are still to be done.
    """

    net: UNet
    optimizer: torch.optim.Optimizer
    iteration: int = 0
    epoch_losses: list[float] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.net.parameters()).device


def build_state(config: TrainConfig, *, device: torch.device | str = "cpu") -> TrainState:
    """Return the state before the first update; the weights depend on ``config.seed`` alone.

    Raises
    ------
    ValueError
        If the gradient could not be trusted: see Notes.

    Notes
    -----
    On a CPU in bfloat16, torch 2.13 (oneDNN) fills the weight gradient of a 3 x 3 x 3 convolution
    over exactly two slices with whatever memory held before, infinity included. Such settings are
    refused.
    """
    _refuse_broken_gradient(config, torch.device(device))
    generator = torch.Generator().manual_seed(stream_seed(config.seed, "weights"))
    net = build_net(config.net, generator=generator).to(device)
    if torch.device(device).type == "cpu":
        # A training step takes 0.75 of the time of the default order (measured on AVX-512).
        for weight in net.parameters():
            if weight.ndim == 5:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    return TrainState(net=net, optimizer=build_optimizer(net.parameters(), config.optimizer))


def _refuse_broken_gradient(config: TrainConfig, device: torch.device) -> None:
    if device.type != "cpu" or config.precision != "bfloat16":
        return
    slices = config.patch[0]
    for stride, kernel in zip(config.net.strides, config.net.kernels, strict=True):
        slices //= stride[0]
        if slices == 2 and kernel[0] > 1:
            raise ValueError(
                f"patch {config.patch} leaves two slices at a stage of the net, whose gradient is "
                "wrong in bfloat16 on a CPU; use precision = 'float32' or twice the slices"
            )


def train_step(
    state: TrainState,
    batch: Batch,
    config: TrainConfig,
    *,
    spacing_mm: tuple[float, float, float] = (1.0, 1.0, 1.0),
) -> float:
    """Augment a batch, update the weights once and count the iteration.

    Returns
    -------
    float
        The loss before the update.

    Raises
    ------
    DivergedError
        If the loss is not finite. Weights and optimizer are then those before the step.
    """
    device = state.device
    parameters = draw_parameters(
        config.augment,
        seed=config.seed,
        iteration=state.iteration,
        batch=len(batch.case_ids),
        patch=config.patch,
        channels=config.net.in_channels,
    )
    maps = [batch.targets] if batch.origins is None else [batch.targets, batch.origins]
    images, moved = augment(
        batch.images.to(device),
        torch.stack(maps, 1).to(device),
        parameters,
        patch=config.patch,
        spacing_mm=spacing_mm,
    )
    for group in state.optimizer.param_groups:
        group["lr"] = learning_rate(config, state.iteration)
    state.net.train()
    state.optimizer.zero_grad(set_to_none=True)
    with torch.autocast(device.type, torch.bfloat16, enabled=config.precision == "bfloat16"):
        logits = state.net.forward_all(images)
    loss = segmentation_loss(
        logits,
        moved[:, 0],
        batch.annotated,
        config.loss,
        classes=config.classes,
        origins=None if batch.origins is None else moved[:, 1],
    )
    value = float(loss.item())
    if not math.isfinite(value):
        raise DivergedError(state.iteration, value, batch.case_ids)
    torch.autograd.backward(loss)
    norm = torch.nn.utils.clip_grad_norm_(state.net.parameters(), config.optimizer.clip_norm)
    if not math.isfinite(norm.item()):
        raise DivergedError(state.iteration, norm.item(), batch.case_ids, quantity="gradient")
    state.optimizer.step()
    state.iteration += 1
    state.epoch_losses.append(value)
    return value
