"""The random parameters of a batch, drawn by (seed, iteration, sample, transform).

Every transform has a stream of its own: switching one on or off leaves the others as they were.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flare_train.augment_config import AugmentConfig
from flare_train.randomness import stream, stream_seed
from flare_train.settings import Range

__all__ = ["BatchParameters", "draw_parameters"]

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class BatchParameters:
    """What happens to each sample; NaN where a transform leaves a sample alone.

    Parameters
    ----------
    angles : (b, 3) array
        Radians about the z, y and x axis.
    scale, noise_variance, brightness, shift, contrast, gamma, gamma_inverted : (b,) array
        See `AugmentConfig`.
    noise_seeds : tuple of int
        One seed per sample.
    """

    angles: Floats
    scale: Floats
    noise_variance: Floats
    brightness: Floats
    shift: Floats
    contrast: Floats
    gamma: Floats
    gamma_inverted: Floats
    noise_seeds: tuple[int, ...]


def draw_parameters(
    config: AugmentConfig, *, seed: int, iteration: int, batch: int
) -> BatchParameters:
    """Draw the parameters of one batch.

    Examples
    --------
    >>> drawn = draw_parameters(
    ...     AugmentConfig(scale_p=1, scale=(2, 2)), seed=0, iteration=5, batch=2
    ... )
    >>> drawn.scale.tolist(), drawn.gamma.tolist()
    ([2.0, 2.0], [nan, nan])
    """

    def draw(
        name: str, probability: float, sample_one: Callable[[np.random.Generator], float]
    ) -> Floats:
        values = np.full(batch, np.nan)
        for sample in range(batch):
            rng = stream(seed, iteration, sample, name)
            if rng.random() < probability:
                values[sample] = sample_one(rng)
        return values

    limits = np.deg2rad(config.rotation_degrees)
    angles = np.full((batch, 3), np.nan)
    for sample in range(batch):
        rng = stream(seed, iteration, sample, "rotation")
        if rng.random() < config.rotation_p:
            angles[sample] = rng.uniform(-limits, limits)
    return BatchParameters(
        angles=angles,
        scale=draw("scale", config.scale_p, _either_side_of_one(config.scale)),
        noise_variance=draw("noise", config.noise_p, _evenly(config.noise_variance)),
        brightness=draw("brightness", config.brightness_p, _evenly(config.brightness)),
        shift=draw("shift", config.shift_p, _evenly(config.shift)),
        contrast=draw("contrast", config.contrast_p, _either_side_of_one(config.contrast)),
        gamma=draw("gamma", config.gamma_p, _either_side_of_one(config.gamma)),
        gamma_inverted=draw(
            "gamma_inverted", config.gamma_inverted_p, _either_side_of_one(config.gamma)
        ),
        noise_seeds=tuple(
            stream_seed(seed, iteration, sample, "noise field") for sample in range(batch)
        ),
    )


def _evenly(limits: Range) -> Callable[[np.random.Generator], float]:
    return lambda rng: float(rng.uniform(*limits))


def _either_side_of_one(limits: Range) -> Callable[[np.random.Generator], float]:
    """Shrink and enlarge equally often, though the ranges below and above 1 differ in length."""
    low, high = limits
    if not low < 1 < high or math.isclose(low, high):
        return _evenly(limits)

    def draw(rng: np.random.Generator) -> float:
        return float(rng.uniform(low, 1) if rng.random() < 0.5 else rng.uniform(1, high))

    return draw
