import itertools
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flare_io.errors import GeometryError
from flare_io.geometry import AxisOrder, Geometry
from flare_io.labels import LabelTable, label_table
from flare_io.montage import render_montage, write_montage
from flare_io.volume import Volume

TABLE = label_table("flare23")
LIVER = TABLE[1].color
ALL_ORDERS = [
    AxisOrder(permutation, flips)
    for permutation in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]


def case():
    """Return a patient with a liver at right, anterior and above, and a table below."""
    shape = (24, 40, 48)
    hu = np.full(shape, -1000, np.int16)
    hu[:, 8:30, 6:42] = 50
    hu[:, 36:38, 4:44] = 200
    labels = np.zeros(shape, np.uint8)
    labels[14:22, 10:18, 8:18] = 1
    grid = Geometry((5.0, 2.0, 2.0), (-30.0, 5.0, 8.0))
    return Volume(hu, grid), Volume(labels, grid)


def pixels(picture):
    return np.asarray(picture).astype(int)


def of_color(picture, color, box=None):
    """Return rows and columns of the pixels of one color."""
    return np.argwhere((pixels(picture.crop(box) if box else picture) == color).all(axis=2))


def test_liver_is_at_the_images_left_and_the_table_below():
    image, labels = case()
    picture = render_montage(image, labels, table=TABLE, title="case")
    # 48 * 2 mm fill 480 pixels: 5 per mm; the axial panel is 400 high, its corner at (98, 24).
    axial = (24, 98, 24 + 480, 98 + 400)
    found = of_color(picture, LIVER, axial)
    # Voxels y 10..17 and x 8..17 of 10 pixels each, and linear interpolation keeps straight edges.
    np.testing.assert_allclose(found.min(axis=0), [100, 80], atol=1)
    np.testing.assert_allclose(found.max(axis=0), [179, 179], atol=1)
    gray = pixels(picture.crop(axial))
    assert (gray[370, 60:420] > 200).all()
    assert (gray[10, :] == 0).all()


@cache
def straight_picture():
    image, labels = case()
    return pixels(render_montage(image, labels, table=TABLE))


@pytest.mark.parametrize("order", ALL_ORDERS, ids=str)
def test_all_48_axis_orders_give_the_same_picture(order):
    image, labels = case()
    picture = render_montage(image.reordered(order), labels, table=TABLE)
    np.testing.assert_array_equal(pixels(picture), straight_picture())


def test_the_coronal_view_has_superior_up():
    image, labels = case()
    picture = render_montage(image, labels, table=TABLE)
    # Liver z 14..21 of 24: in the upper half. The coronal panel is the lower left one, 600 high.
    height = picture.height
    coronal = (24, height - 24 - 600, 24 + 480, height - 24)
    rows, columns = of_color(picture, LIVER, coronal).T
    # 5 mm are 25 pixels; upside down, z 21 begins at row (24 - 22) * 25 = 50, z 14 ends at 250.
    assert abs(rows.min() - 50) <= 1
    assert abs(rows.max() - 249) <= 1
    assert abs(columns.min() - 80) <= 1


def test_the_legend_names_present_labels_with_their_volumes(monkeypatch):
    written = []
    from PIL import ImageDraw

    original = ImageDraw.ImageDraw.text
    monkeypatch.setattr(
        ImageDraw.ImageDraw,
        "text",
        lambda self, place, text, **style: (
            written.append(text),
            original(self, place, text, **style),
        ),
    )
    image, labels = case()
    reference = labels.with_array(np.where(labels.array == 1, 77, 0).astype(np.uint8))
    render_montage(image, labels, table=TABLE, reference=reference, title="a\ncase")
    # 8 * 8 * 10 voxels of 20 mm3 are 12.8 ml.
    assert {"liver", "label 77", "13", "0.0", "solid, ml", "dashed, ml", "a case"} <= set(written)
    assert "spleen" not in written
    assert [text for text in written if text in "RLAPSI"] == list("RLAPRLSIAPSI")
    assert (
        "24 x 40 x 48 voxels of 5.00 x 2.00 x 2.00 mm (z, y, x), window -160 to 240 HU" in written
    )


@pytest.mark.parametrize("labels", ["none", "empty"])
def test_without_labels_the_middle_is_shown_without_contours(labels):
    image, drawn = case()
    given = None if labels == "none" else drawn.with_array(np.zeros(drawn.shape, np.uint8))
    picture = render_montage(image, given, table=TABLE)
    values = pixels(picture)[98 : 98 + 400, 24 : 24 + 480]
    assert (values == values[:, :, :1]).all()


@pytest.mark.parametrize("shape", [(1, 30, 30), (30, 1, 30), (30, 30, 1), (1, 1, 1)])
def test_thin_volumes_are_drawn(shape):
    grid = Geometry((1.0, 1.0, 1.0))
    labels = Volume(np.ones(shape, np.uint8), grid)
    picture = render_montage(Volume(np.zeros(shape), grid), labels, table=TABLE)
    assert picture.mode == "RGB"


def test_many_labels_are_cut_with_a_count():
    image, drawn = case()
    many = LabelTable.from_names("many", {f"vertebra {k}": k for k in range(1, 120)})
    array = np.arange(drawn.array.size).reshape(drawn.shape) % 120
    picture = render_montage(image, drawn.with_array(array.astype(np.uint8)), table=many)
    # 400 pixels beside the axial panel hold 20 lines.
    assert picture.height < 1300


def test_a_long_title_is_shortened_to_fit():
    image, labels = case()
    short = render_montage(image, labels, table=TABLE, title="x")
    long = render_montage(image, labels, table=TABLE, title="word " * 400)
    assert long.size == short.size


def test_labels_on_another_grid_are_refused():
    image, labels = case()
    elsewhere = Volume(labels.array, Geometry((5.0, 2.0, 2.0)))
    with pytest.raises(GeometryError, match="reference: must lie on the image's grid"):
        render_montage(image, labels, table=TABLE, reference=elsewhere)


def test_write_montage(tmp_path):
    image, labels = case()
    path = tmp_path / "case.png"
    write_montage(path, image, labels, table=TABLE, title="case")
    with Image.open(path) as picture:
        expected = render_montage(image, labels, table=TABLE, title="case")
        np.testing.assert_array_equal(pixels(picture), pixels(expected))
    assert [each.name for each in tmp_path.iterdir()] == ["case.png"]
    with pytest.raises(ValueError, match=r"path must end in .png, got .*case.jpg"):
        write_montage(tmp_path / "case.jpg", image, labels, table=TABLE)


def test_real_dicom_case_has_the_liver_at_the_images_left():
    root = next(p for p in Path(__file__).parents if (p / "packages").is_dir() or p == p.parent)
    folder = root.parent / "shared" / "data"
    if not (folder / "abdomen_dicom").is_dir():
        pytest.skip("no ../shared/data: real CT to run on")
    from flare_io.files import read_label_map, read_volume

    image = read_volume(folder / "abdomen_dicom")
    labels = read_label_map(folder / "abdomen_dicom_organs.nii.gz")
    picture = render_montage(image, labels, table=TABLE)
    axial = (24, 98, 24 + 480, 98 + 480)
    liver = of_color(picture, LIVER, axial).mean(axis=0)
    spleen = of_color(picture, TABLE[3].color, axial).mean(axis=0)
    assert liver[1] < 240 < spleen[1]
    # The table is a bright arc below the patient: white pixels under the lowest organ.
    gray = pixels(picture.crop(axial))
    below = gray[int(of_color(picture, TABLE[3].color, axial).max(axis=0)[0]) + 30 :]
    assert (below > 240).all(axis=2).sum() > 500
