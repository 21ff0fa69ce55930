"""The page: what it says, what it never loads, and names that would like to be markup."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from flare_fusion.conflict import conflict_mask
from flare_fusion.dataset import fuse_dataset
from flare_fusion.plan import FusionSettings
from flare_fusion.report import report_html, write_report
from flare_fusion.report.pictures import CONFLICT_COLOR, case_pictures
from flare_fusion.report.worst import worst_cases
from flare_fusion.results import CaseFusion, DatasetFusion

from .small_dataset import MAPS, SHAPE, write_labels

HOSTILE = "</script><img src=x onerror=alert(1)>\u202e\n&amp;\"'"


class _Page(HTMLParser):
    """Collect tags, attributes, the text of each section and the rows of each table."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes, self.rows, self.text = [], [], [], []
        self._in_cell = False
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self._in_cell = True
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        if tag in ("td", "th"):
            self._in_cell = False

    def handle_data(self, data):
        self.text.append(data)
        if self._in_cell:
            self.rows[-1][-1] += data


def figures(dice, ml=1.0, *, kappa=0.5):
    return {
        "looked_for": {"A": [1], "B": [1]},
        "pairs": [{"first": "A", "second": "B", "dice": {"1": dice}}],
        "mean_dice": dice,
        "kappa": kappa,
        "kappa_of": {"1": kappa},
        "conflict_voxels": int(ml * 100),
        "conflict_ml": ml,
        "conflict_ml_of": {"1": ml} if ml else {},
    }


def done(case, **more):
    return CaseFusion(case=case, status="done", rule="s1-labeled", image="gone.nii.gz", **more)


def result(tmp_path, *cases, **settings):
    return DatasetFusion(
        folder=tmp_path,
        cases=cases,
        settings={"dataset": "data", "rule": "s1", **settings},
        names={"1": "liver"},
    )


@pytest.fixture
def fused(dataset, tmp_path):
    return fuse_dataset(dataset, tmp_path / "out", settings=FusionSettings(provenance=True))


def test_the_page_stands_alone(fused, tmp_path):
    write_report(tmp_path / "out" / "report.html", fused)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    page = _Page(text)
    for tag, name, value in page.attributes:
        if name in ("src", "href"):
            assert value.startswith(("data:", "#")), (tag, value)
        assert not name.startswith("on") and name != "style"
    policy = next(value for _, name, value in page.attributes if name == "content")
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'sha256-")
    assert {"link", "script", "style"} <= set(page.tags)
    assert page.tags.count("script") == 1
    for word in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem"):
        assert word in text


def test_figures_of_two_cases_by_hand(tmp_path):
    cases = (
        done("a", agreement=figures(0.5, 3.0, kappa=0.25), volumes_ml={"1": 10.0}),
        done("b", agreement=figures(1.0, 0.0, kappa=-0.0001), volumes_ml={"1": 5.0}),
        done("c", agreement=None),
    )
    rows = _Page(report_html(result(tmp_path, *cases))).rows
    liver = next(row for row in rows if row[0] == "liver")
    # Means of 0.5 and 1, of 0.25 and about 0, 3 ml over two cases; small, the lowest.
    assert liver == ["liver", "0.7500.500, n 2", "0.1250.000, n 2", "1.5"]
    table = [row for row in rows if row[0] in "abc" and len(row) == 9]
    assert [row[:6] for row in table] == [
        ["a", "3.0", "30.0 %", "0.250", "0.500", "10"],
        ["b", "0.0", "0.0 %", "0.000", "1.000", "5"],
        ["c", "", "", "", "", ""],
    ]


def test_worst_are_the_ten_lowest_that_differ_at_all(tmp_path):
    cases = [done(f"c{k:02d}", agreement=figures(k / 20)) for k in range(15)]
    cases += [done("equal", agreement=figures(0.0, 9.0)), done("same", agreement=figures(1, 0.0))]
    found = [case.case for case in worst_cases(result(tmp_path, *cases))]
    assert found == ["equal", *(f"c{k:02d}" for k in range(9))]


