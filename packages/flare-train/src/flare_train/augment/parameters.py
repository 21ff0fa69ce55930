"""The random parameters of a batch, drawn by (seed, iteration, sample).

Every change has places of its own in the stream of a sample: switching one on or off leaves the
others as they were.
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
    About 0.1 ms a sample.

    Examples
    --------
    >>> drawn = draw_parameters(
    ...     AugmentConfig(scale_p=1, scale=(2, 2)), seed=0, iteration=5, batch=2, patch=(8, 8, 8)
    ... )
    >>> drawn.scale.tolist(), drawn.spatial.tolist(), drawn.gamma.tolist()
    ([2.0, 2.0], [True, True], [[nan], [nan]])
    """
    table = _Table.draw(
        [(seed, iteration, sample) for sample in range(first, first + batch)], channels
    )
    return BatchParameters(
        in_plane=config.stays_in_plane(patch),
        angles=table.sample("rotation", config.rotation_p, (-1.0, 1.0))
        * np.deg2rad(config.largest_angles(patch)),
        scale=table.sample("scale", config.scale_p, config.scale)[:, 0],
        elastic_sigma=table.sample("elastic", config.elastic_p, config.elastic_sigma_voxels)[:, 0],
        elastic_rms=table.sample("elastic", config.elastic_p, config.elastic_rms_voxels)[:, 1],
        mirror=table.mirror(config.mirror_axes),
        noise=table.sample("noise", config.noise_p, config.noise_deviation)[:, 0],
        blur=table.channel(
            "blur", config.blur_p, config.blur_sigma_voxels, share=config.blur_channel_p
        ),
        brightness=table.factor("brightness", config.brightness_p, config.brightness),
        shift=table.channel("shift", config.shift_p, config.shift)[..., 0],
        contrast=table.factor("contrast", config.contrast_p, config.contrast),
        low_resolution=table.channel(
            "low resolution",
            config.low_resolution_p,
            config.low_resolution,
            share=config.low_resolution_channel_p,
        )[..., 0],
        gamma=table.factor("gamma", config.gamma_p, config.gamma),
        gamma_inverted=table.factor("gamma inverted", config.gamma_inverted_p, config.gamma),
        field_seeds=tuple(
            stream_seed(seed, iteration, sample, "fields") for sample in range(first, first + batch)
        ),
    )


# The order decides which numbers of a sample's stream belong to which change.
_CHANGES = (
    "rotation",
    "scale",
    "elastic",
    "mirror",
    "noise",
    "blur",
    "brightness",
    "shift",
    "contrast",
    "low resolution",
    "gamma",
    "gamma inverted",
)


@dataclass(frozen=True)
class _Table:
    """Numbers in [0, 1) that are drawn whether they are needed or not, four for each change.

    Parameters
    ----------
    samples : (b, changes, 4) array
        Of a whole sample: whether the change happens, and three values.
    channels : (b, c, changes, 4) array
        Of a channel: whether it is among those that change, and three values.
    """

    samples: Floats
    channels: Floats

    @classmethod
    def draw(cls, keys: Sequence[tuple[int, int, int]], channels: int) -> _Table:
        # The numbers of the sample come first: those of the channels cannot change them.
        shape = (1 + channels, len(_CHANGES), 4)
        drawn = np.stack([stream(*key, "augment").random(shape) for key in keys])
        return cls(drawn[:, 0], drawn[:, 1:])

    def sample(self, name: str, probability: float, limits: Range) -> Floats:
        """Return three values for each sample, (b, 3)."""
        numbers = self.samples[:, _CHANGES.index(name)]
        return np.where(numbers[:, :1] < probability, _within(numbers[:, 1:], limits), np.nan)

    def channel(self, name: str, probability: float, limits: Range, share: float = 1.0) -> Floats:
        """Return three values for each channel, (b, c, 3)."""
        index = _CHANGES.index(name)
        numbers = self.channels[:, :, index]
        happens = self.samples[:, np.newaxis, index, :1] < probability
        changed = happens & (numbers[..., :1] < share)
        return np.where(changed, _within(numbers[..., 1:], limits), np.nan)

    def factor(self, name: str, probability: float, limits: Range) -> Floats:
        """Return a factor for each channel, (b, c), as often below 1 as above it."""
        low, high = limits
        if not low < 1 < high or math.isclose(low, high):
            return self.channel(name, probability, limits)[..., 0]
        # Though the ranges below and above 1 differ in length.
        sides = self.channel(name, probability, (-1.0, 1.0))[..., 0]
        return 1 + np.where(sides < 0, sides * (1 - low), sides * (high - 1))

    def mirror(self, axes: Sequence[int]) -> NDArray[np.bool_]:
        """Return a coin for each sample and axis that may be mirrored, (b, 3)."""
        coins = self.samples[:, _CHANGES.index("mirror"), 1:] < 0.5
        return coins & np.isin(np.arange(3), axes)


def _within(shares: Floats, limits: Range) -> Floats:
    low, high = limits
    return low + shares * (high - low)
