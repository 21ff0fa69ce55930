"""The worst cases: which they are, and what their pictures show or why there are none."""

import base64
import io
import math
import os

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from flare_metrics.folder import score_folder
from flare_metrics.protocols import protocol
from flare_metrics.report.case_pictures import case_pictures
from flare_metrics.report.worst import mean_score, worst_cases, worst_section

from .report_cases import case, folder, parsed, with_label, write_map


def test_the_worst_come_first_equals_by_name_and_faults_do_not_count():
    cases = [case(f"c{k:02d}", 1 - k / 20, 1 - k / 20) for k in range(15)]
    cases += [case("b", 0.3, 0.3), case("gone", 0, 0, status="no prediction")]
    cases.append(case("failed", status="failed", score=None))
    worst = [result.case for result in worst_cases(folder(*cases))]
    assert worst == ["b", "c14", "c13", "c12", "c11", "c10", "c09", "c08", "c07", "c06"]


def test_unscored_labels_do_not_count_in_the_mean():
    mixed = with_label(case("x", 0.6, 0.4), 1, dsc=math.nan, nsd=math.nan, reason="absent in both")
    assert mean_score(mixed) == pytest.approx(0.5)
    assert math.isnan(mean_score(case(status="failed", score=None)))


@pytest.fixture
def files(tmp_path):
    """Return folders of one case whose prediction misses the second label."""
    for name in ("p", "r", "i"):
        (tmp_path / name).mkdir()
    reference = np.zeros((30, 40, 50), np.uint8)
    reference[5:20, 5:30, 5:40] = 1
    reference[22:27, 20:30, 20:30] = 2
    prediction = np.where(reference == 2, 0, reference).astype(np.uint8)
    write_map(tmp_path / "p" / "a.nii.gz", prediction)
    write_map(tmp_path / "r" / "a.nii.gz", reference)
    return tmp_path


def scored(files, **options):
    return score_folder(files / "p", files / "r", **options)


def pictures_of(files, *, images=None, **options):
    result = scored(files, **options)
    return case_pictures(result.cases[0], result.protocol, images=images)


def test_a_case_has_three_pictures_with_the_missed_label(files):
    made = pictures_of(files)
    assert [panel.plane for panel in made.panels] == ["axial", "coronal", "sagittal"]
    assert made.oriented and made.remark == ""
    axial = made.panels[0]
    assert axial.slices == 30 and 22 <= axial.index < 27 and axial.labels == (2,)


def test_the_page_shows_them_with_legend_and_lowest_labels(files):
    section = parsed(worst_section(scored(files), images=None)).one("section")
    article = section.one("article")
    assert article.one("h3").text == "a: 0.500"
    assert "Lowest: right kidney DSC 0.000, NSD 0.000; liver DSC 1.000" in article.text
    images = article.all("img")
    assert len(images) == 3 and "axial, slice" in images[0]["alt"]
    data = base64.b64decode(images[0]["src"].partition(",")[2])
    picture = Image.open(io.BytesIO(data))
    assert picture.format == "PNG"
    assert int(images[0]["width"]) == round(picture.width / 1.5)
    legend = [item.text.strip() for item in article.one("ul").all("li")]
    assert legend == ["liver", "right kidney"]


@pytest.mark.parametrize("name", ["a_0000.nii.gz", "a.nii.gz"])
def test_a_scan_stands_behind_the_outlines(files, name):
    scan = np.full((30, 40, 50), 240, np.int16)
    scan[0, 0, 0] = -1000
    write_map(files / "i" / name, scan)
    bright = np.asarray(pictures_of(files, images=files / "i").panels[0].image.convert("L"))
    dark = np.asarray(pictures_of(files).panels[0].image.convert("L"))
    assert bright[5, 40] > 230 > 60 > dark[5, 40]


def test_another_scan_than_ct_has_a_window_of_its_own(files):
    scan = np.linspace(0, 3000, 30 * 40 * 50).reshape(30, 40, 50).astype(np.float32)
    write_map(files / "i" / "a.nii.gz", scan)
    gray = np.asarray(pictures_of(files, images=files / "i").panels[1].image.convert("L"))
    assert gray[30, 150] > 200 and gray[-5, 150] < 90


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: None, "neither a_0000.nii.gz nor a.nii.gz"),
        (lambda folder: (folder / "a.nii.gz").write_bytes(b"\x1f\x8bxx"), "No scan: "),
        (lambda folder: write_map(folder / "a.nii.gz", np.zeros((3, 4, 5), np.int16)),
         "another grid than the reference: shape"),
        (lambda folder: write_map(folder / "a.nii.gz", np.zeros((30, 40, 50), np.int16),
                                  np.diag([2, 2, 4, 1.0])), "another grid"),
    ],
    ids=["none", "damaged", "shape", "spacing"],
)  # fmt: skip
def test_a_scan_that_does_not_fit_is_said_and_not_shown(files, make, words):
    make(files / "i")
    made = pictures_of(files, images=files / "i")
    assert words in made.remark and len(made.panels) == 3


@pytest.mark.parametrize("side", ["p", "r"])
def test_a_file_that_is_gone_or_damaged_is_said_in_place_of_the_picture(files, side):
    result = scored(files)
    path = files / side / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:-9])
    section = parsed(worst_section(result, images=None)).one("section")
    assert "gzip stream ends early" in section.one("p", class_="remark").text
    os.remove(path)
    section = parsed(worst_section(result, images=None)).one("section")
    assert "No picture: " in section.text and not section.all("img")


def test_without_paths_or_labels_the_page_says_so(files):
    rules = protocol("sound")
    assert "not known" in case_pictures(case(), rules, images=None).remark
    for side in ("p", "r"):
        write_map(files / side / "a.nii.gz", np.zeros((5, 5, 5), np.uint8))
    result = scored(files)
    made = case_pictures(result.cases[0], rules, images=None)
    assert made.remark == "No picture: neither file holds a label." and not made.panels


def test_a_resampled_case_is_shown_on_the_grid_of_the_reference(files):
    reference = nib.load(files / "r" / "a.nii.gz")
    array = np.asarray(reference.dataobj)
    moved = reference.affine.copy()
    moved[0, 3] -= 2 * moved[0, 0]
    padded = np.pad(array, ((2, 2), (0, 0), (0, 0)))
    nib.save(nib.Nifti1Image(padded, moved), files / "p" / "a.nii.gz")
    result = scored(files, resample=True)
    assert result.cases[0].note
    made = case_pictures(result.cases[0], result.protocol, images=None)
    assert len(made.panels) == 3 and made.panels[2].slices == 50


def test_official_protocols_show_the_patient_where_the_affine_is_sound(files):
    made = pictures_of(files, protocol="flare23")
    assert made.oriented
    for side in ("p", "r"):
        path = files / side / "a.nii.gz"
        image = nib.load(path)
        image.set_sform(np.zeros((4, 4)), code=1)
        image.header["srow_x"], image.header["sform_code"] = [np.nan, 0, 0, 0], 1
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, image.header), path)
    result = scored(files, protocol="flare23")
    made = case_pictures(result.cases[0], result.protocol, images=None)
    assert made.panels and not made.oriented
    section = parsed(worst_section(result, images=None)).one("section")
    assert "across array axis 0, slice" in section.text


def test_unlike_shapes_have_no_picture(files):
    write_map(files / "p" / "a.nii.gz", np.zeros((30, 40, 49), np.uint8))
    result = scored(files, protocol="flare22")
    made = case_pictures(result.cases[0], result.protocol, images=None)
    assert "must have one shape" in made.remark
