"""The page in a real browser: numbers, sorting, filter, views, and what it must never do."""

import csv
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from flare_metrics.folder import score_folder
from flare_metrics.protocols import protocol
from flare_metrics.report import write_report
from flare_metrics.report.markup import visible

from .chromium import EXECUTABLE, NAMES, Browser
from .report_cases import HOSTILE, case, folder, with_label, write_map
from .test_report_efficiency import measurement


def _works():
    if EXECUTABLE is None:
        return False
    done = subprocess.run([EXECUTABLE, "--version"], capture_output=True, check=False, timeout=60)
    return done.returncode == 0


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
def report(tmp_path_factory):
    """Write the report of hostile names, pictures, distances, lesions, faults and costs."""
    place = tmp_path_factory.mktemp("folder")
    for name in ("p", "r", "i"):
        (place / name).mkdir()
    rng = np.random.default_rng(5)
    # A file name holds no slash, no zero byte, and 255 bytes at most.
    names = [name.replace("/", "|")[:100] for name in HOSTILE] + ["c2", "c10", "c1"]
    for k, name in enumerate(names):
        reference = np.zeros((16, 24, 24), np.uint8)
        reference[3:12, 4:20, 4:20] = 1
        reference[12:15, 4:8, 4:8] = 14
        prediction = np.roll(reference, int(rng.integers(-3, 4)), axis=2)
        write_map(place / "r" / f"{name}.nii.gz", reference)
        if name != "c1":
            write_map(place / "p" / f"{name}.nii.gz", prediction)
        if k == 0:
            write_map(place / "i" / f"{name}.nii.gz", reference.astype(np.int16) * 100)
    measurement(HOSTILE[0]).write(place / "cost.json")
    result = score_folder(place / "p", place / "r", distances=True)
    result.write(place / "out", images=place / "i", efficiency=place / "cost.json")
    return place / "out" / "report.html"


@pytest.fixture
def page(browser, report):
    browser.set_view(1200)
    browser.open(report)
    return browser


TABLES = """[...document.querySelectorAll('#cases table')].map(table => ({
  names: [...table.tHead.rows[0].cells].map(cell => cell.dataset.name),
  rows: [...table.tBodies[0].rows].map(row =>
    [...row.cells].map(cell => cell.dataset.value ?? cell.textContent)),
}))"""
COLUMN = """[...document.querySelectorAll('#cases table')[{table}].tBodies[0].rows].map(
  row => row.cells[{column}].dataset.value ?? row.cells[{column}].textContent)"""
HEAD = "document.querySelectorAll('#cases table')[{table}].tHead.rows[0].cells[{column}]"


def column(browser, table, place):
    return browser.run(COLUMN.format(table=table, column=place))


def head(table, place):
    return HEAD.format(table=table, column=place)


def test_after_loading_every_number_is_that_of_cases_csv(page, report):
    with (report.parent / "cases.csv").open(newline="", encoding="utf-8") as file:
        written = {row["Name"]: row for row in csv.DictReader(file)}
    seen = set()
    for table in page.run(TABLES):
        for row in table["rows"]:
            assert len(row) == len(table["names"])
        shown = {row[0]: dict(zip(table["names"], row, strict=True)) for row in table["rows"]}
        assert list(shown) == [visible(name) for name in written]
        for name, row in written.items():
            for key in table["names"][1:]:
                expected = visible(row[key]) if key == "Reason" else row[key]
                assert shown[visible(name)][key] == expected, (name, key)
                seen.add(key)
    header = next(iter(written.values())).keys()
    assert seen == set(header) - {"Name"}


def test_a_click_sorts_numbers_up_then_down_and_empty_cells_stay_last(page):
    before = column(page, 0, 1)
    page.click(head(0, 1) + ".firstElementChild")
    up = column(page, 0, 1)
    assert up == sorted(before, key=float) != before
    assert page.run(head(0, 1) + ".getAttribute('aria-sort')") == "ascending"
    page.click(head(0, 1) + ".firstElementChild")
    assert column(page, 0, 1) == sorted(before, key=float, reverse=True)
    assert page.run(head(0, 1) + ".getAttribute('aria-sort')") == "descending"
    page.click(head(0, 0) + ".firstElementChild")
    assert page.run(head(0, 1) + ".getAttribute('aria-sort')") is None
    assert page.run(head(0, 0) + ".getAttribute('aria-sort')") == "ascending"


def test_names_sort_as_people_count(page):
    page.click(head(0, 0) + ".firstElementChild")
    names = [name for name in column(page, 0, 0) if name.startswith("c")]
    assert names == ["c1.nii.gz", "c2.nii.gz", "c10.nii.gz"]


def test_empty_cells_are_last_both_ways_and_infinity_is_largest(browser, tmp_path):
    values = {"a": 2.0, "b": np.inf, "c": np.nan, "d": 10.0, "e": 0.5}
    cases = [with_label(case(name), 1, hd95_mm=v, assd_mm=v) for name, v in values.items()]
    write_report(tmp_path / "report.html", folder(*cases))
    browser.open(tmp_path / "report.html")
    browser.click(head(2, 1) + ".firstElementChild")
    assert column(browser, 2, 1) == ["0.5", "2.0", "10.0", "inf", ""]
    browser.click(head(2, 1) + ".firstElementChild")
    assert column(browser, 2, 1) == ["inf", "10.0", "2.0", "0.5", ""]


@pytest.mark.parametrize(("key", "code"), [("Enter", 13), (" ", 32)])
def test_heads_are_reached_and_pressed_by_keyboard(page, key, code):
    before = column(page, 1, 1)
    page.run(head(1, 1) + ".firstElementChild.focus()")
    page.press(key, code)
    assert column(page, 1, 1) == sorted(before, key=float)
    assert page.run("document.activeElement.getAttribute('role')") == "button"
    page.press("Tab", 9)
    assert page.run(f"document.activeElement === {head(1, 2)}.firstElementChild")


