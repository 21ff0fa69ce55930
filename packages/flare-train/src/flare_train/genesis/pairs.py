"""Spoiled and clean images, keyed by seed, iteration and sample."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from flare_train.augment.random_fields import uniform_field
from flare_train.genesis.curves import apply_curve, draw_curve
from flare_train.genesis.painting import draw_boxes
from flare_train.genesis.shuffling import shuffled_places
from flare_train.genesis_config import GenesisConfig
from flare_train.randomness import stream, stream_seed

__all__ = ["restoration_pair"]


def restoration_pair(
    images: Tensor, config: GenesisConfig, *, seed: int, iteration: int, first: int = 0
) -> tuple[Tensor, Tensor]:
    """Spoil images; a net that restores them has learned what a body looks like.

    Parameters
    ----------
    images : (b, c, z, y, x) floating tensor
        Not modified; values as `GenesisConfig` says.
    config : GenesisConfig
        Probabilities and sizes.
    seed, iteration : int
        Name the random numbers; equal values spoil in the same way on every device.
    first : int, optional
        Number of the first sample within the global batch, when several processes share it.

    Returns
    -------
    inputs : (b, c, z, y, x) float32 tensor
        Spoiled images, in the units of `images` or in [0, 1], as ``config.inputs`` says.
    targets : (b, c, z, y, x) float32 tensor
        The images themselves in [0, 1]; mirrored where the inputs are.

    Notes
    -----
    Order: mirroring, local shuffling, curve, painting. Channels of a sample are spoiled in the same
    way.
    """
    low, high = config.window_hu
    scale, offset = config.deviation_hu / (high - low), (config.mean_hu - low) / (high - low)
    targets = (images.float() * scale).add_(offset).clamp_(0.0, 1.0)
    inputs = torch.empty_like(targets)
    for row, image in enumerate(targets):
        key = (iteration, first + row)
        axes = _drawn_flips(config, stream(seed, *key, "genesis flips"))
        if axes:
            image.copy_(image.flip(axes))
        inputs[row] = _spoiled(image, config, seed=stream_seed(seed, *key, "genesis"))
    if config.inputs == "given":
        inputs.sub_(offset).div_(scale)
    return inputs, targets


def _drawn_flips(config: GenesisConfig, rng: np.random.Generator) -> list[int]:
    """Return the axes of (c, z, y, x) that were drawn an odd number of times."""
    axes: set[int] = set()
    for _ in range(config.flip_rounds):
        if rng.random() >= config.flip_p:
            break
        axes ^= {int(rng.integers(1, 4))}
    return sorted(axes)


def _spoiled(image: Tensor, config: GenesisConfig, *, seed: int) -> Tensor:
    shape = tuple(image.shape[1:])
    if stream(seed, "shuffle").random() < config.shuffle_p:
        places = shuffled_places(
            shape,
            divisor=config.shuffle_divisor,
            coverage=config.shuffle_coverage,
            layers=config.shuffle_layers,
            seed=seed,
            device=image.device,
        )
        image = image.reshape(len(image), -1).index_select(1, places).view(image.shape)
    rng = stream(seed, "curve")
    if rng.random() < config.curve_p:
        image = apply_curve(image, draw_curve(rng, decreasing_p=config.decreasing_p))
    rng = stream(seed, "paint")
    if rng.random() < config.paint_p:
        inner, boxes = draw_boxes(rng, shape, config)
        noise = uniform_field(shape, seed=stream_seed(seed, "noise"), device=image.device)
        source, ground = (
            (noise, image.clone()) if inner else (image, noise.expand_as(image).clone())
        )
        for box in boxes:
            ground[(slice(None), *box)] = source[(..., *box)]
        image = ground
    return image
