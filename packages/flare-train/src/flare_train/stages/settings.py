"""What the stages of data and labels can be told. Nothing here loads torch.

A setting that names a stage makes that stage an input, see `flare_train.stages.kinds`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from flare_train.settings import require

__all__ = [
    "DatasetSettings",
    "FuseSettings",
    "LabelSource",
    "PhantomSettings",
    "PrepareSettings",
    "SelectSettings",
    "stage_field",
]

KSource: TypeAlias = Literal["manifest", "presence"]


def stage_field(default: Any = dataclasses.MISSING) -> Any:
    """Mark a field that names a stage, or several."""
    return field(default=default, metadata={"stage": True})


@dataclass(frozen=True, kw_only=True)
class DatasetSettings:
    """A dataset folder of the user's; keyed by what its files hold, not by where it lies.

    ``k_source``: where K comes from, as for `flare_io.read_dataset`.
    """

    path: str
    k_source: KSource = "manifest"


@dataclass(frozen=True, kw_only=True)
class PhantomSettings:
    """A dataset of invented patients, as `flare_io.phantom.write_phantom_dataset` draws it."""

    preset: str
    cases: int
    test_cases: int
    seed: int = 0
    k_source: KSource = "manifest"


@dataclass(frozen=True, kw_only=True)
class SelectSettings:
    """Which training cases to use.

    Parameters
    ----------
    data : str
        The dataset's stage.
    by : {"labels", "agreement", "stability"}
        ``labels``: by the conditions below alone. ``agreement``: also S3's rule on the
        pseudo-labels A and B. ``stability``: also FLARE 2022's on the `rounds`.
    labeled : {"any", "yes", "no"}
        Whether the case has a label map of its own.
    annotated, unannotated : tuple of int
        Classes that K must hold, and must not hold.
    shown : tuple of int
        Classes that the label map must show.
    organs, least_organs : tuple of int, int
        How many of these classes K must hold at least.
    first : int
        Of ``labels``: so many of the cases, in the order of their ids; 0 all.
    threshold, first_labeled, first_unlabeled : float, int, int
        Of ``agreement``.
    rounds, drop : tuple of str, int
        Of ``stability``: prediction stages, the first round first, and how many of the least
        stable cases to leave out. A case without predictions is kept.
    """

    data: str = stage_field("data")
    by: Literal["labels", "agreement", "stability"] = "labels"
    labeled: Literal["any", "yes", "no"] = "any"
    annotated: tuple[int, ...] = ()
    unannotated: tuple[int, ...] = ()
    shown: tuple[int, ...] = ()
    organs: tuple[int, ...] = ()
    least_organs: int = 0
    first: int = 0
    threshold: float = 0.85
    first_labeled: int = 200
    first_unlabeled: int = 100
    rounds: tuple[str, ...] = stage_field(())
    drop: int = 0

    def __post_init__(self) -> None:
        known = ("labels", "agreement", "stability")
        require(self.by in known, "by", f"be one of {', '.join(known)}", self.by)
        choices = ("any", "yes", "no")
        require(self.labeled in choices, "labeled", "be 'any', 'yes' or 'no'", self.labeled)
        require(self.first >= 0, "first", "be >= 0", self.first)
        enough = self.by != "stability" or len(self.rounds) >= 2
        require(enough, "rounds", "name two prediction stages or more", self.rounds)


@dataclass(frozen=True, kw_only=True)
class FuseSettings:
    """How labels are fused, by `flare_fusion.fuse_dataset`.

    Parameters
    ----------
    data, cases : str
        The dataset's stage, and a selection's; without one all training cases.
    rule, options : str, mapping
        Of flare-fusion.
    sources : mapping of str to str
        The rule's names for sources, each with the stage that made them.
    provenance : bool
        Keep the origin of every voxel.
    """

    data: str = stage_field("data")
    cases: str = stage_field("")
    rule: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict, metadata={"stage": True})
    provenance: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelSource:
    """Label maps to learn from.

    Parameters
    ----------
    source : str
        The dataset's stage, a fusion's or a prediction's.
    cases : str
        A selection's stage; without one all cases that the source has.
    shows : tuple of int
        Of a prediction or a pseudo-label set: classes that it shows wherever they are. A dataset
        and a fusion have K.
    map : str
        Of a dataset: ``"own"`` labels, the ``"reference"`` that shows every class, or the name of a
        pseudo-label set.
    """

    source: str
    cases: str = ""
    shows: tuple[int, ...] = ()
    map: str = "own"


@dataclass(frozen=True, kw_only=True)
class PrepareSettings:
    """Cases made ready for a network.

    Parameters
    ----------
    data : str
        The dataset's stage.
    labels : tuple of LabelSource
        The first that has a case gives its labels.
    unlabeled : bool
        Add the cases that no source has, for learning without labels.
    keep : tuple of int
        Label ids that stay, the others become background; none: all.
    preprocessing : mapping
        Fields of `flare_io.Preprocessing`. Without ``intensities`` they come from the foreground
        of these cases, by nnU-Net's rule.
    intensities_of : str
        A stage of this kind whose intensities are taken instead.
    origins : bool
        Store the provenance of a fusion beside the labels.
    """

    data: str = stage_field("data")
    labels: tuple[LabelSource, ...] = ()
    unlabeled: bool = False
    keep: tuple[int, ...] = ()
    preprocessing: Mapping[str, Any]
    intensities_of: str = stage_field("")
    origins: bool = False

    def __post_init__(self) -> None:
        some = bool(self.labels) or self.unlabeled
        require(some, "labels", "name a source, or unlabeled = true", self.labels)
