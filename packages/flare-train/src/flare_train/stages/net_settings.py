"""What the stages of nets and their predictions can be told. Nothing here loads torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flare_train.settings import require
from flare_train.stages.settings import stage_field

__all__ = ["ModelSettings", "PredictSettings", "ScoreSettings", "TrainSettings"]


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """One network trained.

    Parameters
    ----------
    store : str
        The stage that prepared the cases.
    cases : str
        A selection's stage; without one all cases of the store.
    start : str
        A training stage whose weights it begins with.
    start_parts : {"body", "encoder"}
        What it takes over of them; ``body``: all but the heads.
    classes : tuple of int
        Label ids, background left out.
    config : mapping
        Fields of `flare_train.TrainConfig`, without ``classes`` and ``net.out_channels``, which
        follow from `classes` and the loss.
    validation : int
        How many cases are held back for the learning curve.
    folds, fold : int
        With ``folds`` > 0 the cases of this fold are held back instead.
    windows : mapping
        Fields of `flare_infer.WindowPlan` of the model, but for the patch.
    """

    store: str = stage_field()
    cases: str = stage_field("")
    start: str = stage_field("")
    start_parts: Literal["body", "encoder"] = "body"
    classes: tuple[int, ...]
    config: Mapping[str, Any]
    validation: int = 0
    folds: int = 0
    fold: int = 0
    windows: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.validation >= 0, "validation", "be >= 0", self.validation)
        require(self.folds == 0 or self.folds >= 2, "folds", "be 0 or >= 2", self.folds)
        known = ("body", "encoder") if self.start else ("body",)
        require(self.start_parts in known, "start_parts", f"be one of {known}", self.start_parts)
        inside = 0 <= self.fold < max(self.folds, 1)
        require(inside, "fold", f"lie in 0 to {max(self.folds, 1) - 1}", self.fold)


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    """A model folder from trained nets.

    Parameters
    ----------
    members : tuple of str
        Training stages, equal but for their weights; several are an ensemble.
    snapshots : int
        With more than 0, this many of each member's newest snapshots in place of its end.
    over : str
        A model or training stage whose labels are painted over.
    over_labels : tuple of int
        Which of its labels.
    changes : mapping
        Fields of `flare_infer.ModelSpec` to replace, such as ``order``.
    windows : mapping
        Fields of `flare_infer.WindowPlan` to replace.
    """

    members: tuple[str, ...] = stage_field()
    snapshots: int = 0
    over: str = stage_field("")
    over_labels: tuple[int, ...] = ()
    changes: Mapping[str, Any] = field(default_factory=dict)
    windows: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(bool(self.members), "members", "name a training stage or more", self.members)
        require(self.snapshots >= 0, "snapshots", "be >= 0", self.snapshots)
        both = bool(self.over) is bool(self.over_labels)
        require(both, "over_labels", "go together with over", self.over_labels)


@dataclass(frozen=True, kw_only=True)
class PredictSettings:
    """Label maps of cases by a model.

    Parameters
    ----------
    data : str
        The dataset's stage.
    model : str
        A training or model stage.
    snapshot : int
        Of a training stage: 0 its end, 1 the newest kept snapshot, 2 the one before, ...
    cases : str
        ``"train"``, ``"test"``, ``"unlabeled"`` or a selection's stage.
    tta : bool
        Average over mirror images.
    mode : {"fast", "exact"}
    """

    data: str = stage_field("data")
    model: str = stage_field()
    snapshot: int = 0
    cases: str = stage_field("unlabeled")
    tta: bool = False
    mode: Literal["fast", "exact"] = "fast"

    def __post_init__(self) -> None:
        require(self.snapshot >= 0, "snapshot", "be >= 0", self.snapshot)
        require(self.mode in ("fast", "exact"), "mode", "be 'fast' or 'exact'", self.mode)


@dataclass(frozen=True, kw_only=True)
class ScoreSettings:
    """Scores of predicted test cases by flare-metrics.

    Parameters
    ----------
    data, predictions : str
        The dataset's stage and the one that predicted ``"test"``.
    labels : tuple of int
        Which labels the table of results shows; none: all.
    protocol : str
        Of flare-metrics.
    """

    data: str = stage_field("data")
    predictions: str = stage_field()
    labels: tuple[int, ...] = ()
    protocol: str = "sound"
