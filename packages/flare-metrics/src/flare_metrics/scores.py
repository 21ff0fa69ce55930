"""What the scoring of a case returns."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from flare_metrics.detection import DetectionScore

__all__ = ["CaseScore", "LabelScore", "Presence"]

Presence = Literal["both", "prediction only", "reference only", "neither"]


@dataclass(frozen=True, kw_only=True)
class LabelScore:
    """The scores of one label in one case.

    Parameters
    ----------
    id, name, kind
        The label, as in its protocol.
    presence : {"both", "prediction only", "reference only", "neither"}
        Where the label occurs.
    dsc, nsd : float
        Dice and surface Dice, in [0, 1]; NaN where not scored.
    prediction_ml, reference_ml : float
        Volumes over the whole array (2-D: 0).
    reason : str
        Why there is no score; empty where there is one.
    hd95_mm, assd_mm : float
        95th percentile of the Hausdorff distance and average symmetric surface distance, both
        weighted by area; infinite where the label is absent in one, NaN where not computed.
    detection : DetectionScore or None
        Lesion-wise agreement, for labels of kind ``"lesion"`` where the protocol asks for it.
    """

    id: int
    name: str
    kind: str
    presence: Presence
    dsc: float
    nsd: float
    prediction_ml: float = 0.0
    reference_ml: float = 0.0
    reason: str = ""
    hd95_mm: float = math.nan
    assd_mm: float = math.nan
    detection: DetectionScore | None = None

    @property
    def scored(self) -> bool:
        """Whether the label counts in means."""
        return not self.reason


@dataclass(frozen=True)
class CaseScore:
    """The scores of one case, in the order of the protocol's labels."""

    protocol: str
    labels: tuple[LabelScore, ...]

    def __getitem__(self, label: int) -> LabelScore:
        for score in self.labels:
            if score.id == label:
                return score
        raise KeyError(f"no label {label} in protocol {self.protocol}")

    def mean_dsc(self, kind: str = "organ") -> float:
        """Return the mean DSC of the scored labels of a kind, NaN where none is scored."""
        return _mean([score.dsc for score in self.labels if score.scored and score.kind == kind])

    def mean_nsd(self, kind: str = "organ") -> float:
        """Return the mean NSD of the scored labels of a kind, NaN where none is scored."""
        return _mean([score.nsd for score in self.labels if score.scored and score.kind == kind])


def _mean(values: list[float]) -> float:
    return float(np.mean(values)) if values else math.nan
