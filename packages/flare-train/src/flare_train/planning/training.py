"""A plan as the settings of preprocessing and training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flare_io.intensity import Intensity, Scheme
from flare_io.preprocessing import Preprocessing
from flare_train.config import LossConfig, TrainConfig
from flare_train.fingerprint import Fingerprint
from flare_train.planning.plan import Configuration, Plan

__all__ = ["planned_preprocessing", "planned_training"]

# What nnU-Net reads from a channel's name; any other is standardized case by case.
_SCHEMES: dict[str, Scheme] = {
    "ct": "ct",
    "nonorm": "none",
    "rescale_to_0_1": "rescale",
    "rgb_to_0_1": "rgb",
    "zscore": "zscore",
}
# Below this share of voxels kept by the crop, standardization leaves the outside alone.
_MASK_BELOW = 3 / 4


def planned_preprocessing(
    plan: Plan, fingerprint: Fingerprint, *, channels: Sequence[str] = ("CT",)
) -> Preprocessing:
    """Return how cases are prepared for the full resolution of a plan.

    Parameters
    ----------
    plan : Plan
    fingerprint : Fingerprint
        The one that was planned from; gives CT its window, mean and deviation.
    channels : sequence of str
        Names as in ``dataset.json``: ``CT`` is clipped to the percentiles 0.5 and 99.5 of the
        foreground and scaled by its mean and deviation, others by their own.

    Raises
    ------
    ValueError
        If there are not as many names as the fingerprint has channels.
    """
    if len(channels) != len(fingerprint.intensities):
        raise ValueError(
            f"channels must name the {len(fingerprint.intensities)} channels of the fingerprint, "
            f"got {tuple(channels)}"
        )
    masked = fingerprint.relative_size < _MASK_BELOW
    intensities = []
    for name, found in zip(channels, fingerprint.intensities, strict=True):
        scheme = _SCHEMES.get(name.casefold(), "zscore")
        if scheme == "ct":
            intensities.append(
                Intensity(
                    scheme="ct", mean=found.mean, std=found.std, low=found.low, high=found.high
                )
            )
        else:
            within = masked and scheme == "zscore"
            intensities.append(Intensity(scheme=scheme, within_mask=within))
    return Preprocessing(
        spacing_mm=plan.fullres.spacing_mm,
        intensities=tuple(intensities),
        transpose=plan.transpose,
    )


def planned_training(
    configuration: Configuration, *, classes: Sequence[int], **changes: Any
) -> TrainConfig:
    """Return the settings of a training with a plan's net, patch and batch.

    Parameters
    ----------
    configuration : Configuration
    classes : sequence of int
        The background 0, then rising label ids.
    **changes
        Further fields of `TrainConfig`, such as ``epochs``.
    """
    settings: dict[str, Any] = {
        "net": configuration.net,
        "classes": tuple(classes),
        "patch": configuration.patch,
        "batch": configuration.batch,
        "loss": LossConfig(batch_dice=configuration.batch_dice),
    }
    return TrainConfig(**{**settings, **changes})
