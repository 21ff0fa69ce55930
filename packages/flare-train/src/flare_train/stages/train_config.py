"""The settings of a training, with what follows from the classes filled in. No torch here."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from flare_train.augment_config import AugmentConfig
from flare_train.config import TrainConfig
from flare_train.loss_config import LossConfig
from flare_train.settings import from_plain, to_plain
from flare_train.stages.net_settings import TrainSettings

__all__ = ["train_config"]


def train_config(
    settings: TrainSettings, *, restores: bool = False, start: Path | None = None
) -> TrainConfig:
    """Return the settings of a training.

    Parameters
    ----------
    settings : TrainSettings
        In ``config``, ``augment.preset`` names the list that the other changes are laid over.
    restores : bool, optional
        Whether the net learns to restore images instead of labels.
    start : Path, optional
        Weights to begin with, all but the heads.

    Raises
    ------
    ValueError
        If a setting is unknown or breaks its rule.
    """
    plain: dict[str, Any] = dict(settings.config)
    classes = (0, *sorted(settings.classes))
    net = {"in_channels": 1, **plain.get("net", {})}
    loss = from_plain(LossConfig, plain.get("loss", {}), "loss.")
    net["out_channels"] = net["in_channels"] if restores else loss.out_channels(classes)
    augment = dict(plain.get("augment", {}))
    preset = AugmentConfig.preset(augment.pop("preset", "none"))
    plain["augment"] = {**to_plain(dataclasses.asdict(preset)), **augment}
    plain["task"] = "restore" if restores else "segment"
    if start is not None:
        plain |= {"start": str(start), "start_parts": settings.start_parts}
    return TrainConfig.from_dict({**plain, "net": net, "classes": list(classes)})
