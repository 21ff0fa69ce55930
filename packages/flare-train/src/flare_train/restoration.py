"""How well a net restores images that it was not trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from flare_nets.unet import UNet
from flare_train.config import TrainConfig
from flare_train.distributed import ALONE, World
from flare_train.genesis import restoration_loss, restoration_pair
from flare_train.patch_reader import copy_box
from flare_train.precision import autocast
from flare_train.randomness import stream_seed
from flare_train.stored_case import StoredCase

__all__ = ["validate_restoration"]


def validate_restoration(
    net: UNet,
    cases: Sequence[StoredCase],
    config: TrainConfig,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    world: World = ALONE,
) -> float | None:
    """Return the mean restoration loss of the middle of each case.

    Parameters
    ----------
    net : UNet
        Put in evaluation mode.
    cases : sequence of StoredCase
        At least one; every case is spoiled in the same way each time.
    config : TrainConfig
    should_stop : callable, optional
        Asked before every case.
    world : World, optional
        The processes that share the cases.

    Returns
    -------
    float or None
        None when stopped, in whichever process.
    """
    losses: list[float] = []
    stopped = False
    for number in range(world.rank, len(cases), world.size):
        stopped = should_stop()
        if stopped:
            break
        losses.append(_loss_of(net, cases[number], config, number))
    if world.any(stopped):
        return None
    return float(np.mean(sorted(loss for part in world.gather(losses) for loss in part)))


@torch.inference_mode()
def _loss_of(net: UNet, case: StoredCase, config: TrainConfig, number: int) -> float:
    net.eval()
    device = next(net.parameters()).device
    start = [(size - length) // 2 for size, length in zip(case.shape, config.patch, strict=True)]
    patch = torch.empty((1, config.net.in_channels, *config.patch))
    copy_box(patch[0], case.image, start)
    inputs, clean = restoration_pair(
        patch.to(device),
        config.genesis,
        seed=stream_seed(config.seed, "validation"),
        iteration=0,
        first=number,
    )
    with autocast(config, device):
        output = net(inputs)
    return float(restoration_loss(output, clean, kind=config.genesis.loss))
