"""What a run minimizes, and what it does with classes that a case does not annotate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flare_fusion.rules import Origin
from flare_train.settings import require

__all__ = ["IGNORED", "LossConfig"]

# Value of a target voxel that no class is known of.
IGNORED = 255

_PARTIAL_OF_HEAD = {
    "softmax": ("refuse", "naive", "marginal"),
    "sigmoid": ("refuse", "naive", "masked"),
    "hybrid": ("refuse", "naive", "masked"),
}


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """Soft Dice + cross entropy over partially annotated cases.

    Parameters
    ----------
    head : {"softmax", "sigmoid", "hybrid"}
        ``softmax``: one class per voxel. ``sigmoid``: every class an independent channel.
        ``hybrid``: a softmax over background and organs, and an independent channel for each class
        of `overlay`; a voxel of such a class is left out of the softmax part.
    partial : {"refuse", "naive", "marginal", "masked"}
        ``refuse``: a case that lacks a class is an error. ``naive``: what a case does not annotate
        counts as background. ``marginal`` (softmax): classes that a case does not annotate are one
        class with the background. ``masked`` (sigmoid, hybrid): channels that a case does not
        annotate give no loss; the softmax part of the hybrid head is then marginal.
    partial_labels : tuple of int or None
        The classes that a case may lack; all others count as annotated everywhere. None: all. S3
        names the tumor alone, (14,).
    exclusion_weight : float
        >= 0. Of the exclusion loss, which keeps unannotated classes off the annotated organs of a
        case; with marginal losses only.
    presence : {"case", "patch"}
        ``patch``: a class also counts as unannotated where the patch shows none of it, as S3's
        released code has it. With ``masked`` only.
    dice_mean : {"active", "all"}
        ``active``: the mean runs over what is annotated. ``all``: what is not annotated counts as
        full agreement, a constant that thins the gradient of the rest, as in S3's released code.
    reduction : {"mean", "sum"}
        Over classes. ``sum`` (MultiTalent): a class weighs the same however many a case annotates.
        The cross entropy of a softmax has no classes to sum over and stays as it is.
    overlay : tuple of int
        Labels with a channel of their own in the hybrid head.
    overlay_weight : float
        > 0. Of the overlay channels' loss beside that of the softmax part.
    background_channel : bool
        Whether the sigmoid head has a channel for the background, as S3's released code.
    ignore_label : bool
        Whether target voxels of 255 are allowed; they are left out.
    origin_weights : mapping of str to float, or None
        Weight >= 0 of a voxel by where its fused label came from: names of `flare_fusion.Origin` in
        lower case, such as ``{"tie": 0.0, "a_only": 0.5}``. Others weigh 1.
    dice_weight, cross_entropy_weight : float
        >= 0, not both 0. The cross entropy of an independent channel is the binary one.
    batch_dice : bool
        One Dice over the whole batch, all ranks together, instead of one per sample.
    smooth : float
        Of the Dice, > 0.
    deep_supervision : bool
        Whether the coarser outputs of the decoder are trained too.
    scale : float
        > 0. Of the whole loss; S2 halves it.

    Examples
    --------
    >>> LossConfig(head="sigmoid", partial="masked", partial_labels=(14,)).out_channels((0, 1, 14))
    2
    """

    head: Literal["softmax", "sigmoid", "hybrid"] = "softmax"
    partial: Literal["refuse", "naive", "marginal", "masked"] = "refuse"
    partial_labels: tuple[int, ...] | None = None
    exclusion_weight: float = 0.0
    presence: Literal["case", "patch"] = "case"
    dice_mean: Literal["active", "all"] = "active"
    reduction: Literal["mean", "sum"] = "mean"
    overlay: tuple[int, ...] = (14,)
    overlay_weight: float = 1.0
    background_channel: bool = False
    ignore_label: bool = False
    # Left out of the hash, as a mapping has none.
    origin_weights: Mapping[str, float] | None = field(default=None, hash=False)
    dice_weight: float = 1.0
    cross_entropy_weight: float = 1.0
    batch_dice: bool = False
    smooth: float = 1e-5
    deep_supervision: bool = True
    scale: float = 1.0

    def __post_init__(self) -> None:
        self._check_words()
        self._check_numbers()
        self._check_origins()

    def out_channels(self, classes: Sequence[int]) -> int:
        """Return how many channels the net needs for these classes.

        Parameters
        ----------
        classes : sequence of int
            Background 0 first, then rising label ids. The channels follow them.

        Raises
        ------
        ValueError
            If `overlay` or `partial_labels` name other labels, or no organ is left beside the
            overlay.
        """
        foreground = set(classes) - {0}
        for name in ("overlay", "partial_labels"):
            labels = getattr(self, name)
            if labels is None or (name == "overlay" and self.head != "hybrid"):
                continue
            require(
                set(labels) <= foreground,
                f"loss.{name}",
                f"be among the trained labels {sorted(foreground)}",
                labels,
            )
        if self.head == "hybrid":
            require(
                set(self.overlay) < foreground,
                "loss.overlay",
                f"leave some of the labels {sorted(foreground)} to the softmax",
                self.overlay,
            )
        without_background = self.head == "sigmoid" and not self.background_channel
        return len(classes) - without_background

    def may_lack(self, label: int) -> bool:
        """Return whether a case need not annotate this class."""
        if self.partial == "refuse":
            return False
        return self.partial_labels is None or label in self.partial_labels

    @property
    def masks(self) -> bool:
        """Whether it matters which classes a case annotates."""
        return self.partial in ("marginal", "masked")

    def _check_words(self) -> None:
        for name, known in (
            ("head", tuple(_PARTIAL_OF_HEAD)),
            ("partial", ("refuse", "naive", "marginal", "masked")),
            ("presence", ("case", "patch")),
            ("dice_mean", ("active", "all")),
            ("reduction", ("mean", "sum")),
        ):
            value = getattr(self, name)
            words = ", ".join(repr(word) for word in known)
            require(value in known, f"loss.{name}", f"be one of {words}", value)
        fitting = _PARTIAL_OF_HEAD[self.head]
        require(
            self.partial in fitting,
            "loss.partial",
            f"be one of {', '.join(map(repr, fitting))} with loss.head = {self.head!r}",
            self.partial,
        )
        require(
            self.presence == "case" or self.partial == "masked",
            "loss.presence",
            "be 'case' unless loss.partial = 'masked'",
            self.presence,
        )
        require(
            self.head == "sigmoid" or not self.background_channel,
            "loss.background_channel",
            "be false unless loss.head = 'sigmoid'",
            self.background_channel,
        )

    def _check_numbers(self) -> None:
        weights = (self.dice_weight, self.cross_entropy_weight)
        require(
            min(weights) >= 0 and sum(weights) > 0,
            "loss weights",
            "be >= 0 and not both 0",
            weights,
        )
        for name in ("smooth", "scale", "overlay_weight"):
            require(getattr(self, name) > 0, f"loss.{name}", "be > 0", getattr(self, name))
        require(
            self.exclusion_weight >= 0, "loss.exclusion_weight", "be >= 0", self.exclusion_weight
        )
        marginal = self.partial == "marginal" or (self.head, self.partial) == ("hybrid", "masked")
        require(
            self.exclusion_weight == 0 or marginal,
            "loss.exclusion_weight",
            "be 0 unless unannotated classes are marginal (softmax: partial = 'marginal', hybrid: "
            "'masked')",
            self.exclusion_weight,
        )
        for name in ("overlay", "partial_labels"):
            labels = getattr(self, name)
            distinct = labels is None or len(set(labels)) == len(labels) > 0
            require(distinct, f"loss.{name}", "be one or more labels, each once", labels)

    def _check_origins(self) -> None:
        known = [origin.name.lower() for origin in Origin]
        for name, weight in (self.origin_weights or {}).items():
            require(name in known, "a name in loss.origin_weights", f"be one of {known}", name)
            require(weight >= 0, f"loss.origin_weights.{name}", "be >= 0", weight)
