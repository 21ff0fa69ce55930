"""Summaries worked out by hand: organs both ways, distances, lesions, official rounding."""

import json
import math

import numpy as np
import pytest

from flare_metrics.bootstrap import mean_interval
from flare_metrics.case_result import CaseResult
from flare_metrics.detection import DetectionScore
from flare_metrics.folder import FolderScore
from flare_metrics.protocols import Label, Protocol, protocol
from flare_metrics.scores import CaseScore, LabelScore
from flare_metrics.summary import summarize, write_results

NAN = math.nan
RULES = Protocol(
    name="mine",
    labels=(
        Label(id=1, name="liver", tolerance_mm=5, column="Liver"),
        Label(id=2, name="spleen", tolerance_mm=3, column="Spleen"),
        Label(id=3, name="tumor", tolerance_mm=2, column="Tumor", kind="lesion"),
    ),
)
PRESENCES = {"b": "both", "p": "prediction only", "r": "reference only", "n": "neither"}


def found(tp, fp, fn, quality=NAN):
    return DetectionScore(
        true_positives=tp, false_positives=fp, false_negatives=fn, segmentation_quality=quality
    )


def label_score(label, presence, dsc, **more):
    """Return a score whose NSD is half its DSC; NaN is one that does not count."""
    return LabelScore(
        id=label.id,
        name=label.name,
        kind=label.kind,
        presence=PRESENCES[presence],
        dsc=dsc,
        nsd=dsc / 2,
        reason="absent in both" if math.isnan(dsc) else "",
        **more,
    )


def case(name, *labels, rules=RULES, status="scored"):
    scores = tuple(
        label_score(label, *row[:2], **(row[2] if len(row) > 2 else {}))
        for label, row in zip(rules.labels, labels, strict=False)
    )
    score = CaseScore(rules.name, scores) if scores else None
    error = None if status == "scored" else {"rule": "broken, badly"}
    return CaseResult(case=name, status=status, score=score, file=f"{name}.nii.gz", error=error)


def folder(*cases, rules=RULES):
    return FolderScore(protocol=rules, cases=cases)


RESULT = folder(
    case("a", ("b", 0.9), ("b", 0.6), ("b", 0.5, {"detection": found(2, 1, 0, 0.75)})),
    case("b", ("b", 0.7), ("n", NAN), ("r", 0.0, {"detection": found(0, 0, 2)})),
    case("c", ("b", 0.8), ("b", 0.2), ("p", 0.0, {"detection": found(0, 3, 0)})),
    case("d", ("b", 0.4), ("b", 0.4), ("n", NAN, {"detection": found(0, 0, 0)})),
    case("e", ("r", 0.0), ("n", NAN), ("b", 0.8, {"detection": found(2, 0, 2, 0.5)})),
    case("f", status="failed"),
)


def test_labels_have_mean_median_number_and_intervals():
    liver = summarize(RESULT)["labels"]["Liver"]
    assert liver["scored"] == 5 and liver["not_scored"] == 1 and liver["missed"] == 1
    values = [0.9, 0.7, 0.8, 0.4, 0.0, NAN]
    assert liver["dsc"] == {
        "mean": pytest.approx(0.56),
        "median": 0.7,
        "n": 5,
        "ci95": pytest.approx(list(mean_interval(values))),
        "median_ci95": None,
    }
    assert liver["nsd"]["mean"] == pytest.approx(0.28)
    assert "hd95_mm" not in liver and "detection" not in liver


def test_organs_are_averaged_both_ways():
    organs = summarize(RESULT)["organs"]
    # Labels: liver 2.8 / 5 = 0.56, spleen 1.2 / 3 = 0.4.
    assert organs["mean_dsc"] == organs["dsc"]["mean_of_label_means"] == pytest.approx(0.48)
    # Cases: 0.75, 0.7, 0.5, 0.4, 0.
    assert organs["dsc"]["mean_of_case_means"] == pytest.approx(0.47)
    assert organs["dsc"]["median_of_case_means"] == 0.5
    assert organs["dsc"]["n"] == 5
    assert organs["nsd"]["mean_of_case_means"] == pytest.approx(0.235)
    interval = mean_interval([0.75, 0.7, 0.5, 0.4, 0.0, NAN])
    assert organs["dsc"]["mean_of_case_means_ci95"] == pytest.approx(list(interval))
    low, high = organs["dsc"]["mean_of_label_means_ci95"]
    assert 0 < low < 0.48 < high < 0.75


def test_lesions_of_diseased_and_healthy_cases():
    tumor = summarize(RESULT)["labels"]["Tumor"]
    assert tumor["dsc"]["mean"] == pytest.approx(1.3 / 4)
    assert tumor["diseased"]["cases"] == tumor["diseased"]["dsc"]["n"] == 3
    assert tumor["diseased"]["dsc"]["mean"] == pytest.approx(1.3 / 3)
    assert tumor["healthy"] == {"cases": 2, "wrongly_predicted": 1}


