"""Plots: places are values, boxes are quartiles, thinning keeps what matters."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_metrics.report.plots import Dot, kept_dots, plots_section

from .report_cases import case, folder, parsed, with_label


def section_of(*cases):
    return parsed(plots_section(folder(*cases))).one("section")


def spread(values, nsd=0.5):
    return [case(f"case {k}", value, nsd) for k, value in enumerate(values)]


def percent(text):
    assert text.endswith("%")
    return float(text[:-1])


def test_each_metric_has_a_row_a_label_and_each_case_a_dot():
    section = section_of(*spread([0.2, 0.4]))
    dsc, nsd = section.all("table")
    assert dsc.one("caption").text == "DSC" and nsd.one("caption").text == "NSD, from 0.5 to 1"
    rows = dsc.one("tbody").all("tr")
    assert len(rows) == 14 and rows[0].one("th").text == "liver"
    assert [dot.one("title").text for dot in rows[0].all("circle")] == [
        "case 0: 0.2000", "case 1: 0.4000",
    ]  # fmt: skip


def test_places_are_values():
    section = section_of(*spread([0.2, 0.4, 1.0]))
    row = section.all("table")[0].one("tbody").all("tr")[0]
    assert [percent(dot["cx"]) for dot in row.all("circle")] == pytest.approx([20, 40, 100])
    median = row.one("line", class_="median")
    assert percent(median["x1"]) == pytest.approx(40) == percent(median["x2"])
    box = row.one("rect", class_="box")
    assert percent(box["x"]) == pytest.approx(30) and percent(box["width"]) == pytest.approx(40)
    assert row.children[-1].text == "0.400"


def test_high_scores_get_a_scale_that_starts_higher_and_says_so():
    section = section_of(*spread([0.85, 0.9, 1.0], nsd=0.95))
    dsc, nsd = section.all("table")
    assert dsc.one("caption").text == "DSC, from 0.8 to 1"
    dots = dsc.one("tbody").all("tr")[0].all("circle")
    assert [percent(dot["cx"]) for dot in dots] == pytest.approx([25, 50, 100])
    assert [tick.text for tick in nsd.one("thead").all("text")] == [
        "0.9", "0.92", "0.94", "0.96", "0.98", "1",
    ]  # fmt: skip


def test_whiskers_end_at_cases_within_reach():
    values = [0.0, 0.5, 0.52, 0.54, 0.56, 0.58, 0.6]
    row = section_of(*spread(values)).all("table")[0].one("tbody").all("tr")[0]
    line = row.all("line", class_="whisker")[0]
    assert [percent(line[end]) for end in ("x1", "x2")] == pytest.approx([50, 60])


def test_faulty_cases_are_hollow_and_unscored_labels_have_no_dot():
    bad = case("bad", 0.0, 0.0, status="no prediction", error={"rule": "r"})
    none = with_label(case("none"), 1, dsc=math.nan, nsd=math.nan, reason="absent in both")
    lost = case("lost", status="failed", score=None)
    rows = section_of(bad, none, lost).all("table")[0].one("tbody").all("tr")
    assert [dot.get("class") for dot in rows[0].all("circle")] == ["faulty"]
    assert [dot.get("class") for dot in rows[1].all("circle")] == ["faulty", None]


def test_a_label_without_scores_says_so():
    lost = with_label(case(), 1, dsc=math.nan, nsd=math.nan, reason="absent in both")
    row = section_of(lost).all("table")[0].one("tbody").all("tr")[0]
    assert row.children[-1].text == "no scores" and not row.all("circle")
    assert row.one("svg")["aria-label"] == "liver: no scores"


def test_thousands_are_thinned_and_the_page_says_so():
    rng = np.random.default_rng(1)
    section = section_of(*spread(rng.random(1000).tolist()))
    row = section.all("table")[0].one("tbody").all("tr")[0]
    assert len(row.all("circle")) == 200 and row.one("svg")["class"] == "strip many"
    assert "Of 1000 cases 200 dots are drawn in a row: the 20 lowest" in section.text
    assert "1000 cases" in row.one("svg")["aria-label"]
    assert "dots are drawn" not in section_of(*spread([0.1])).text


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), max_size=500))
def test_thinning_keeps_extremes_order_and_number(values):
    dots = [Dot(value, str(k), False) for k, value in enumerate(values)]
    kept = kept_dots(dots)
    assert len(kept) == min(len(dots), 200) == len(set(kept))
    ranked = sorted(dots)
    assert kept == sorted(kept) and set(kept) <= set(dots)
    assert kept[:20] == ranked[:20] and kept[-1:] == ranked[-1:]
