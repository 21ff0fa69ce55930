import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from skimage.transform import resize

from flare_io.resample import resample_image, separate_axis, target_shape
from flare_io.resample_labels import resample_labels

SHAPE = st.tuples(*[st.integers(1, 40)] * 3)
ORDER = st.sampled_from([0, 1, 3])


def noise(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def skimage_resize(array, shape, order):
    return resize(array, shape, order, mode="edge", anti_aliasing=False)


def separate_by_definition(array, shape, order, axis, order_separate):
    """Resize plane by plane, then along the axis by scipy's map_coordinates."""
    planes = np.moveaxis(array, axis, 0)
    plane_shape = [n for k, n in enumerate(shape) if k != axis]
    resized = np.stack([skimage_resize(plane, plane_shape, order) for plane in planes])
    length = shape[axis]
    along = (np.arange(length) + 0.5) * len(planes) / length - 0.5
    grid = np.meshgrid(along, *map(np.arange, plane_shape), indexing="ij")
    result = ndimage.map_coordinates(resized, grid, order=order_separate, mode="nearest")
    return np.moveaxis(result, 0, axis)


@settings(max_examples=60, deadline=None)
@given(shape=SHAPE, new_shape=SHAPE, order=ORDER)
def test_equals_skimage(shape, new_shape, order):
    array = noise(shape)
    result = resample_image(array, new_shape, order=order)
    np.testing.assert_allclose(result, skimage_resize(array, new_shape, order), rtol=0, atol=1e-11)


@pytest.mark.parametrize("order", [0, 1, 3])
@pytest.mark.parametrize(
    ("shape", "new_shape"),
    [((90, 70, 60), (41, 33, 95)), ((37, 40, 41), (101, 90, 77)), ((120, 20, 20), (40, 33, 9))],
    ids=["mixed", "up", "long"],
)
def test_equals_skimage_across_blocks(shape, new_shape, order):
    array = noise(shape)
    result = resample_image(array, new_shape, order=order)
    np.testing.assert_allclose(result, skimage_resize(array, new_shape, order), rtol=0, atol=1e-11)


@settings(max_examples=40, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 12)] * 3),
    new_shape=st.tuples(*[st.integers(1, 16)] * 3),
    order=st.sampled_from([1, 3]),
    order_separate=st.sampled_from([0, 1]),
    axis=st.integers(0, 2),
)
def test_separate_axis_equals_planes_then_map_coordinates(
    shape, new_shape, order, order_separate, axis
):
    array = noise(shape)
    if shape == new_shape:
        return
    result = resample_image(
        array, new_shape, order=order, separate_axis=axis, order_separate=order_separate
    )
    expected = separate_by_definition(array, new_shape, order, axis, order_separate)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-11)


def test_cubic_result_stays_in_the_inputs_range():
    step = np.zeros((8, 8, 8))
    step[4:] = 1
    result = resample_image(step, (13, 8, 8), order=3)
    # Unclipped a cubic spline overshoots a step by several percent on both sides.
    assert result.min() == 0
    assert result.max() == 1


def test_separate_planes_are_clipped_each_to_its_own_range():
    array = np.zeros((2, 8, 8))
    array[0, 4:] = 1
    array[1] = 100
    result = resample_image(array, (2, 13, 8), order=3, separate_axis=0)
    assert result[0].max() == 1
    assert (result[1] == 100).all()


def test_float32_arithmetic_is_an_option():
    array = (noise((40, 50, 30)) * 100).astype(np.float32)
    exact = resample_image(array, (33, 71, 30), order=3)
    quick = resample_image(array, (33, 71, 30), order=3, compute_dtype=np.float32)
    assert 0 < np.abs(exact - quick).max() < 1e-5 * np.ptp(array)


@pytest.mark.parametrize(
    ("given_type", "result_type"),
    [
        (np.int16, np.float32),
        (np.float16, np.float16),
        (np.float32, np.float32),
        (np.float64, np.float64),
    ],
)
def test_result_type(given_type, result_type):
    array = np.arange(8).reshape(2, 2, 2).astype(given_type)
    for shape in ((2, 2, 2), (3, 3, 3)):
        assert resample_image(array, shape, order=1).dtype == result_type


def test_equal_shape_returns_the_array_itself():
    array = noise((3, 4, 5))
    assert resample_image(array, (3, 4, 5), order=3) is array


def test_read_only_strided_input_is_accepted():
    array = noise((12, 14, 9)).transpose(2, 0, 1)[:, ::-1]
    array.flags.writeable = False
    result = resample_image(array, (5, 20, 7), order=3)
    np.testing.assert_allclose(result, skimage_resize(array, (5, 20, 7), 3), atol=1e-11)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (1, 2)}, "shape must be three positive numbers"),
        ({"shape": (1, 2, 0)}, "shape must be three positive numbers"),
        ({"shape": (2, 2, 2), "order": 2}, "order must be 0, 1 or 3"),
        ({"shape": (2, 2, 2), "separate_axis": 3}, "separate_axis must be None, 0, 1 or 2"),
    ],
)
def test_wrong_arguments_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        resample_image(noise((4, 4, 4)), **{"order": 1, **options})


def test_an_array_of_another_dimension_is_refused():
    with pytest.raises(ValueError, match=r"array must be \(z, y, x\) with voxels"):
        resample_image(noise((4, 4)), (2, 2, 2), order=1)


