"""Pictures: the right slice, millimeters' aspect, lines and letters where they belong."""

import base64
import io

import numpy as np
import pytest
from PIL import Image

from flare_metrics.report import render_disagreement
from flare_metrics.report.drawing import PanelScale, draw_panel, stacked
from flare_metrics.report.montage import disagreement_panels
from flare_metrics.report.palette import (
    FILL,
    GROUND,
    dimmed,
    fixed_palette,
    hexadecimal,
    label_colors,
    pale,
)
from flare_metrics.report.pictures import data_uri

SPACING = (4.0, 2.0, 1.0)


def pair(shape=(40, 80, 160), shift=6):
    """A box, and the same box moved to the left of the patient."""
    reference = np.zeros(shape, np.uint8)
    reference[10:30, 20:60, 40:120] = 1
    return np.roll(reference, shift, axis=2), reference


def panels(prediction, reference, **options):
    values = {"spacing_mm": SPACING, "names": {1: "one", 2: "two"}, **options}
    return disagreement_panels(prediction, reference, **values)


def test_pictures_have_millimeters_aspect_and_one_scale():
    axial, coronal, sagittal = panels(*pair(), axes="SPL", size_px=300)
    assert [panel.plane for panel in (axial, coronal, sagittal)] == [
        "axial", "coronal", "sagittal",
    ]  # fmt: skip
    # The box is 80 x 80 x 86 mm; the field around it is cut to at least 120 mm where there is.
    assert axial.image.size == (300, 300)
    assert coronal.image.size == (300, 300)
    assert all(panel.image.mode == "RGB" for panel in (axial, coronal, sagittal))


def test_anisotropic_voxels_are_stretched():
    reference = np.zeros((30, 60, 200), np.uint8)
    reference[:, :, 10:190] = 1
    axial, coronal, _ = panels(reference, reference, size_px=400)
    assert axial.image.size == (400, round(400 * 120 / 200))
    assert coronal.image.size == (400, round(400 * 120 / 200))


@pytest.mark.parametrize("axes", ["SPL", "IAR", "LSP", None])
def test_the_slice_is_the_one_that_differs_in_the_array_as_given(axes):
    _, reference = pair()
    prediction = reference.copy()
    prediction[27, 50, 100] = 2
    shown = panels(prediction, reference, axes=axes, spacing_mm=(2, 2, 2))
    for panel in shown:
        assert panel.slices == reference.shape[panel.axis]
        assert panel.index == {0: 27, 1: 50, 2: 100}[panel.axis]
        assert panel.labels == (1, 2)


