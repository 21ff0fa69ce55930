"""The page as text: whole, inert, allowed to load nothing, and equal to the tables."""

import base64
import csv
import hashlib
import io
import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_metrics import atomic
from flare_metrics.errors import UnreadableFileError
from flare_metrics.protocols import Label, Protocol, protocol
from flare_metrics.report import report_html, write_report
from flare_metrics.report.markup import visible
from flare_metrics.tables import case_table, csv_text

from .report_cases import HOSTILE, case, folder, parsed, table_rows, with_label

SECTIONS = ["labels", "plots", "worst", "lesions", "cases", "rules"]


def page_of(result, **options):
    text = report_html(result, **options)
    return parsed(text), text


def several():
    """Four cases: good, with an infinite distance, with an empty score, without prediction."""
    good = with_label(case("good", 0.912345678901, 1.0), 1, hd95_mm=2.5, assd_mm=0.123456789)
    far = with_label(
        case("far", 0.25, 0.1), 1, dsc=0.0, nsd=0.0, hd95_mm=math.inf, assd_mm=math.inf,
        presence="reference only",
    )  # fmt: skip
    part = with_label(
        case("part", 0.75, 1 / 3), 9, dsc=math.nan, nsd=math.nan, reason="absent in both",
        presence="neither",
    )  # fmt: skip
    error = {"kind": "missing", "rule": "no prediction of this name", "source": "x"}
    gone = case("gone", 0.0, 0.0, status="no prediction", error=error)
    return folder(good, far, part, gone)


def test_the_page_has_its_sections_in_order_and_one_heading():
    root, text = page_of(several())
    assert text.startswith("<!DOCTYPE html>\n<html lang=")
    ids = [section["id"] for section in root.one("main").all("section")]
    assert ids == ["faults", *SECTIONS]
    assert [link["href"] for link in root.one("nav").all("a")] == [f"#{name}" for name in ids]
    assert root.one("h1").text == "Scores of 4 cases"
    names = [node["id"] for node in root.all("section")]
    assert len(set(names)) == len(names)


def test_the_policy_allows_this_style_and_script_and_nothing_else():
    root, text = page_of(several())
    policy = root.one("meta", http_equiv="Content-Security-Policy")["content"]
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules.pop("default-src") == "'none'"
    assert rules.pop("img-src") == "data:"
    for tag in ("style", "script"):
        digest = hashlib.sha256(root.one(tag).text.encode()).digest()
        assert rules.pop(f"{tag}-src") == f"'sha256-{base64.b64encode(digest).decode()}'"
    assert rules == {"base-uri": "'none'", "form-action": "'none'"}
    # It rules what comes after it only.
    assert text.index("Content-Security-Policy") < text.index("<style>")
    assert not re.search(r'\s(style|on\w+)="', text)


def test_no_address_is_left_but_data_and_places_of_the_page():
    _, text = page_of(several())
    root = parsed(text)
    for tag in ("a", "img", "link", "script", "use", "image"):
        for node in root.all(tag):
            for name in ("href", "src", "xlink:href"):
                assert node.get(name, "#").startswith(("#", "data:"))
    assert "http://" not in text and "https://" not in text
    assert not re.search(r"url\(|@import|srcset|fetch|XMLHttp|WebSocket|eval", text)


def test_every_number_is_that_of_cases_csv():
    result = several()
    root, _ = page_of(result)
    written = list(csv.reader(io.StringIO(csv_text(case_table(result)))))
    assert collected(root) == written


def collected(root):
    """Return what the tables of all cases say, in the form of ``cases.csv``."""
    columns = {}
    for table in root.one("section", id="cases").all("table"):
        heads = [head["data-name"] for head in table.one("thead").all("th")]
        for row in table.one("tbody").all("tr"):
            cells = [cell for cell in row.children if cell.tag in ("th", "td")]
            for name, cell in zip(heads, cells, strict=True):
                columns.setdefault(name, []).append(cell.get("data-value", cell.text))
    columns["Name"] = columns["Name"][: len(columns["Status"])]
    return [list(columns), *map(list, zip(*columns.values(), strict=True))]


scores = st.one_of(st.floats(0, 1), st.just(math.nan))


@settings(max_examples=12, deadline=None)
@given(st.lists(st.tuples(scores, scores), min_size=1, max_size=4), st.booleans())
def test_numbers_are_equal_whatever_they_are(values, official):
    rules = protocol("flare23" if official else "sound")
    rules = rules.with_options(labels=rules.labels[-2:], z_crop_labels=())
    cases = [case(f"c{k}", *pair, rules=rules) for k, pair in enumerate(values)]
    result = folder(*cases, rules=rules)
    root, _ = page_of(result)
    assert collected(root) == case_table(result)


