"""Settings of a training run as frozen values that go to and from a plain dict.

Nothing here loads torch. Every number is checked when the value is made, and a dict with a key that
no setting has is refused with the nearest name.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flare_nets.config import NetConfig
from flare_train.augment_config import AugmentConfig
from flare_train.settings import from_plain, require, require_share, to_plain

__all__ = [
    "AugmentConfig",
    "LossConfig",
    "OptimizerConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "TrainConfig",
]


@dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Optimizer and its constants.

    Parameters
    ----------
    kind : {"sgd", "adamw"}
        SGD with Nesterov momentum, as nnU-Net, or AdamW for short budgets.
    learning_rate : float
        First learning rate, > 0.
    momentum : float
        Of SGD, in [0, 1).
    weight_decay : float
        >= 0.
    clip_norm : float
        Largest norm of the gradient of all weights together, > 0.
    """

    kind: Literal["sgd", "adamw"] = "sgd"
    learning_rate: float = 0.01
    momentum: float = 0.99
    weight_decay: float = 3e-5
    clip_norm: float = 12.0

    def __post_init__(self) -> None:
        require(self.kind in ("sgd", "adamw"), "optimizer.kind", "be 'sgd' or 'adamw'", self.kind)
        require(self.learning_rate > 0, "optimizer.learning_rate", "be > 0", self.learning_rate)
        require(0 <= self.momentum < 1, "optimizer.momentum", "lie in [0, 1)", self.momentum)
        require(self.weight_decay >= 0, "optimizer.weight_decay", "be >= 0", self.weight_decay)
        require(self.clip_norm > 0, "optimizer.clip_norm", "be > 0", self.clip_norm)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """How the learning rate falls.

    Parameters
    ----------
    kind : {"poly", "step"}
        ``poly``: ``(1 - t / total) ** power``. ``step``: ``factor ** (t // every)``.
    unit : {"epoch", "iteration"}
        What t counts. nnU-Net changes the rate once per epoch.
    power : float
        Of ``poly``, > 0.
    factor, every : float, int
        Of ``step``: factor in (0, 1], applied after every so many units.
    """

    kind: Literal["poly", "step"] = "poly"
    unit: Literal["epoch", "iteration"] = "epoch"
    power: float = 0.9
    factor: float = 0.9
    every: int = 200

    def __post_init__(self) -> None:
        require(self.kind in ("poly", "step"), "schedule.kind", "be 'poly' or 'step'", self.kind)
        known = ("epoch", "iteration")
        require(self.unit in known, "schedule.unit", "be 'epoch' or 'iteration'", self.unit)
        require(self.power > 0, "schedule.power", "be > 0", self.power)
        require(0 < self.factor <= 1, "schedule.factor", "lie in (0, 1]", self.factor)
        require(self.every >= 1, "schedule.every", "be >= 1", self.every)


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Soft Dice + cross entropy, and what to do with classes that a case does not annotate.

    Parameters
    ----------
    dice_weight, cross_entropy_weight : float
        >= 0, not both 0.
    batch_dice : bool
        One Dice over the whole batch instead of one per sample.
    smooth : float
        Of the Dice, > 0.
    partial : {"refuse", "naive"}
        ``refuse``: a case whose annotated set lacks a trained class is an error. ``naive``: what a
        case does not annotate counts as background.
    """

    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    batch_dice: bool = False
    smooth: float = 1e-5
    partial: Literal["refuse", "naive"] = "refuse"

    def __post_init__(self) -> None:
        weights = (self.dice_weight, self.cross_entropy_weight)
        require(
            min(weights) >= 0 and sum(weights) > 0,
            "loss weights",
            "be >= 0 and not both 0",
            weights,
        )
        require(self.smooth > 0, "loss.smooth", "be > 0", self.smooth)
        known = ("refuse", "naive")
        require(self.partial in known, "loss.partial", "be 'refuse' or 'naive'", self.partial)


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Where patches are taken.

    Parameters
    ----------
    foreground_share : float
        The last ``batch - round(batch * (1 - share))`` samples of a batch are centered on a voxel
        of a class that their case holds and annotates. nnU-Net's 0.33: 1 of 2, 1 of 4, 3 of 8.
    """

    foreground_share: float = 0.33

    def __post_init__(self) -> None:
        require_share("sampling.foreground_share", self.foreground_share)


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides what a training run ends with, except the cases themselves.

    Parameters
    ----------
    net : NetConfig
        Network to train; its ``out_channels`` equals the number of `classes`.
    classes : tuple of int
        Label id of each output channel: the background 0 first, then rising.
    patch : (int, int, int)
        Voxels of a training patch along (z, y, x). Cases smaller than this are padded with 0.
    batch : int
        Patches per iteration.
    epochs, iterations_per_epoch : int
        Length of the run. An epoch is only a unit of bookkeeping.
    precision : {"float32", "bfloat16"}
        Of the network's arithmetic; weights and loss are always float32.
    seed : int
        Names all random numbers of the run, >= 0.
    validate_every : int
        Epochs from one validation to the next; the last epoch is always validated. 0: never.
    checkpoint_every : int
        Epochs from one checkpoint to the next.
    keep_checkpoints : int
        How many of the newest checkpoints stay, >= 1.

    Examples
    --------
    >>> net = NetConfig(
    ...     architecture="plain",
    ...     in_channels=1,
    ...     out_channels=3,
    ...     features=(4, 8),
    ...     kernels=((3, 3, 3),) * 2,
    ...     strides=((1, 1, 1), (2, 2, 2)),
    ...     convs=(1, 1),
    ...     decoder_convs=(1,),
    ... )
    >>> config = TrainConfig(net=net, classes=(0, 1, 14), patch=(16, 24, 24), epochs=2)
    >>> config.iterations, TrainConfig.from_dict(config.to_dict()) == config
    (500, True)
    """

    net: NetConfig
    classes: tuple[int, ...]
    patch: tuple[int, int, int]
    batch: int = 2
    epochs: int = 1000
    iterations_per_epoch: int = 250
    precision: Literal["float32", "bfloat16"] = "float32"
    seed: int = 0
    validate_every: int = 10
    checkpoint_every: int = 10
    keep_checkpoints: int = 2
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        rising = all(low < high for low, high in zip(self.classes, self.classes[1:], strict=False))
        require(
            len(self.classes) >= 2 and self.classes[0] == 0 and rising and self.classes[-1] <= 255,
            "classes",
            "be the background 0 and then rising label ids up to 255",
            self.classes,
        )
        require(
            self.net.out_channels == len(self.classes),
            "net.out_channels",
            f"equal the number of classes, {len(self.classes)}",
            self.net.out_channels,
        )
        require(
            len(self.patch) == 3 and min(self.patch) >= 1,
            "patch",
            "be three sizes >= 1",
            self.patch,
        )
        self.net.check_patch(self.patch)
        for name in ("batch", "epochs", "iterations_per_epoch", "checkpoint_every"):
            require(getattr(self, name) >= 1, name, "be >= 1", getattr(self, name))
        require(self.keep_checkpoints >= 1, "keep_checkpoints", "be >= 1", self.keep_checkpoints)
        require(self.validate_every >= 0, "validate_every", "be >= 0", self.validate_every)
        require(self.seed >= 0, "seed", "be >= 0", self.seed)
        known = ("float32", "bfloat16")
        require(self.precision in known, "precision", "be 'float32' or 'bfloat16'", self.precision)

    @property
    def iterations(self) -> int:
        """Updates of the whole run."""
        return self.epochs * self.iterations_per_epoch

    def to_dict(self) -> dict[str, Any]:
        """Return all settings as plain values that JSON and TOML can hold."""
        plain = {entry.name: getattr(self, entry.name) for entry in dataclasses.fields(self)}
        for name, value in plain.items():
            if isinstance(value, NetConfig):
                plain[name] = value.to_dict()
            elif dataclasses.is_dataclass(value) and not isinstance(value, type):
                plain[name] = to_plain(dataclasses.asdict(value))
            else:
                plain[name] = to_plain(value)
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> TrainConfig:
        """Return the settings of a dict; missing keys keep their defaults.

        Raises
        ------
        ValueError
            If a key is unknown (the nearest name is given) or a value breaks a rule.
        """
        settings = dict(plain)
        net = settings.pop("net", None)
        if not isinstance(net, Mapping):
            raise ValueError(f"net must be a table of network settings, got {net!r}")
        return from_plain(cls, settings, "", net=NetConfig.from_dict(dict(net)))
