"""The page in a real browser: sorting, filter, views, and what it must never do."""

import json
import subprocess

import numpy as np
import pytest
from PIL import Image

from flare_fusion.dataset import fuse_dataset
from flare_fusion.plan import FusionSettings
from flare_fusion.report import write_report
from flare_fusion.report.markup import visible
from flare_fusion.results import CaseFusion, DatasetFusion
from flare_io.phantom import write_phantom_dataset

from .chromium import EXECUTABLE, NAMES, Browser
from .test_report import HOSTILE, done, figures, result


def _works():
    if EXECUTABLE is None:
        return False
    done_ = subprocess.run([EXECUTABLE, "--version"], capture_output=True, check=False, timeout=60)
    return done_.returncode == 0


pytestmark = pytest.mark.skipif(
    EXECUTABLE is None or not _works(),
    reason=f"needs one of {', '.join(NAMES)} on PATH that starts",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    browser = Browser(tmp_path_factory.mktemp("profile"))
    yield browser
    browser.close()


@pytest.fixture(scope="module")
def fusion(tmp_path_factory):
    """Return fused phantoms, one of them a fault, another of a hostile name."""
    place = tmp_path_factory.mktemp("fusion")
    write_phantom_dataset(place / "data", preset="unit", cases=4, seed=1, test_cases=0)
    (place / "data" / "pseudoA" / "phantom_0002.nii.gz").write_bytes(b"torn")
    asked = FusionSettings(k_source="presence")
    whole = fuse_dataset(place / "data", place / "out", settings=asked)
    hostile = CaseFusion(
        case=HOSTILE, status="failed", rule=HOSTILE, error={"kind": "data", "rule": HOSTILE}
    )
    return DatasetFusion(
        folder=whole.folder,
        cases=(*whole.cases, done("c10", agreement=figures(0.5, 3.0)), hostile),
        settings=whole.settings,
        names=whole.names,
    )


@pytest.fixture(scope="module")
def report(fusion):
    write_report(fusion.folder / "report.html", fusion)
    return fusion.folder / "report.html"


@pytest.fixture
def page(browser, report):
    browser.set_view(1200)
    browser.open(report)
    return browser


ROWS = """[...document.querySelector('#cases table').tBodies[0].rows].map(row =>
  [...row.cells].map(cell => cell.dataset.value ?? cell.textContent))"""


def column(browser, place):
    return [row[place] for row in browser.run(ROWS)]


def head(place):
    return f"document.querySelector('#cases table').tHead.rows[0].cells[{place}]"


def test_every_number_is_that_of_report_json(page, fusion, report):
    written = json.loads((report.parent / "report.json").read_text(encoding="utf-8"))["results"]
    shown = {row[0]: row for row in page.run(ROWS)}
    assert list(shown)[-1] in (visible(HOSTILE), "phantom_0002")
    for row in written:
        if row["status"] == "failed":
            assert shown[row["case"]][1:6] == [""] * 5
            continue
        found, figures_ = shown[row["case"]], row["agreement"]
        labeled = sum(row["volumes_ml"].values())
        assert [float(cell) for cell in found[1:6]] == pytest.approx(
            [
                figures_["conflict_ml"],
                figures_["conflict_ml"] / labeled,
                figures_["kappa"],
                figures_["mean_dice"],
                labeled,
            ]
        )


def test_a_click_sorts_up_then_down_and_empty_cells_stay_last(page):
    assert page.run(head(1) + ".getAttribute('aria-sort')") == "descending"
    page.click(head(4) + ".firstElementChild")
    filled = [value for value in column(page, 4) if value]
    assert column(page, 4) == [*sorted(filled, key=float), "", ""]
    assert page.run(head(4) + ".getAttribute('aria-sort')") == "ascending"
    assert page.run(head(1) + ".getAttribute('aria-sort')") is None
    page.click(head(4) + ".firstElementChild")
    assert column(page, 4) == [*sorted(filled, key=float, reverse=True), "", ""]


@pytest.mark.parametrize(("key", "code"), [("Enter", 13), (" ", 32)])
def test_heads_are_reached_and_pressed_by_keyboard(page, key, code):
    page.run(head(5) + ".firstElementChild.focus()")
    page.press(key, code)
    filled = [float(value) for value in column(page, 5) if value]
    assert filled == sorted(filled)
    assert page.run("document.activeElement.getAttribute('role')") == "button"


def test_the_filter_hides_rows_and_paper_shows_them_all(page):
    page.run("document.getElementById('filter').focus()")
    page.ask("Input.insertText", text="PHANTOM_0001")
    rows = "[...document.querySelectorAll('#cases tbody tr')]"
    assert page.run(rows + ".filter(row => !row.hidden).length") == 1
    assert page.run("document.querySelector('output').textContent") == " 1 of 6 shown"
    page.set_view(1200, media="print")
    assert page.run(rows + ".filter(row => !row.offsetHeight).length") == 0
    page.run("document.getElementById('filter').value = ''")


def test_nothing_is_asked_of_any_network_and_nothing_complains(page, report):
    asked = page.requested()
    assert asked[0] == report.as_uri()
    assert all(url.startswith("data:") for url in asked[1:])
    assert page.complaints() == []


def test_the_policy_stops_what_would_leave_the_page(page):
    refused = page.run("""new Promise(done => {
      const refused = [];
      document.addEventListener('securitypolicyviolation', event => {
        refused.push(event.effectiveDirective);
        if (refused.length === 3) done(refused.sort());
      });
      const add = (tag, values) => document.body.append(
        Object.assign(document.createElement(tag), values));
      add('img', {src: 'http://127.0.0.1:9/x.png'});
      add('script', {textContent: 'document.title = "owned"'});
      fetch('http://127.0.0.1:9/').catch(() => 0);
      setTimeout(() => done(refused.sort()), 5000);
    })""")
    assert refused == ["connect-src", "img-src", "script-src-elem"]
    assert page.run("document.title") == "6 cases fused by s1"


def test_hostile_names_run_nothing_and_are_read_as_they_are(page):
    assert page.run("document.querySelectorAll('script').length") == 1
    marked = "[...document.querySelectorAll('*')].filter(e => e.getAttributeNames().some("
    assert page.run(marked + "name => name.startsWith('on'))).length") == 0
    assert visible(HOSTILE) in column(page, 0)


CONTRAST = """(() => {
  const parse = color => color.match(/[\\d.]+/g).map(Number);
  const light = color => {
    const [r, g, b] = parse(color).slice(0, 3).map(v => v / 255)
      .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const ground = e => {
    for (; e; e = e.parentElement) {
      const color = getComputedStyle(e).backgroundColor;
      if (parse(color).length < 4 || parse(color)[3] > 0) return color;
    }
  };
  const ratios = [...document.querySelectorAll('KIND')].map(e => {
    const [a, b] = [light(getComputedStyle(e).color), light(ground(e))].sort((x, y) => y - x);
    return (a + 0.05) / (b + 0.05);
  });
  return Math.min(99, ...ratios);
})()"""


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_sticks_out_and_text_has_contrast(page, width, dark):
    page.set_view(width, dark=dark)
    assert page.run("document.documentElement.scrollWidth") == width
    too_wide = """[...document.querySelectorAll('h1, h2, h3, p, li, figure, img, dd, .tiles div')]
      .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.unseen'))
      .map(e => e.outerHTML.slice(0, 80))"""
    assert page.run(too_wide) == []
    for kind in ("p", "th", "td", "a", "small", ".brand", ".remark", "figcaption", ".bad dd",
                 "td.bad", "[role=button]", ".legend li", ".settings dt"):  # fmt: skip
        assert page.run(CONTRAST.replace("KIND", kind)) >= 4.5, kind


def test_dark_and_light_are_really_drawn(page, tmp_path):
    grounds = []
    for dark in (False, True):
        page.set_view(400, dark=dark)
        page.picture(tmp_path / "page.png", clip={"x": 0, "y": 0, "width": 400, "height": 600})
        pixels = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
        grounds.append(float(np.median(pixels)))
    assert grounds[0] > 240 and grounds[1] < 40


def test_pictures_of_three_cases_are_shown_and_one_that_is_gone_is_said(page):
    sizes = page.run("[...document.querySelectorAll('#worst img')].map(e => e.naturalWidth)")
    # Three planes of the fused labels, then A, B and, where there is one, the partial label.
    assert 15 <= len(sizes) <= 18 and min(sizes) > 100
    text = page.run("document.querySelector('#worst').textContent")
    assert "No picture: " in text and "gone.nii.gz" in text


def test_all_is_visible_on_paper(page, tmp_path):
    page.set_view(1200, media="print")
    cut = """[...document.querySelectorAll('.scroll')].filter(e =>
      e.scrollHeight > e.clientHeight + 1 || getComputedStyle(e).overflow !== 'visible').length"""
    assert page.run(cut) == 0
    page.pdf(tmp_path / "page.pdf", preferCSSPageSize=True)
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_thousands_of_cases_open_and_sort(browser, tmp_path):
    values = np.random.default_rng(2).random((3000, 2))
    cases = [done(f"c{k}", agreement=figures(*row)) for k, row in enumerate(values.tolist())]
    write_report(tmp_path / "report.html", result(tmp_path, *cases))
    assert (tmp_path / "report.html").stat().st_size < 5e6
    browser.open(tmp_path / "report.html")
    shown = [float(value) for value in column(browser, 1)]
    assert shown == sorted(values[:, 1].tolist(), reverse=True)
    browser.click(head(4) + ".firstElementChild")
    assert [float(value) for value in column(browser, 4)] == sorted(values[:, 0].tolist())