def test_names_stay_text(tmp_path):
    error = {"kind": "data", "source": HOSTILE, "rule": HOSTILE}
    cases = (
        done(HOSTILE, agreement=figures(0.5), sources={HOSTILE: "x"}, notes=[HOSTILE],
             origins={"vote": 3}),
        CaseFusion(case=HOSTILE, status="failed", rule=HOSTILE, error=error),
    )  # fmt: skip
    settings = {"options": {HOSTILE: HOSTILE}, "rule": HOSTILE, "dataset": HOSTILE}
    fusion = DatasetFusion(
        folder=tmp_path, cases=cases, settings=settings, names={"1": HOSTILE, "2": HOSTILE}
    )
    page = _Page(report_html(fusion))
    assert page.tags.count("script") == 1
    assert "img" not in page.tags
    assert "\u202e" not in "".join(page.text)
    assert any("\\u202e" in row[0] for row in page.rows)


def test_faults_notes_and_a_k_of_presence_are_said(tmp_path):
    error = {"kind": "grid", "source": "A/x.nii.gz", "rule": "must lie there", "found": "3 mm"}
    cases = (
        done("moved", notes=["source A was brought over"]),
        CaseFusion(case="bad", status="failed", error=error),
    )
    page = _Page(report_html(result(tmp_path, *cases, k_source="presence")))
    text = " ".join(page.text)
    assert ["bad", "grid", "A/x.nii.gz: must lie there, found 3 mm"] in page.rows
    assert "source A was brought over" in text
    assert "Where an annotated organ is truly absent" in text
    quiet = " ".join(_Page(report_html(result(tmp_path, done("fine"), k_source="manifest"))).text)
    assert "truly absent" not in quiet
    assert "Faults" not in quiet


def test_pictures_hatch_conflict_and_show_each_source(fused, tmp_path):
    case = next(row for row in fused.cases if row.case == "labeled")
    drawn = case_pictures(case, folder=tmp_path / "out")
    assert drawn.fault == ""
    assert [panel.caption.split(",")[0] for panel in drawn.sources] == ["A", "B", "partial"]
    assert [panel.caption.split(",")[1] for panel in drawn.views] == [
        " axial",
        " coronal",
        " sagittal",
    ]
    pixels = _pixels(drawn.views[0])
    hatched = (pixels == CONFLICT_COLOR).all(axis=2).mean()
    # Two of seven diagonals, in nearly the whole plane of random labels.
    assert 0.15 < hatched < 0.3
    assert not (_pixels(drawn.sources[0]) == CONFLICT_COLOR).all(axis=2).any()


def test_the_axial_plane_is_that_with_most_conflict(dataset, tmp_path):
    one = MAPS["A"]["unlabeled"].copy()
    two = one.copy()
    two[3] = np.where(one[3] == 1, 2, 1)
    two[1, 0, 0] = one[1, 0, 0] % 13 + 1
    write_labels(dataset / "pseudoA", "unlabeled", one)
    write_labels(dataset / "pseudoB", "unlabeled", two)
    fusion = fuse_dataset(dataset, tmp_path / "out")
    case = next(row for row in fusion.cases if row.case == "unlabeled")
    assert case.agreement["conflict_voxels"] == (one != two).sum()
    drawn = case_pictures(case, folder=tmp_path / "out")
    assert drawn.views[0].caption == f"fused, axial, plane 4 of {SHAPE[0]}"
    # The partial label of an unlabeled case is nobody's opinion.
    assert [panel.caption.split(",")[0] for panel in drawn.sources] == ["A", "B"]
    mask = conflict_mask({"A": one, "B": two}, looked_for=case.agreement["looked_for"])
    assert (mask == (one != two)).all()


def test_a_file_that_is_gone_is_said_in_place_of_its_picture(fused, dataset, tmp_path):
    (dataset / "pseudoA" / "labeled.nii.gz").unlink()
    text = " ".join(_Page(report_html(fused)).text)
    assert re.search(r"No picture: .*pseudoA/labeled.nii.gz", text)
    assert report_html(result(tmp_path)).count("<section") == 2


def _pixels(panel):
    data = base64.b64decode(panel.uri.removeprefix("data:image/png;base64,"))
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
