"""One update of the weights: augment, forward, loss, backward, clip, step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from flare_train.augment import augment, draw_parameters
from flare_train.batches import Batch
from flare_train.config import TrainConfig
from flare_train.distributed import ALONE, World
from flare_train.ema import update_average
from flare_train.errors import DivergedError
from flare_train.genesis import restoration_loss, restoration_pair
from flare_train.losses import segmentation_loss
from flare_train.optimizers import learning_rate
from flare_train.precision import autocast
from flare_train.state import TrainState

__all__ = ["Example", "backward", "prepare_example", "train_step"]

Spacing = tuple[float, float, float]


@dataclass(frozen=True)
class Example:
    """What a net is shown in one update and what it shall say.

    Parameters
    ----------
    images : (b, c, z, y, x) float32 tensor
        On the device of the net, augmented.
    targets : (b, z, y, x) uint8 tensor
        See `Batch`. For the task ``restore`` the clean images, (b, c, z, y, x) in [0, 1].
    annotated : (b, classes) bool tensor
    origins : (b, z, y, x) uint8 tensor or None
    """

    images: Tensor
    targets: Tensor
    annotated: Tensor
    origins: Tensor | None = None

    def split(self, parts: int) -> Iterator[Example]:
        """Yield the samples in equal parts."""
        size = len(self.images) // parts
        for first in range(0, len(self.images), size):
            part = slice(first, first + size)
            yield Example(
                self.images[part],
                self.targets[part],
                self.annotated[part],
                None if self.origins is None else self.origins[part],
            )


def train_step(
    state: TrainState,
    batch: Batch,
    config: TrainConfig,
    *,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    world: World = ALONE,
) -> float:
    """Augment a batch, update the weights once and count the iteration.

    Parameters
    ----------
    state : TrainState
        Changed in place.
    batch : Batch
        This process' share of the iteration's batch.
    config : TrainConfig
    spacing_mm : (float, float, float), optional
        Voxel size along (z, y, x), for rotations.
    world : World, optional
        The processes that share the batch.

    Returns
    -------
    float
        The loss before the update, of the whole batch.

    Raises
    ------
    DivergedError
        If the loss or the gradient is not finite. Weights, optimizer and average are then those
        before the step. In float16 an infinite gradient only lowers the scale of the loss, down to
        a scale of 1, and the update is left out.

    Notes
    -----
    With ``config.accumulate`` the loss is the mean over the parts. That is the loss of the whole
    batch where it is a mean over samples; a batch Dice is one per part.
    """
    example = prepare_example(
        batch, config, state.iteration, device=state.device, spacing_mm=spacing_mm, world=world
    )
    rate = learning_rate(config, state.iteration, cuts=state.plateau.cuts)
    for group in state.optimizer.param_groups:
        group["lr"] = rate
    loss = backward(state, example, config, world=world)
    if state.scaler is not None:
        state.scaler.unscale_(state.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(state.net.parameters(), config.optimizer.clip_norm)
    # One wait for the device in place of two.
    value, length = torch.stack((loss, norm.to(loss.dtype))).tolist()
    scaled_too_far = state.scaler is not None and state.scaler.get_scale() > 1
    if not math.isfinite(value) or not (math.isfinite(length) or scaled_too_far):
        quantity = "gradient" if math.isfinite(value) else "loss"
        wrong = length if math.isfinite(value) else value
        ids = [id for ids in world.gather(batch.case_ids) for id in ids]
        raise DivergedError(state.iteration, wrong, ids, quantity=quantity)
    if state.scaler is None:
        state.optimizer.step()
    else:
        state.scaler.step(state.optimizer)
        state.scaler.update()
    if state.average is not None:
        update_average(state.average, state.net, decay=config.ema_decay, updates=state.iteration)
    state.iteration += 1
    state.epoch_losses.append(value)
    return float(value)


def prepare_example(
    batch: Batch,
    config: TrainConfig,
    iteration: int,
    *,
    device: torch.device,
    spacing_mm: Spacing = (1.0, 1.0, 1.0),
    world: World = ALONE,
) -> Example:
    """Bring a batch to the device, augment it there and spoil it if that is the task.

    Returns
    -------
    Example
        Equal for the same settings, iteration and samples, however many processes share them.
    """
    share = len(batch.case_ids)
    first = world.rank * share
    parameters = draw_parameters(
        config.augment,
        seed=config.seed,
        iteration=iteration,
        batch=share,
        patch=config.patch,
        first=first,
        channels=config.net.in_channels,
    )
    maps = [batch.targets] if batch.origins is None else [batch.targets, batch.origins]
    images, moved = augment(
        batch.images.to(device, non_blocking=True),
        torch.stack(maps, 1).to(device, non_blocking=True),
        parameters,
        patch=config.patch,
        spacing_mm=spacing_mm,
    )
    if config.task == "restore":
        inputs, clean = restoration_pair(
            images, config.genesis, seed=config.seed, iteration=iteration, first=first
        )
        return Example(inputs, clean, batch.annotated)
    return Example(
        images,
        moved[:, 0],
        batch.annotated,
        None if batch.origins is None else moved[:, 1],
    )


def backward(
    state: TrainState, example: Example, config: TrainConfig, *, world: World = ALONE
) -> Tensor:
    """Put the gradient of the loss into the weights and return the loss, a scalar on the device.

    In float16 the gradient is still scaled.
    """
    state.net.train()
    state.optimizer.zero_grad(set_to_none=True)
    total = torch.zeros((), device=state.device)
    for number, part in enumerate(example.split(config.accumulate), start=1):
        is_last = number == config.accumulate
        with nullcontext() if is_last else state.parallel.alone():
            with autocast(config, state.device):
                levels = state.parallel(part.images)
            loss = _loss(levels, part, config) / config.accumulate
            scaled = loss if state.scaler is None else state.scaler.scale(loss)
            torch.autograd.backward(scaled)
        total += loss.detach()
    # The loss of a segmentation is that of all processes already.
    return world.mean(total) if config.task == "restore" else total


def _loss(levels: list[Tensor], part: Example, config: TrainConfig) -> Tensor:
    if config.task == "restore":
        return restoration_loss(levels[0], part.targets, kind=config.genesis.loss)
    return segmentation_loss(
        levels,
        part.targets,
        part.annotated,
        config.loss,
        classes=config.classes,
        origins=part.origins,
    )
