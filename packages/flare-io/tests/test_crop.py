import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_io.crop import Box, Fit, fit_to_shape, nonzero_box
from flare_io.geometry import Geometry

SHAPE = st.tuples(*[st.integers(1, 8)] * 3)


@st.composite
def shape_and_box(draw):
    shape = draw(SHAPE)
    start = tuple(draw(st.integers(0, n - 1)) for n in shape)
    stop = tuple(draw(st.integers(a + 1, n)) for a, n in zip(start, shape, strict=True))
    return shape, Box(start, stop)


@given(shape_and_box())
def test_extract_then_insert_keeps_the_box_and_fills_the_rest(case):
    shape, box = case
    array = np.arange(1, np.prod(shape) + 1).reshape(shape)
    back = box.insert(box.extract(array), shape, fill=-1)
    inside = np.zeros(shape, bool)
    inside[box.slices] = True
    np.testing.assert_array_equal(back, np.where(inside, array, -1))


@given(shape_and_box())
def test_dict_is_the_way_back(case):
    _, box = case
    assert Box(**box.to_dict()) == box


def test_extract_is_a_view_and_takes_channels():
    array = np.zeros((2, 4, 4, 4))
    Box((1, 1, 1), (2, 3, 4)).extract(array)[:] = 1
    assert array.sum() == 2 * 1 * 2 * 3


def test_crop_geometry_keeps_voxels_in_place():
    grid = Geometry((5, 1, 2), (10, 20, 30), direction=((-1, 0, 0), (0, 1, 0), (0, 0, 1)))
    cropped = Box((2, 3, 4), (9, 9, 9)).crop_geometry(grid)
    assert cropped.origin == (0, 23, 38)
    assert cropped.spacing_mm == grid.spacing_mm


def test_expanded_stops_at_the_ends():
    box = Box((1, 2, 0), (2, 3, 1))
    assert box.expanded(2, (5, 4, 3)) == Box((0, 0, 0), (4, 4, 3))
    assert box.expanded((0, 1, 0), (5, 4, 3)) == Box((1, 1, 0), (2, 4, 1))


@pytest.mark.parametrize(
    ("start", "stop"), [((0, 0, 0), (1, 0, 1)), ((-1, 0, 0), (1, 1, 1)), ((0, 0), (1, 1))]
)
def test_impossible_boxes_are_refused(start, stop):
    with pytest.raises(ValueError, match=r"start|three numbers"):
        Box(start, stop)


def test_a_box_that_leaves_the_array_is_refused():
    with pytest.raises(ValueError, match="leaves the array"):
        Box((0, 0, 0), (2, 2, 2)).extract(np.zeros((2, 2, 1)))
    with pytest.raises(ValueError, match=r"box's shape \(1, 1, 1\)"):
        Box((0, 0, 0), (1, 1, 1)).insert(np.zeros((2, 1, 1)), (2, 2, 2))


@settings(max_examples=80)
@given(shape=SHAPE, count=st.integers(0, 4), seed=st.integers(0, 999), channels=st.integers(0, 2))
def test_nonzero_box_equals_the_extremes_of_argwhere(shape, count, seed, channels):
    rng = np.random.default_rng(seed)
    array = np.zeros((*((channels,) if channels else ()), *shape))
    array.ravel()[rng.integers(0, array.size, count)] = rng.choice([-5, np.nan, 3], count)
    found = np.argwhere(array != 0)[:, -3:]
    expected = Box.whole(shape)
    if len(found):
        expected = Box(tuple(found.min(axis=0)), tuple(found.max(axis=0) + 1))
    assert nonzero_box(array) == expected


def test_nonzero_box_wants_three_or_four_axes():
    with pytest.raises(ValueError, match="got shape"):
        nonzero_box(np.zeros((3, 3)))


@given(source=SHAPE, shape=SHAPE)
def test_fit_undone_keeps_everything_that_was_kept(source, shape):
    array = np.arange(1, np.prod(source) + 1).reshape(source)
    fit = Fit(source, shape)
    fitted = fit.apply(array, fill=0)
    assert fitted.shape == shape
    back = fit.undo(fitted, fill=0)
    kept = fit.source_box.insert(np.ones(fit.source_box.shape, bool), source, fill=False)
    np.testing.assert_array_equal(back, np.where(kept, array, 0))
    assert (fitted != 0).sum() == kept.sum()


def test_fit_cuts_and_pads_about_the_center():
    # 5 to 2 drops 1 before and 2 behind; 2 to 5 pads 1 before and 2 behind.
    assert fit_to_shape(np.arange(5).reshape(1, 1, 5), (1, 1, 2)).ravel().tolist() == [1, 2]
    padded = fit_to_shape(np.array([1, 2]).reshape(1, 1, 2), (1, 1, 5), fill=9)
    assert padded.ravel().tolist() == [9, 1, 2, 9, 9]


def test_fit_checks_shapes():
    with pytest.raises(ValueError, match="shapes must be positive"):
        Fit((1, 1, 1), (1, 0, 1))
    fit = Fit((1, 1, 2), (1, 1, 4))
    with pytest.raises(ValueError, match=r"array must have shape \(1, 1, 2\)"):
        fit.apply(np.zeros((1, 1, 3)))
    with pytest.raises(ValueError, match=r"array must have shape \(1, 1, 4\)"):
        fit.undo(np.zeros((1, 1, 3)))