def test_left_is_right_and_up_is_up():
    """A radiologist sees the patient's right at the left, anterior and superior above."""
    image = np.full((40, 40, 40), -160, np.int16)
    image[30:, :, :] = 240
    reference = np.zeros(image.shape, np.uint8)
    reference[5:35, 5:35, 5:35] = 1
    _, coronal, _ = panels(reference, reference, image=image, axes="SPL", spacing_mm=(3, 3, 3))
    gray = np.asarray(coronal.image.convert("L"))
    assert gray[: len(gray) // 8].mean() > 200 > 60 > gray[-len(gray) // 8 :].mean()
    flipped = panels(
        reference[::-1], reference[::-1], image=image[::-1], axes="IPL", spacing_mm=(3, 3, 3)
    )[1]
    assert np.array_equal(np.asarray(flipped.image), np.asarray(coronal.image))


def test_a_volume_of_few_slices_has_its_axial_picture_only():
    reference = np.zeros((1, 200, 200), np.uint8)
    reference[0, 50:150, 50:150] = 1
    shown = panels(reference, reference, spacing_mm=(2, 1, 1))
    assert [panel.plane for panel in shown] == ["axial"]
    assert panels(np.zeros_like(reference), np.zeros_like(reference)) == ()


def test_labels_outside_the_names_are_background():
    prediction, reference = pair()
    reference[5, 5, 5] = 9
    assert all(panel.labels == (1,) for panel in panels(prediction, reference))


def test_reference_and_prediction_lines_differ_without_color():
    codes = np.zeros((40, 40), np.uint16)
    codes[10:30, 10:30] = 1
    options = {
        "colors": [(230, 159, 0)], "notes": {}, "background": np.zeros((40, 40), np.uint8),
        "scale": PanelScale(1, 1, 0.1), "letters": "",
    }  # fmt: skip
    nothing = np.zeros_like(codes)
    solid = np.asarray(draw_panel(nothing, codes, **options)).max(axis=2)
    dashed = np.asarray(draw_panel(codes, nothing, **options)).max(axis=2)
    top = slice(98, 103), slice(130, 270)
    assert (solid[top].max(axis=0) > 150).all()
    bright = dashed[top].max(axis=0) > 150
    assert 0.3 < bright.mean() < 0.8 and np.abs(np.diff(bright.astype(int))).sum() > 8


def test_without_a_scan_the_reference_is_filled_and_notes_are_written():
    codes = np.zeros((40, 40), np.uint16)
    codes[10:30, 10:30] = 1
    options = {"colors": [(230, 159, 0)], "background": None, "scale": PanelScale(1, 1, 0.1)}
    plain = draw_panel(codes, codes, notes={}, letters="", **options)
    assert plain.getpixel((200, 200)) == dimmed((230, 159, 0), FILL)
    assert plain.getpixel((20, 200)) == GROUND
    noted = draw_panel(codes, codes, notes={1: "liver"}, letters="APRL", **options)
    changed = np.argwhere((np.asarray(noted) != np.asarray(plain)).any(axis=2))
    assert any(300 < column < 360 and 180 < row < 220 for row, column in changed)
    assert any(row < 25 and 180 < column < 220 for row, column in changed)


def test_names_of_labels_at_one_place_do_not_cover_each_other():
    reference = np.zeros((60, 60), np.uint16)
    reference[28:30, 30:32], reference[30:32, 30:32] = 1, 2
    colors = [(255, 0, 0), (0, 0, 255)]
    shared = {"colors": colors, "background": None, "scale": PanelScale(2, 2, 0.3), "letters": ""}
    both = draw_panel(reference, reference, notes={1: "xxxx", 2: "xxxx"}, **shared)
    pixels = np.asarray(both).astype(int)
    red = np.argwhere((pixels[..., 0] > 200) & (pixels[..., 2] < 60) & (pixels[..., 1] < 60))
    blue = np.argwhere((pixels[..., 2] > 200) & (pixels[..., 0] < 60) & (pixels[..., 1] < 60))
    right = [group[group[:, 1] > 220][:, 0] for group in (red, blue)]
    assert right[0].max() < right[1].min()


def test_render_disagreement_returns_one_picture_with_a_legend():
    prediction, reference = pair()
    picture = render_disagreement(prediction, reference, spacing_mm=SPACING, size_px=200)
    assert picture.mode == "RGB" and picture.width > 3 * 200 and picture.height > 200
    again = render_disagreement(prediction, reference, spacing_mm=SPACING, size_px=200)
    assert np.array_equal(np.asarray(picture), np.asarray(again))


def test_two_dimensions_and_empty_maps():
    reference = np.zeros((100, 100), np.uint8)
    flat = render_disagreement(reference, reference, spacing_mm=(1, 1))
    assert flat.height < 100
    reference[20:80, 20:80] = 3
    image = np.zeros((100, 100))
    full = render_disagreement(reference, reference, spacing_mm=(1, 1), image=image)
    assert full.height > 400


def test_wrong_arguments_are_named():
    prediction, reference = pair()
    with pytest.raises(ValueError, match=r"one shape, got \[\(39, 80, 160\), \(40, 80, 160\)\]"):
        panels(prediction[1:], reference)
    with pytest.raises(ValueError, match="axes must be three letters"):
        panels(prediction, reference, axes="SSL")


def test_the_legend_breaks_into_rows():
    picture = Image.new("RGB", (640, 10))
    short = stacked([picture], [("a", (255, 0, 0))])
    long = stacked([picture], [(f"a long name {k}", (255, 0, 0)) for k in range(12)])
    assert long.width == short.width and long.height > short.height + 28


def test_colors_are_unlike_and_stay_with_their_label():
    colors = label_colors(range(1, 15))
    assert len(set(colors.values())) == 14
    assert label_colors([5, 1])[5] == label_colors([5])[5]
    assert label_colors(range(15))[14] == label_colors(range(15))[0]
    assert hexadecimal((0, 255, 16)) == "#00ff10"
    for color in colors.values():
        # Relative luminance against the ground, WCAG: at least 3 for lines.
        assert contrast(color, GROUND) > 3 and contrast(pale(color), GROUND) > 3


def contrast(one, other):
    def luminance(color):
        parts = [part / 255 for part in color]
        linear = [p / 12.92 if p <= 0.03928 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_few_colors_keep_those_of_labels_and_a_limit_of_bytes():
    rng = np.random.default_rng(0)
    noise = np.repeat(rng.integers(0, 256, (540, 540, 1), np.uint8), 3, axis=2)
    noise[100, :] = (230, 159, 0)
    uri = data_uri(Image.fromarray(noise))
    data = base64.b64decode(uri.partition(",")[2])
    shown = np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    assert (shown[100] == (230, 159, 0)).all()
    assert len(data) < 180_000  # noise is the worst there is: 16 grays are 4 bits a pixel
    assert len(fixed_palette(142)) == 256
