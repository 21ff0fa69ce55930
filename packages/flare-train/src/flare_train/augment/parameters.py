"""The random parameters of a batch, drawn by (seed, iteration, sample, transform).

Every transform has a stream of its own: switching one on or off leaves the others as they were.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
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
    """What happens to each of b samples with c channels; NaN where a transform leaves one alone.

    Parameters
    ----------
    in_plane : bool
        Spatial changes and low resolution leave the z axis alone.
    angles : (b, 3) array
        Radians about the z, y and x axis.
    scale, elastic_sigma, elastic_rms : (b,) array
    mirror : (b, 3) bool array
    noise : (b,) array
        Standard deviations.
    blur : (b, c, 3) array
        Sigma along each axis, voxels.
    brightness, shift, contrast, low_resolution, gamma, gamma_inverted : (b, c) array
    field_seeds : tuple of int
        One per sample: names its random fields (noise, displacement).
    """

    in_plane: bool
    angles: Floats
    scale: Floats
    elastic_sigma: Floats
    elastic_rms: Floats
    mirror: NDArray[np.bool_]
    noise: Floats
    blur: Floats
    brightness: Floats
    shift: Floats
    contrast: Floats
    low_resolution: Floats
    gamma: Floats
    gamma_inverted: Floats
    field_seeds: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.field_seeds)

    @property
    def spatial(self) -> NDArray[np.bool_]:
        """Which samples are rotated, scaled or deformed, and so need their surroundings, (b,)."""
        turned = ~np.isnan(self.angles).any(axis=1)
        moved: NDArray[np.bool_] = turned | ~np.isnan(self.scale) | ~np.isnan(self.elastic_rms)
        return moved

    @property
    def changes_intensity(self) -> NDArray[np.bool_]:
        """Which channels of which samples change in intensity, (b, c)."""
        changes = [
            self.brightness,
            self.shift,
            self.contrast,
            self.low_resolution,
            self.gamma,
            self.gamma_inverted,
            self.blur[:, :, 0],
            np.broadcast_to(self.noise[:, np.newaxis], self.gamma.shape),
        ]
        changed: NDArray[np.bool_] = np.any(~np.isnan(np.stack(changes)), axis=0)
        return changed


def draw_parameters(
    config: AugmentConfig,
    *,
    seed: int,
    iteration: int,
    batch: int,
    patch: Sequence[int],
    first: int = 0,
    channels: int = 1,
) -> BatchParameters:
    """Draw the parameters of one batch.

    Parameters
    ----------
    config : AugmentConfig
        Probabilities and ranges.
    seed, iteration : int
        Name the random numbers: equal values give equal parameters.
    batch : int
        Samples to draw.
    patch : (3,) int
        Size that the net sees; decides whether changes stay in the plane.
    first : int, optional
        Number of the first sample within the global batch, when several processes share it.
    channels : int, optional
        Channels of the images.

    Returns
    -------
    BatchParameters

    Notes
    -----
    About 0.2 ms a sample.

    Examples
    --------
    >>> drawn = draw_parameters(
    ...     AugmentConfig(scale_p=1, scale=(2, 2)), seed=0, iteration=5, batch=2, patch=(8, 8, 8)
    ... )
    >>> drawn.scale.tolist(), drawn.spatial.tolist(), drawn.gamma.tolist()
    ([2.0, 2.0], [True, True], [[nan], [nan]])
    """
    samples = range(first, first + batch)

    def draw(
        name: str, probability: float, limits: Range, *shape: int, per_channel: float = 1.0
    ) -> Floats:
        """Draw evenly, the same for a whole sample unless `shape` starts with its channels."""
        values = np.full((batch, *shape), np.nan)
        if probability == 0:
            return values
        for row, sample in enumerate(samples):
            rng = stream(seed, iteration, sample, name)
            if rng.random() < probability:
                values[row] = rng.uniform(*limits, size=shape)
                if per_channel < 1:
                    values[row, rng.random(channels) >= per_channel] = np.nan
        return values

    def draw_factors(name: str, probability: float, limits: Range) -> Floats:
        return _either_side_of_one(draw(name, probability, (0.0, 1.0), channels), limits)

    elastic = draw("elastic", config.elastic_p, (0.0, 1.0), 2)
    return BatchParameters(
        in_plane=config.stays_in_plane(patch),
        angles=draw("rotation", config.rotation_p, (-1.0, 1.0), 3)
        * np.deg2rad(config.largest_angles(patch)),
        scale=draw("scale", config.scale_p, config.scale),
        elastic_sigma=_within(elastic[:, 0], config.elastic_sigma_voxels),
        elastic_rms=_within(elastic[:, 1], config.elastic_rms_voxels),
        mirror=_draw_mirror(config.mirror_axes, seed, iteration, samples),
        noise=draw("noise", config.noise_p, config.noise_deviation),
        blur=draw(
            "blur",
            config.blur_p,
            config.blur_sigma_voxels,
            channels,
            3,
            per_channel=config.blur_channel_p,
        ),
        brightness=draw_factors("brightness", config.brightness_p, config.brightness),
        shift=draw("shift", config.shift_p, config.shift, channels),
        contrast=draw_factors("contrast", config.contrast_p, config.contrast),
        low_resolution=draw(
            "low resolution",
            config.low_resolution_p,
            config.low_resolution,
            channels,
            per_channel=config.low_resolution_channel_p,
        ),
        gamma=draw_factors("gamma", config.gamma_p, config.gamma),
        gamma_inverted=draw_factors("gamma_inverted", config.gamma_inverted_p, config.gamma),
        field_seeds=tuple(stream_seed(seed, iteration, sample, "fields") for sample in samples),
    )


def _draw_mirror(
    axes: Sequence[int], seed: int, iteration: int, samples: Sequence[int]
) -> NDArray[np.bool_]:
    mirror = np.zeros((len(samples), 3), bool)
    if axes:
        for row, sample in enumerate(samples):
            drawn = stream(seed, iteration, sample, "mirror").random(3) < 0.5
            mirror[row, list(axes)] = drawn[list(axes)]
    return mirror


def _within(shares: Floats, limits: Range) -> Floats:
    low, high = limits
    return low + shares * (high - low)


def _either_side_of_one(shares: Floats, limits: Range) -> Floats:
    """Lower and raise equally often, though the ranges below and above 1 differ in length."""
    low, high = limits
    if not low < 1 < high or math.isclose(low, high):
        return _within(shares, limits)
    below, above = _within(2 * shares, (low, 1.0)), _within(2 * shares - 1, (1.0, high))
    return np.where(shares < 0.5, below, above)
