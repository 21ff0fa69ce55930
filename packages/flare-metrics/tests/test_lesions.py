"""Lesions over cases: who is diseased, what was found, and nothing to divide by."""

import math

import numpy as np
import pytest

from flare_metrics.detection import DetectionScore
from flare_metrics.lesions import case_recalls, diseased, healthy_summary, pooled_detection
from flare_metrics.scores import LabelScore


def score(presence, counts=None, quality=math.nan, reason=""):
    detection = None
    if counts is not None:
        names = ("true_positives", "false_positives", "false_negatives")
        detection = DetectionScore(
            segmentation_quality=quality, **dict(zip(names, counts, strict=True))
        )
    named = {"id": 14, "name": "tumor", "kind": "lesion", "dsc": 0.5, "nsd": 0.5}
    return LabelScore(presence=presence, detection=detection, reason=reason, **named)


SCORES = [
    score("both", (1, 0, 3), 0.5),
    score("reference only", (0, 0, 2)),
    score("prediction only", (0, 1, 0)),
    score("both"),
    score("both", reason="stopped"),
    score("neither", (0, 0, 0)),
    None,
]


def test_cases_with_a_scored_lesion_are_diseased():
    assert diseased(SCORES).tolist() == [True, True, False, True, False, False, False]


def test_recalls_are_those_of_diseased_cases():
    recalls = case_recalls(SCORES)
    assert recalls[:2].tolist() == [0.25, 0]
    assert np.isnan(recalls[2:]).all()
    # A missing prediction found nothing, even where nobody counted what there was to find.
    assert case_recalls([SCORES[0], score("reference only")]).tolist() == [0.25, 0]
    assert np.isnan(case_recalls([score("reference only")])).all()


def test_healthy_cases_need_a_prediction():
    statuses = ["scored"] * 5 + ["no prediction", "failed"]
    assert healthy_summary(SCORES, statuses) == {"cases": 1, "wrongly_predicted": 1}
    assert healthy_summary(SCORES, ["scored"] * 7) == {"cases": 2, "wrongly_predicted": 1}


def test_pooled_ratios_are_those_of_the_sums():
    pooled = pooled_detection([each for each in SCORES if each], case_recall={"mean": 0.125})
    assert (pooled["cases"], pooled["cases_not_matched"]) == (4, 2)
    counts = [pooled[f"{name}s"] for name in ("true_positive", "false_positive", "false_negative")]
    assert counts == [1, 1, 5]
    assert pooled["precision"] == 0.5
    assert pooled["recall"] == pytest.approx(1 / 6)
    # 2 / (2 + 1 + 5), times the overlap of the only hit.
    assert pooled["f1"] == 0.25
    assert pooled["panoptic_quality"] == 0.125
    assert pooled["case_recall"] == {"mean": 0.125}


def test_no_lesions_have_no_ratios():
    pooled = pooled_detection([score("neither", (0, 0, 0))], case_recall={})
    assert pooled["f1"] is None and pooled["panoptic_quality"] is None
    assert pooled_detection([], case_recall={})["cases"] == 0
    missed = pooled_detection([score("reference only", (0, 0, 1))], case_recall={})
    assert (missed["f1"], missed["segmentation_quality"]) == (0, None)