def test_the_filter_hides_rows_in_all_tables_and_counts_them(page):
    shown = "[...document.querySelectorAll('#cases tbody tr')].filter(row => !row.hidden).length"
    tables = page.run("document.querySelectorAll('#cases tbody').length")
    page.run("document.getElementById('filter').focus()")
    page.ask("Input.insertText", text="C1")
    assert page.run(shown) == 2 * tables
    assert page.run("document.querySelector('output').textContent") == " 2 of 11 shown"
    page.set_view(1200, media="print")
    heights = (
        "[...document.querySelectorAll('#cases tbody tr')].filter(row => !row.offsetHeight).length"
    )
    assert page.run(heights) == 0


def test_nothing_is_asked_of_any_network_and_nothing_complains(page, report):
    asked = page.requested()
    assert asked[0] == report.as_uri()
    assert all(url.startswith("data:") for url in asked[1:])
    assert page.complaints() == []


def test_the_policy_stops_what_would_leave_the_page(page):
    script = """new Promise(done => {
      const refused = [];
      document.addEventListener('securitypolicyviolation', event => {
        refused.push(event.effectiveDirective);
        if (refused.length === 5) done(refused.sort());
      });
      const add = (tag, values) => document.body.append(
        Object.assign(document.createElement(tag), values));
      add('img', {src: 'http://127.0.0.1:9/x.png'});
      add('script', {textContent: 'document.title = "owned"'});
      add('iframe', {src: 'http://127.0.0.1:9/'});
      add('style', {textContent: 'body { color: red }'});
      fetch('http://127.0.0.1:9/').catch(() => 0);
      setTimeout(() => done(refused.sort()), 5000);
    })"""
    refused = page.run(script)
    assert refused == ["connect-src", "frame-src", "img-src", "script-src-elem", "style-src-elem"]
    assert page.run("document.title") == "sound: scores of 11 cases"


def test_hostile_names_run_nothing_and_are_read_as_they_are(page):
    assert page.run("document.title") == "sound: scores of 11 cases"
    assert page.run("document.querySelectorAll('script').length") == 1
    events = "[...document.querySelectorAll('*')].filter(e => e.getAttributeNames().some("
    assert page.run(events + "name => name.startsWith('on'))).length") == 0
    names = column(page, 0, 0)
    for name in HOSTILE:
        assert visible(name.replace("/", "|")[:100]) + ".nii.gz" in names


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [400, 1200])
def test_nothing_sticks_out_and_text_has_contrast(page, width, dark):
    page.set_view(width, dark=dark)
    assert page.run("document.documentElement.scrollWidth") == width
    too_wide = """[...document.querySelectorAll('h1, h3, p, li, figure, img, .plot, .tiles div')]
      .filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('.unseen'))
      .map(e => e.outerHTML.slice(0, 80))"""
    assert page.run(too_wide) == []
    for kind in ("p", "th", "td", "a", ".brand", "figcaption", ".tiles .bad dd", ".strip + *",
                 "[role=button]"):  # fmt: skip
        assert page.run(CONTRAST.replace("KIND", kind)) >= 4.5, kind


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


def test_dark_and_light_are_really_drawn(page, tmp_path):
    grounds = []
    for dark in (False, True):
        page.set_view(400, dark=dark)
        page.picture(tmp_path / "page.png", clip={"x": 0, "y": 0, "width": 400, "height": 600})
        pixels = np.asarray(Image.open(tmp_path / "page.png").convert("L"))
        grounds.append(float(np.median(pixels)))
    assert grounds[0] > 240 and grounds[1] < 40


def test_all_is_visible_on_paper(page, tmp_path):
    page.set_view(1200, media="print")
    cut = """[...document.querySelectorAll('.scroll')].filter(e =>
      e.scrollHeight > e.clientHeight + 1 || getComputedStyle(e).overflow !== 'visible').length"""
    assert page.run(cut) == 0
    assert page.run("getComputedStyle(document.querySelector('.filter')).display") == "none"
    page.set_view(700, media="print")
    shrunk = page.run(
        "[...document.querySelectorAll('article.case')].map(article =>"
        " [...article.querySelectorAll('img')].map(e => e.width / e.naturalWidth))"
    )
    for factors in shrunk:
        assert factors == pytest.approx([factors[0]] * len(factors), rel=0.02)
    page.pdf(tmp_path / "page.pdf", preferCSSPageSize=True)
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_pictures_and_curves_are_shown_at_their_size(page):
    sizes = page.run("[...document.querySelectorAll('img')].map(e => [e.naturalWidth, e.width])")
    assert len(sizes) == 30
    for natural, width in sizes:
        assert natural > 100 and width == pytest.approx(natural / 1.5, abs=1)
    assert page.run("getComputedStyle(document.querySelector('.flare-curves')).maxWidth") == "520px"


def test_thousands_of_cases_open_and_sort(browser, tmp_path):
    rng = np.random.default_rng(2)
    rules = protocol("flare24-task1")
    cases = [case(f"c{k}", *rng.random(2).tolist(), rules=rules) for k in range(4000)]
    cases = [replace(each, file=f"{each.case}.nii.gz") for each in cases]
    write_report(tmp_path / "report.html", folder(*cases, rules=rules))
    assert (tmp_path / "report.html").stat().st_size < 5e6
    browser.open(tmp_path / "report.html")
    browser.click(head(0, 1) + ".firstElementChild")
    values = [float(value) for value in column(browser, 0, 1)]
    assert len(values) == 4000 and values == sorted(values)