def one_hot_shares(labels, shape):
    """Return the classes and each one's share of every voxel, by skimage."""
    classes = np.unique(labels)
    shares = [skimage_resize((labels == c).astype(float), shape, 1) for c in classes]
    return classes, np.stack(shares)


def largest_share_by_definition(labels, shape):
    """One-hot, skimage's linear resize, argmax; ties to the nearest voxel's label."""
    classes, shares = one_hot_shares(labels, shape)
    nearest = skimage_resize(labels.astype(float), shape, 0)
    result = classes[shares.argmax(axis=0)]
    best = shares.max(axis=0)
    for label, share in zip(classes, shares, strict=True):
        result = np.where((share == best) & (nearest == label), label, result)
    return result


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    new_shape=st.tuples(*[st.integers(1, 14)] * 3),
    classes=st.integers(1, 5),
    seed=st.integers(0, 99),
)
def test_linear_labels_equal_one_hot_argmax(shape, new_shape, classes, seed):
    labels = np.random.default_rng(seed).integers(0, classes, shape).astype(np.uint8)
    result = resample_labels(labels, new_shape, rule="linear")
    assert result.dtype == np.uint8
    values, shares = one_hot_shares(labels, new_shape)
    own = np.take_along_axis(shares, np.searchsorted(values, result)[None], axis=0)[0]
    # Where the order of a sum decides between equal shares, either of them is right.
    assert (shares.max(axis=0) - own < 1e-12).all()


def test_linear_labels_on_a_tie_take_the_nearest_voxel():
    labels = np.array([0, 3], np.uint8).reshape(1, 1, 2)
    # The middle of three voxels lies halfway; scipy takes the later of the two as nearest.
    assert resample_labels(labels, (1, 1, 3), rule="linear").ravel().tolist() == [0, 3, 3]
    expected = largest_share_by_definition(labels, (1, 1, 3))
    assert expected.ravel().tolist() == [0, 3, 3]


def test_linear_labels_along_a_separate_axis_are_nearest():
    labels = np.random.default_rng(0).integers(0, 4, (5, 9, 11)).astype(np.uint8)
    result = resample_labels(labels, (7, 13, 6), rule="linear", separate_axis=0)
    planes = [largest_share_by_definition(p[None], (1, 13, 6))[0] for p in labels]
    chosen = np.floor((np.arange(7) + 0.5) * 5 / 7).astype(int)
    np.testing.assert_array_equal(result, np.stack(planes)[chosen])


def test_ties_go_to_the_nearest_voxel():
    # 4 to 2: samples halfway between 0 and 1, 2 and 3; the nearest rule takes voxels 1 and 3.
    labels = np.array([[[9, 2, 3, 7]]], np.uint8)
    assert resample_labels(labels, (1, 1, 2), rule="linear").ravel().tolist() == [2, 7]


def test_ties_without_the_nearest_label_go_to_the_smallest():
    # Shares at the middle of the block: 1 and 2 three eighths each, 3 two eighths; nearest is a 3.
    labels = np.array([3, 1, 1, 1, 2, 2, 2, 3], np.uint8).reshape(2, 2, 2)
    assert resample_labels(labels, (1, 1, 1), rule="linear").item() == 1


@settings(max_examples=40, deadline=None)
@given(shape=SHAPE, new_shape=SHAPE)
def test_nearest_labels_equal_skimage_and_are_never_new(shape, new_shape):
    labels = np.random.default_rng(0).integers(0, 300, shape).astype(np.uint16)
    result = resample_labels(labels, new_shape)
    np.testing.assert_array_equal(result, skimage_resize(labels.astype(float), new_shape, 0))


def test_labels_of_equal_shape_are_returned_themselves_and_rules_are_checked():
    labels = np.zeros((2, 2, 2), np.uint8)
    assert resample_labels(labels, (2, 2, 2), rule="linear") is labels
    with pytest.raises(ValueError, match="rule must be 'nearest' or 'linear', got 'cubic'"):
        resample_labels(labels, (3, 3, 3), rule="cubic")


@pytest.mark.parametrize(
    ("spacing_from", "spacing_to", "axis"),
    [
        ((5, 0.8, 0.8), (2.5, 0.8, 0.8), 0),
        ((2, 0.8, 0.8), (0.8, 0.8, 5), 2),
        ((1, 1, 3), (1, 1, 1), None),
        ((0.5, 2, 2), (1, 1, 1), None),
        ((1, 1, 1), (1, 1, 1), None),
    ],
    ids=["coarse source", "coarse target", "exactly three", "two coarse axes", "isotropic"],
)
def test_separate_axis(spacing_from, spacing_to, axis):
    assert separate_axis(spacing_from, spacing_to) == axis


def test_an_infinite_threshold_never_separates():
    assert separate_axis((9, 1, 1), (9, 1, 1), threshold=np.inf) is None


def test_target_shape_rounds_halves_to_even_and_keeps_a_voxel():
    # 5 * 0.5 = 2.5 and 7 * 0.5 = 3.5 round to 2 and 4; 1 * 0.1 would vanish.
    assert target_shape((5, 7, 1), (1, 1, 1), (2, 2, 10)) == (2, 4, 1)
