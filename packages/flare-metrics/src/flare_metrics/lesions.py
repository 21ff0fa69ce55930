"""Lesions over many cases: diseased and healthy ones apart, all found and missed ones together.

In a healthy case the only question is whether the prediction stayed empty.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.case_statistics import json_number
from flare_metrics.detection import DetectionScore
from flare_metrics.scores import LabelScore

__all__ = ["case_recalls", "diseased", "healthy_summary", "pooled_detection"]


def diseased(scores: Sequence[LabelScore | None]) -> NDArray[np.bool_]:
    """Return which cases are scored and have the label in their reference."""
    return np.array(
        [
            score is not None and score.scored and score.presence in ("both", "reference only")
            for score in scores
        ],
        bool,
    )


def case_recalls(scores: Sequence[LabelScore | None]) -> NDArray[np.float64]:
    """Return the share of found lesions of every diseased case, NaN where there is none.

    Without any prediction it is 0, whether or not lesions were matched.
    """
    matched = any(score is not None and score.detection is not None for score in scores)
    recalls = []
    for score in scores:
        if score is None or not matched:
            recalls.append(math.nan)
        elif score.detection is not None:
            recalls.append(score.detection.recall)
        else:
            recalls.append(0.0 if score.presence == "reference only" else math.nan)
    return np.where(diseased(scores), np.array(recalls, float), math.nan)


def healthy_summary(scores: Sequence[LabelScore | None], statuses: Sequence[str]) -> dict[str, Any]:
    """Count healthy cases with a usable prediction, and those where it is not empty."""
    presences = [
        score.presence
        for score, status in zip(scores, statuses, strict=True)
        if score is not None and status == "scored"
    ]
    wrong = presences.count("prediction only")
    return {"cases": presences.count("neither") + wrong, "wrongly_predicted": wrong}


def pooled_detection(
    scores: Sequence[LabelScore], *, case_recall: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the detection over cases as if all lesions were those of one case.

    Parameters
    ----------
    scores : sequence of LabelScore
        Of one label; those without ``detection`` are counted as such.
    case_recall : dict
        Statistics of `case_recalls`, taken over as they are.

    Returns
    -------
    dict
        ``cases`` and ``cases_not_matched``; sums of ``true_positives``, ``false_positives``,
        ``false_negatives``; ``precision``, ``recall``, ``f1``, ``segmentation_quality``,
        ``panoptic_quality`` of those sums; ``diseased_cases_with_a_hit``; ``case_recall``. What
        does not exist is None.
    """
    found = [score.detection for score in scores if score.detection is not None]
    hits = sum(each.true_positives for each in found)
    overlap = sum(
        each.segmentation_quality * each.true_positives for each in found if each.true_positives
    )
    pooled = DetectionScore(
        true_positives=hits,
        false_positives=sum(each.false_positives for each in found),
        false_negatives=sum(each.false_negatives for each in found),
        segmentation_quality=overlap / hits if hits else math.nan,
    )
    ratios = ("precision", "recall", "f1", "segmentation_quality", "panoptic_quality")
    return {
        "cases": len(found),
        "cases_not_matched": len(scores) - len(found),
        "true_positives": pooled.true_positives,
        "false_positives": pooled.false_positives,
        "false_negatives": pooled.false_negatives,
        **{name: json_number(getattr(pooled, name)) for name in ratios},
        "diseased_cases_with_a_hit": sum(each.true_positives > 0 for each in found),
        "case_recall": dict(case_recall),
    }
