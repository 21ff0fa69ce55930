"""The section of lesions: diseased and healthy cases apart, counts as matched."""

import math

import pytest

from flare_metrics.detection import DetectionScore
from flare_metrics.protocols import Label, Protocol, protocol
from flare_metrics.report.lesions import lesions_section

from .report_cases import case, folder, parsed, table_rows, with_label


def found(hits=0, made_up=0, missed=0, quality=math.nan):
    return DetectionScore(
        true_positives=hits, false_positives=made_up, false_negatives=missed,
        segmentation_quality=quality,
    )  # fmt: skip


def diseased(name, detection, **changes):
    return with_label(case(name), 14, detection=detection, **changes)


def healthy(name, made_up=0):
    if made_up:
        return with_label(case(name), 14, presence="prediction only", dsc=0.0, nsd=0.0,
                          prediction_ml=1.5, detection=found(made_up=made_up))  # fmt: skip
    return with_label(case(name), 14, presence="neither", dsc=math.nan, nsd=math.nan,
                      reason="absent in both", detection=found())  # fmt: skip


def section_of(*cases, rules=None):
    result = folder(*cases, rules=rules)
    made = lesions_section(result, result.summary())
    return None if made is None else parsed(made).one("section")


def test_diseased_cases_have_counts_f1_and_pq():
    section = section_of(diseased("a", found(2, 1, 1, 0.6)), diseased("b", found(0, 0, 2)))
    table = section.one("table")
    assert table.one("caption").text == "Diseased cases: tumor in the reference"
    # F1 = 4 / (4 + 1 + 1), PQ = 0.6 F1.
    assert table_rows(table) == [
        ["a", "2", "1", "1", "0.667", "0.400", "0.500", "4.00", "2.00"],
        ["b", "0", "0", "2", "0.000", "0.000", "0.500", "4.00", "2.00"],
    ]
    assert "2 lesions found, 1 made up, 3 missed; precision 0.667, recall 0.400" in section.text
    assert "No healthy case" in section.text


def test_healthy_cases_are_apart_and_only_false_alarms_are_listed():
    section = section_of(
        diseased("a", found(1, 0, 0, 0.5)), healthy("clean"), healthy("alarm", made_up=2)
    )
    first, second = section.all("table")
    assert [row[0] for row in table_rows(first)] == ["a"]
    assert table_rows(second) == [["alarm", "2", "1.50"]]
    assert "Healthy cases: 2. 1 stayed empty, in 1 a tumor was made up." in section.text


def test_cases_that_could_not_be_matched_are_listed_without_counts():
    section = section_of(
        diseased("a", found(1, 0, 0, 0.5)),
        with_label(
            case("gone", 0, 0, status="no prediction", error={"rule": "r"}), 14,
            presence="reference only",
        ),
    )  # fmt: skip
    assert table_rows(section.one("table"))[1][:6] == ["gone", "", "", "", "", ""]
    assert "In 1 cases nothing could be matched." in section.text


def test_protocols_that_do_not_match_say_so():
    rules = protocol("flare23")
    section = section_of(case(rules=rules), rules=rules)
    assert "not matched one by one" in section.text and not section.all("table")


def test_no_lesions_no_section_and_no_diseased_case_no_table():
    organs = Protocol(name="o", labels=(Label(id=1, name="x", tolerance_mm=1.0),))
    assert section_of(case(rules=organs), rules=organs) is None
    section = section_of(healthy("clean"))
    assert "No case has tumor in its reference." in section.text and not section.all("table")


def test_a_case_without_scores_is_no_trouble():
    section = section_of(case("x", status="failed", score=None), healthy("alarm", made_up=1))
    assert table_rows(section.one("table")) == [["alarm", "1", "1.50"]]


def test_two_kinds_of_lesions_have_two_parts():
    rules = Protocol(
        name="two",
        labels=tuple(
            Label(id=k, name=name, tolerance_mm=1.0, kind="lesion")
            for k, name in ((1, "cyst"), (2, "tumor"))
        ),
    )
    section = section_of(case(rules=rules), rules=rules)
    assert [head.text for head in section.all("h3")] == ["cyst", "tumor"]


@pytest.mark.parametrize("status", ["no prediction", "prediction refused"])
def test_faulty_cases_are_not_counted_as_healthy(status):
    bad = with_label(
        case("b", status=status, error={"rule": "r"}), 14, presence="neither",
        dsc=math.nan, nsd=math.nan, reason="absent in reference",
    )  # fmt: skip
    assert "Healthy cases: 1." in section_of(bad, healthy("c")).text