def test_shown_numbers_are_rounded_and_exact_ones_kept():
    root, _ = page_of(several())
    table = root.one("section", id="cases").all("table")[0]
    first = table.one("tbody").all("td")[0]
    assert (first.text, first["data-value"]) == ("0.9123", "0.912345678901")
    distances = root.one("section", id="cases").all("table")[2]
    column = [row.all("td")[0] for row in distances.one("tbody").all("tr")]
    assert [cell.text for cell in column] == ["2.50", "inf", "", ""]


def test_many_labels_make_several_tables():
    labels = tuple(Label(id=k, name=f"l{k}", tolerance_mm=1.0) for k in range(1, 35))
    rules = Protocol(name="many", labels=labels)
    result = folder(case(rules=rules), rules=rules)
    root, _ = page_of(result)
    captions = [table.one("caption").text for table in root.one("section", id="cases").all("table")]
    assert captions[:3] == [
        "DSC by case, labels 1 to 15 of 34",
        "DSC by case, labels 16 to 30 of 34",
        "DSC by case, labels 31 to 34 of 34",
    ]
    assert collected(root) == case_table(result)


@pytest.mark.parametrize("name", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_add_nothing_anywhere(name):
    error = {"kind": "x", "rule": name, "source": name}
    results = [
        folder(case(name), case(f"{name}2", status="no prediction", error=error)),
        folder(case("plain"), case("plain2", status="no prediction", error=dict(error, rule="r"))),
    ]
    (hostile, text), (plain, _) = map(page_of, results)
    text.encode()
    count = {tag: len(plain.all(tag)) for tag in ("script", "b", "td", "tr", "img", "meta", "bdi")}
    assert {tag: len(hostile.all(tag)) for tag in count} == count
    handlers = [n for tag in ("tr", "td", "th", "bdi") for n in hostile.all(tag) if any(
        key.startswith("on") for key in n.attributes)]  # fmt: skip
    assert not handlers
    faulty = table_rows(hostile.one("section", id="faults").one("table"))
    assert faulty == [[visible(f"{name}2"), "no prediction", visible(name)]]


def test_hostile_labels_and_protocols_add_nothing():
    evil = "</script><script>alert(1)</script>"
    rules = Protocol(
        name=evil, title=evil, labels=(Label(id=1, name=evil, tolerance_mm=1.0, kind="lesion"),)
    )
    root, text = page_of(folder(case(rules=rules), rules=rules))
    assert len(root.all("script")) == 1
    assert evil not in text


def test_the_head_counts_every_status_and_faults_give_their_reason():
    root, _ = page_of(several())
    tiles = {
        tile.one("dt").text: tile.one("dd").text
        for tile in root.one("dl", class_="tiles").all("div")
    }
    assert tiles["scored"] == "3" and tiles["no prediction"] == "1"
    faults = root.one("section", id="faults")
    assert table_rows(faults.one("table")) == [
        ["gone", "no prediction", "no prediction of this name"]
    ]
    assert "1 of 4 cases" in faults.text and "score 0" in faults.text


def test_without_faults_there_is_no_such_section_and_notes_are_no_faults():
    root, _ = page_of(folder(case()))
    assert "faults" not in [node["id"] for node in root.all("section")]
    root, _ = page_of(folder(case(note="resampled")))
    text = root.one("section", id="faults").text
    assert "1 scored cases carry a note" in text and "of 1 cases are not" not in text


def test_reasons_that_are_missing_are_filled_from_the_status():
    rules = protocol("flare23")
    bad = case("x", rules=rules, status="failed", score=None)
    root, _ = page_of(folder(bad, case("y", rules=rules), rules=rules))
    faults = root.one("section", id="faults")
    assert table_rows(faults.one("table")) == [["x", "failed", "the case could not be scored"]]
    assert "part of no mean" in faults.text


def test_a_folder_in_which_nothing_was_scored_has_a_page():
    for result in (folder(), folder(case(status="failed", score=None))):
        root, _ = page_of(result)
        ids = [node["id"] for node in root.all("section")]
        assert "worst" not in ids and "cases" in ids


def test_the_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    write_report(path, several())
    before = path.read_bytes()
    assert parsed(before.decode()).one("head").one("title").text == "sound: scores of 4 cases"

    def fail(step):
        if step == "fsync":
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(atomic, "_io", fail)
    with pytest.raises(OSError, match="No space"):
        write_report(path, folder(case()))
    assert path.read_bytes() == before and [entry.name for entry in tmp_path.iterdir()] == [
        "report.html"
    ]


def test_a_measurement_that_is_none_is_an_error_that_names_it(tmp_path):
    with pytest.raises(UnreadableFileError, match="efficiency must be what flare-metrics measure"):
        write_report(tmp_path / "report.html", several(), efficiency=tmp_path)
    assert not (tmp_path / "report.html").exists()


def test_the_same_result_gives_the_same_page():
    assert report_html(several()) == report_html(several())
