"""The table of labels says what `summarize` says."""

import math

import pytest

from flare_metrics.protocols import protocol
from flare_metrics.report.summary_table import summary_section
from flare_metrics.report.tabulation import number_cell, rounded

from .report_cases import case, folder, parsed, table_rows, with_label


def section_of(result):
    return parsed(summary_section(result.summary())).one("section")


def three(**changes):
    cases = [case(name, value, value / 2) for name, value in (("a", 0.5), ("b", 0.7), ("c", 0.9))]
    return folder(with_label(cases[0], 1, **changes) if changes else cases[0], *cases[1:])


def test_a_row_holds_mean_interval_median_and_counts():
    result = three()
    liver = result.summary()["labels"]["Liver"]
    row = table_rows(section_of(result).all("table")[0])[0]
    low, high = liver["dsc"]["ci95"]
    assert row[:3] == ["liver", "3", f"0.7000{low:.4f} to {high:.4f}"]
    assert row[3] == "0.7000" and row[4].startswith("0.3500")
    assert row[6:] == ["0", "0", "0"]


def test_sorting_sees_the_mean_and_not_the_interval():
    cell = section_of(three()).all("td", data_column="DSC mean")[0]
    assert cell["data-value"] == "0.7000" and cell.one("small").text


def test_missed_and_wrongly_predicted_are_counted():
    rows = table_rows(section_of(three(presence="reference only")).all("table")[0])
    assert rows[0][6:] == ["1", "0", "0"]
    rows = table_rows(section_of(three(presence="prediction only")).all("table")[0])
    assert rows[0][6:] == ["0", "1", "0"]
    unscored = three(dsc=math.nan, nsd=math.nan, reason="absent in both", presence="neither")
    assert table_rows(section_of(unscored).all("table")[0])[0][6:] == ["0", "0", "1"]


def test_diseased_cases_of_a_lesion_have_their_row():
    healthy = with_label(case("h", 1.0, 1.0), 14, dsc=0.0, nsd=0.0, presence="prediction only")
    rows = table_rows(section_of(folder(case("d", 0.6, 0.4), healthy)).all("table")[0])
    assert [row[0] for row in rows[-2:]] == ["tumor", "tumor, diseased cases only"]
    assert rows[-2][1:4:2] == ["2", "0.3000"] and rows[-1][1:4:2] == ["1", "0.6000"]


def test_distances_have_a_table_where_computed():
    assert len(section_of(three()).all("table")) == 1
    result = three(hd95_mm=3.0, assd_mm=1.25)
    rows = table_rows(section_of(result).all("table")[1])
    assert rows[0][2:] == ["3.00", "3.00", "1.25", "1.25", "0"]


def test_infinite_distances_are_counted_and_kept_out_of_the_mean():
    cases = [
        with_label(case(name), 1, hd95_mm=value, assd_mm=value)
        for name, value in (("a", 2.0), ("b", 4.0), ("c", math.inf))
    ]
    row = table_rows(section_of(folder(*cases)).all("table")[1])[0]
    assert row[2].startswith("3.00") and row[3] == "4.00" and row[-1] == "1"


def test_a_protocol_of_lesions_has_no_words_about_organs():
    rules = protocol("flare24-task1")
    assert "Organs together" not in section_of(folder(case(rules=rules), rules=rules)).text
    assert "Organs together: mean of the labels' mean DSC 0.7000" in section_of(three()).text


@pytest.mark.parametrize(
    ("value", "digits", "shown"),
    [(0.12345, 4, "0.1235"), (None, 2, ""), ("", 2, ""), (math.nan, 2, ""), (3, 1, "3.0"),
     (math.inf, 2, "inf"), ("Infinity", 2, "inf"), ("0.5", 2, "0.50"), (0.99999, 4, "1.0000")],
)  # fmt: skip
def test_numbers_are_rounded(value, digits, shown):
    assert rounded(value, digits) == shown


def test_a_cell_keeps_the_exact_number_only_where_it_differs():
    assert number_cell("0.5000") == "<td>0.5000</td>"
    assert number_cell("0.5") == '<td data-value="0.5">0.5000</td>'
    assert number_cell(1 / 3, digits=1) == '<td data-value="0.3333333333333333">0.3</td>'
    assert number_cell(None) == "<td></td>"
    assert number_cell("inf", column="HD95") == '<td data-column="HD95">inf</td>'
