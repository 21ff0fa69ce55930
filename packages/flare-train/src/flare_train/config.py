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
from flare_train.genesis_config import GenesisConfig
from flare_train.loss_config import LossConfig
from flare_train.optimizer_config import OptimizerConfig, ScheduleConfig
from flare_train.settings import from_plain, require, require_share, to_plain

__all__ = [
    "BOOKKEEPING",
    "AugmentConfig",
    "GenesisConfig",
    "LossConfig",
    "OptimizerConfig",
    "SamplingConfig",
    "ScheduleConfig",
    "TrainConfig",
]


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """Where patches are taken.

    Parameters
    ----------
    foreground_share : float
        The last ``batch - round(batch * (1 - share))`` samples of a batch are centered on a voxel
        of a class that their case holds and annotates. nnU-Net's 0.33: 1 of 2, 1 of 4, 3 of 8.
    allow_empty : bool
        Whether a case may show none of the several classes that it annotates. Such a case is mostly
        a wrong file, so the default refuses it.
    """

    foreground_share: float = 0.33
    allow_empty: bool = False

    def __post_init__(self) -> None:
        require_share("sampling.foreground_share", self.foreground_share)


# Settings that leave the last weights as they are: they may change when a run is resumed.
BOOKKEEPING = frozenset(
    {
        "checkpoint_every",
        "keep_best",
        "keep_checkpoints",
        "keep_snapshots",
        "snapshot_every",
        "tensorboard",
        "validate_every",
        "workers",
    }
)

_LOWEST = {
    "batch": 1,
    "accumulate": 1,
    "epochs": 1,
    "iterations_per_epoch": 1,
    "seed": 0,
    "workers": 0,
    "validate_every": 0,
    "checkpoint_every": 1,
    "keep_checkpoints": 1,
    "snapshot_every": 0,
    "keep_snapshots": 1,
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that decides what a training run ends with, except the cases themselves.

    Parameters
    ----------
    net : NetConfig
        Network to train; its ``out_channels`` is what the head of `loss` needs for `classes`.
    classes : tuple of int
        Label ids to learn: the background 0 first, then rising.
    patch : (int, int, int)
        Voxels of a training patch along (z, y, x). Cases smaller than this are padded with 0.
    task : {"segment", "restore"}
        ``restore``: pre-training without labels; the net gives back the image from a spoiled one,
        so its ``out_channels`` is its ``in_channels``; `genesis` says how images are spoiled.
    batch : int
        Patches per update, of all processes together.
    accumulate : int
        Equal parts in which a process works through its share of the batch, to save memory.
    epochs, iterations_per_epoch : int
        Length of the run. An epoch is only a unit of bookkeeping.
    precision : {"float32", "bfloat16", "float16"}
        Of the network's arithmetic; weights and loss are always float32. ``float16``
        scales the loss. A CPU without bfloat16 takes float32 in its place.
    seed : int
        Names all random numbers of the run, >= 0.
    start : str or None
        Weights to begin with: model folder, checkpoint of ours or of nnU-Net.
    start_parts : {"all", "body", "encoder"}
        What is taken over of `start`; ``body``: all but the output layers, for other classes.
    ema_decay : float
        Of the running average of the weights, in [0, 1); 0: none. With one, validation, snapshots
        and the model use the average.
    workers : int
        Threads that read patches ahead, >= 0.
    validate_every : int
        Epochs from one validation to the next; the last epoch is always validated. 0: never.
    checkpoint_every : int
        Epochs from one checkpoint to the next.
    keep_checkpoints : int
        How many of the newest checkpoints stay, >= 1.
    snapshot_every, keep_snapshots : int
        Epochs from one snapshot of the weights to the next, counted back from the last epoch, and
        how many of the newest stay. 0: none. 50 and 3 keep those of epoch 900, 950 and 1000.
    keep_best : bool
        Keep the weights of the best validation beside the last ones.
    tensorboard : bool
        Write the records for TensorBoard as well; needs the extra ``flare-train[tensorboard]``.

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
    task: Literal["segment", "restore"] = "segment"
    batch: int = 2
    accumulate: int = 1
    epochs: int = 1000
    iterations_per_epoch: int = 250
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    seed: int = 0
    start: str | None = None
    start_parts: Literal["all", "body", "encoder"] = "all"
    ema_decay: float = 0.0
    workers: int = 1
    validate_every: int = 10
    checkpoint_every: int = 10
    keep_checkpoints: int = 2
    snapshot_every: int = 0
    keep_snapshots: int = 3
    keep_best: bool = False
    tensorboard: bool = False
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    genesis: GenesisConfig = field(default_factory=GenesisConfig)
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        self._check_net()
        for name, low in _LOWEST.items():
            require(getattr(self, name) >= low, name, f"be >= {low}", getattr(self, name))
        require(
            self.batch % self.accumulate == 0,
            "batch",
            f"be a multiple of accumulate, {self.accumulate}",
            self.batch,
        )
        require(0 <= self.ema_decay < 1, "ema_decay", "lie in [0, 1)", self.ema_decay)
        known = ("float32", "bfloat16", "float16")
        require(self.precision in known, "precision", f"be one of {known}", self.precision)
        parts = ("all",) if self.start is None else ("all", "body", "encoder")
        rule = "be one of 'all', 'body', 'encoder'; 'all' without start"
        require(self.start_parts in parts, "start_parts", rule, self.start_parts)

    def _check_net(self) -> None:
        known = ("segment", "restore")
        require(self.task in known, "task", "be 'segment' or 'restore'", self.task)
        rising = all(low < high for low, high in zip(self.classes, self.classes[1:], strict=False))
        require(
            len(self.classes) >= 2 and self.classes[0] == 0 and rising and self.classes[-1] < 255,
            "classes",
            "be the background 0 and then rising label ids up to 254",
            self.classes,
        )
        if self.task == "restore":
            channels, reason = self.net.in_channels, "net.in_channels as the task is 'restore'"
        else:
            channels = self.loss.out_channels(self.classes)
            reason = f"what the head {self.loss.head!r} needs for the classes"
        require(
            self.net.out_channels == channels,
            "net.out_channels",
            f"equal {reason}, {channels}",
            self.net.out_channels,
        )
        sizes = len(self.patch) == 3 and min(self.patch) >= 1
        require(sizes, "patch", "be three sizes >= 1", self.patch)
        self.net.check_patch(self.patch)

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
