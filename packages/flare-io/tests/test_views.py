import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_io.geometry import Geometry
from flare_io.labels import label_table
from flare_io.views import (
    VIEWS,
    informative_planes,
    label_counts,
    outline,
    paint_plane,
    panel_size,
)
from flare_io.volume import Volume

TABLE = label_table("flare23")
AXIAL, CORONAL, SAGITTAL = VIEWS
# World axis (S, P, L) and sign of each letter's direction.
TOWARD = {"S": (0, 1), "I": (0, -1), "P": (1, 1), "A": (1, -1), "L": (2, 1), "R": (2, -1)}


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
def test_letters_stand_where_the_patients_sides_are(view):
    left, right, top, bottom = view.letters
    shape = (11, 13, 17)
    middle = [5, 6, 8]
    for letter, (row, column) in {
        left: (0, -1),
        right: (0, 1),
        top: (-1, 0),
        bottom: (1, 0),
    }.items():
        axis, sign = TOWARD[letter]
        array = np.zeros(shape)
        voxel = list(middle)
        voxel[axis] += 3 * sign
        array[tuple(voxel)] = 1
        plane = view.plane(array, middle[view.across])
        found = np.argwhere(plane == 1)[0] - (np.array(plane.shape) - 1) / 2
        assert np.sign(found).tolist() == [row, column]


def test_radiological_convention():
    assert AXIAL.letters == ("R", "L", "A", "P")
    assert CORONAL.letters == ("R", "L", "S", "I")
    assert SAGITTAL.letters == ("A", "P", "S", "I")


@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.name)
@settings(max_examples=20, deadline=None)
@given(voxel=st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 7)))
def test_a_bright_voxel_lands_on_its_pixel(view, voxel):
    array = np.full((5, 7, 9), -1000.0)
    array[voxel] = 1000
    image = Volume(array, Geometry((6.0, 4.0, 2.0)))
    panel = paint_plane(
        image, view, voxel[view.across], scale=2.5, window_hu=(-100, 100), table=TABLE
    )
    # 6, 4 and 2 mm at 2.5 pixels per mm: a voxel is 15, 10 or 5 pixels.
    assert panel.shape[:2] == panel_size(view, image, 2.5)
    bright = np.argwhere(panel[:, :, 0] == panel.max())
    expected = view.pixel(voxel, image.shape, panel.shape)
    np.testing.assert_allclose(bright.mean(axis=0), expected, atol=0.6)
    assert (panel.std(axis=2) == 0).all()


def test_millimeters_have_one_length_in_all_views():
    image = Volume(np.zeros((10, 20, 40)), Geometry((5.0, 2.0, 1.0)))
    # 50 x 40 x 40 mm at 3 pixels per mm
    assert [panel_size(view, image, 3.0) for view in VIEWS] == [(120, 120), (150, 120), (150, 120)]
    thin = Volume(np.zeros((1, 20, 40)), Geometry((0.01, 2.0, 1.0)))
    assert panel_size(CORONAL, thin, 3.0) == (1, 120)


def test_planes_are_chosen_by_what_they_show():
    labels = np.zeros((20, 20, 20), np.uint8)
    labels[2:6, 2:18, 2:18] = 1
    labels[5, 9, 9:12] = 2
    z, y, x = informative_planes(labels, labels.shape)
    assert (z, y) == (5, 9)
    assert 9 <= x <= 11


@pytest.mark.parametrize("labels", [None, np.zeros((6, 7, 8), np.uint8)], ids=["none", "empty"])
def test_without_labels_the_middle_is_shown(labels):
    assert informative_planes(labels, (6, 7, 8)) == (3, 3, 4)


def test_a_label_between_the_searched_voxels_is_found():
    labels = np.zeros((180, 180, 180), np.uint8)
    labels[101, 77, 33] = 4
    assert informative_planes(labels, labels.shape) == (101, 77, 33)


def test_counts_leave_background_out():
    assert label_counts(np.array([[[0, 2, 2]], [[7, 0, 2]]])) == {2: 3, 7: 1}
    assert label_counts(None) == {}


def test_outline_of_a_square():
    labels = np.zeros((7, 7), int)
    labels[1:6, 1:6] = 3
    edge = np.zeros((7, 7), bool)
    edge[1:6, 1:6] = True
    edge[2:5, 2:5] = False
    np.testing.assert_array_equal(outline(labels), edge)
    edge[1:6, 1:6] = True
    edge[3, 3] = False
    np.testing.assert_array_equal(outline(labels, width=2), edge)
    assert not outline(np.ones((4, 4), int)).any()


def paint(solid, dashed, table=TABLE):
    image = Volume(np.full((4, 40, 40), -1000.0), Geometry((1.0, 1.0, 1.0)))
    return paint_plane(
        image, AXIAL, 2, scale=1.0, window_hu=(-160, 240), table=table, layers=(solid, dashed)
    )


def test_contours_have_the_tables_colors():
    labels = np.zeros((4, 40, 40), np.uint8)
    labels[2, 10:20, 5:15] = 1
    labels[2, 25:30, 20:30] = 200
    panel = paint(labels, None)
    assert tuple(panel[10, 10]) == TABLE[1].color
    assert tuple(panel[25, 25]) == (255, 255, 255)
    # Inside: black with 22 percent of the color.
    np.testing.assert_allclose(panel[15, 10], 0.22 * np.array(TABLE[1].color), atol=1)
    assert tuple(panel[5, 5]) == (0, 0, 0)


def test_the_second_layer_is_dashed_and_not_filled():
    labels = np.zeros((4, 40, 40), np.uint8)
    labels[2, 5:35, 5:35] = 5
    panel = paint(None, labels)
    edge = panel[5, 5:35].any(axis=1)
    assert 0.3 < edge.mean() < 0.7
    assert tuple(panel[20, 20]) == (0, 0, 0)
    assert {tuple(pixel) for pixel in panel[5, 5:35]} == {(0, 0, 0), TABLE[5].color}