def test_lesions_are_pooled():
    detection = summarize(RESULT)["labels"]["Tumor"]["detection"]
    recall = detection.pop("case_recall")
    # 4 hits, 4 false alarms, 4 misses; overlaps 2 * 0.75 + 2 * 0.5 = 2.5.
    assert detection == {
        "cases": 4,
        "cases_not_matched": 0,
        "true_positives": 4,
        "false_positives": 4,
        "false_negatives": 4,
        "precision": 0.5,
        "recall": 0.5,
        "f1": 0.5,
        "segmentation_quality": 0.625,
        "panoptic_quality": pytest.approx(2.5 / 8),
        "diseased_cases_with_a_hit": 2,
    }
    # Cases a, b, e: 2 of 2, 0 of 2, 2 of 4.
    assert (recall["n"], recall["mean"], recall["median"]) == (3, 0.5, 0.5)


def test_a_diseased_case_that_was_not_matched_is_counted():
    result = folder(
        case("a", ("b", 1.0), ("b", 1.0), ("b", 1.0, {"detection": found(1, 0, 0, 1.0)})),
        case("b", ("r", 0.0), ("r", 0.0), ("r", 0.0), status="no prediction"),
    )
    detection = summarize(result)["labels"]["Tumor"]["detection"]
    assert (detection["cases"], detection["cases_not_matched"]) == (1, 1)


def test_infinite_distances_are_counted_and_never_averaged():
    rows = [
        {"hd95_mm": 1.0, "assd_mm": 0.5},
        {"hd95_mm": 3.0, "assd_mm": 0.7},
        {"hd95_mm": math.inf, "assd_mm": math.inf},
        {"hd95_mm": math.inf, "assd_mm": math.inf},
    ]
    result = folder(
        *(
            case(str(k), ("b", 0.5, row), ("b", 0.5, {"hd95_mm": 2.0}), ("n", NAN))
            for k, row in enumerate(rows)
        )
    )
    summary = summarize(result)
    liver = summary["labels"]["Liver"]["hd95_mm"]
    assert (liver["n"], liver["infinite"]) == (4, 2)
    assert (liver["mean"], liver["ci95"]) == (None, None)
    assert liver["finite_mean"] == 2
    assert liver["finite_ci95"] == pytest.approx(list(mean_interval([1, 3, NAN, NAN])))
    assert liver["median"] == "Infinity"
    assert float(liver["median"]) == math.inf
    spleen = summary["labels"]["Spleen"]["hd95_mm"]
    assert (spleen["mean"], spleen["finite_mean"], spleen["infinite"]) == (2, 2, 0)
    assert spleen["ci95"] == [2, 2]
    assert summary["labels"]["Tumor"]["assd_mm"]["n"] == 0
    assert "weighted by area" in summary["definitions"]["hd95_mm"]
    json.dumps(summary, allow_nan=False)


def official(*rows):
    rules = protocol("flare23")
    cases = [
        case(str(k), *(("b", value) for value in row), rules=rules) for k, row in enumerate(rows)
    ]
    return folder(*cases, rules=rules)


def test_official_means_are_rounded_and_then_averaged():
    rows = [[0.1 + 0.01 * k for k in range(14)], [0.1001 + 0.01 * k for k in range(14)]]
    rows.append([0.1001 + 0.01 * k for k in range(14)])
    summary = summarize(official(*rows))
    # Each label: mean 0.10006667 + 0.01 k, which is 0.1001 + 0.01 k in 4 decimals.
    means = [label["dsc"]["mean"] for label in summary["labels"].values()]
    assert means == [float(np.round(0.1001 + 0.01 * k, 4)) for k in range(14)]
    # The mean of those 13; the mean of unrounded ones would be 0.1601 (0.16006667) too, the
    # mean over cases is not rounded.
    assert summary["organs"]["mean_dsc"] == 0.1601
    assert summary["organs"]["dsc"]["mean_of_case_means"] == pytest.approx(0.16006667, abs=1e-8)


def test_flare23_leaves_its_scores_file(tmp_path):
    write_results(official([0.5] * 14, [0.7001] * 13 + [0.9]), tmp_path)
    lines = (tmp_path / "scores.txt").read_text().splitlines()
    assert lines[0] == "Liver_DSC: 0.6000"
    assert lines[13:15] == ["Tumor_DSC: 0.7000", "Liver_NSD: 0.3000"]
    assert lines[-2:] == ["Organ_DSC: 0.6000", "Organ_NSD: 0.3000"]
    assert len(lines) == 30


def test_a_scores_file_without_cases_says_nan(tmp_path):
    rules = protocol("flare23")
    write_results(folder(case("a", status="failed"), rules=rules), tmp_path)
    assert set((tmp_path / "scores.txt").read_text().split()[1::2]) == {"nan"}


def test_other_protocols_have_no_scores_file(tmp_path):
    write_results(RESULT, tmp_path / "deep")
    names = {path.name for path in (tmp_path / "deep").iterdir()}
    assert names == {"cases.csv", "labels.csv", "summary.json"}
    assert json.loads((tmp_path / "deep" / "summary.json").read_text()) == summarize(RESULT)


def test_nothing_at_all_has_a_summary():
    summary = summarize(folder())
    assert summary["organs"]["mean_dsc"] is None
    assert summary["organs"]["dsc"]["mean_of_label_means_ci95"] is None
    assert summary["labels"]["Tumor"]["healthy"] == {"cases": 0, "wrongly_predicted": 0}


def test_the_settings_tell_versions_of_a_protocol_apart():
    strict = summarize(folder(rules=protocol("flare23").with_options(nsd_threshold=0.1)))
    assert strict["settings"]["nsd_threshold"] == 0.1
    assert strict["settings"]["z_crop_labels"] == [5, 6, 10]
