import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes
from skimage.transform import resize

from flare_io.errors import GeometryError
from flare_io.geometry import AxisOrder, Geometry
from flare_io.intensity import Intensity
from flare_io.preparation import Preparation, prepare, restore
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume

NONE = Intensity(scheme="none")
CT = Intensity(scheme="ct", mean=80, std=140, low=-960, high=300)
ALL_ORDERS = [
    AxisOrder(permutation, flips)
    for permutation in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]


def scan(shape=(9, 12, 10), spacing_mm=(2.0, 1.0, 1.5), seed=0, border=1):
    """Return whole Hounsfield units with an empty border, in canonical axes."""
    hu = np.random.default_rng(seed).integers(-900, 300, shape).astype(np.int16)
    hu[hu == 0] = 1
    empty = np.zeros(shape, np.int16)
    inside = tuple(slice(border, n - border) for n in shape)
    empty[inside] = hu[inside]
    return Volume(empty, Geometry(spacing_mm, (-40.0, 12.5, 7.0)))


def wanted(spacing_mm=(3.0, 1.3, 1.3), intensity=CT, **fields):
    return Preprocessing(spacing_mm=spacing_mm, intensities=(intensity,), **fields)


@pytest.mark.parametrize("order", ALL_ORDERS, ids=str)
def test_all_48_axis_orders_give_the_same_array_and_their_own_grid_back(order):
    canonical = scan()
    stored = canonical.reordered(order)
    labels = canonical.with_array((canonical.array > 0).astype(np.uint8))
    expected = prepare(canonical, wanted(), labels=labels)
    result = prepare(stored, wanted(), labels=labels.reordered(order))
    np.testing.assert_array_equal(result.array, expected.array)
    np.testing.assert_array_equal(result.labels, expected.labels)
    back = restore(labels.array[result.preparation.box.slices], result.preparation)
    np.testing.assert_array_equal(back.array, labels.reordered(order).array)
    assert back.geometry == stored.geometry


@pytest.mark.parametrize("order", ALL_ORDERS, ids=str)
@pytest.mark.parametrize("axes", ["canonical", "as_stored"])
def test_without_resampling_restore_is_the_exact_inverse(order, axes):
    stored = scan().reordered(order)
    settings_ = wanted(None, NONE, axes=axes, transpose=(1, 2, 0))
    case = prepare(stored, settings_)
    assert not case.preparation.is_resampled
    back = restore(case.array[0].astype(np.int16), case.preparation)
    np.testing.assert_array_equal(back.array, stored.array)
    assert back.geometry == stored.geometry


@settings(max_examples=60, deadline=None)
@given(
    shape=st.tuples(*[st.integers(1, 9)] * 3),
    order=st.sampled_from(ALL_ORDERS),
    transpose=st.permutations(range(3)),
    axes=st.sampled_from(["canonical", "as_stored"]),
    spacing=st.tuples(*[st.sampled_from([0.7, 1.0, 2.0, 6.0])] * 3),
    seed=st.integers(0, 9),
)
def test_any_case_comes_back_on_its_own_grid(shape, order, transpose, axes, spacing, seed):
    stored = scan(shape, seed=seed, border=0).reordered(order)
    case = prepare(stored, wanted(spacing, axes=axes, transpose=tuple(transpose)))
    assert case.array.shape == (1, *case.preparation.shape)
    ones = np.ones(case.preparation.shape, np.uint8)
    back = restore(ones, case.preparation)
    assert (back.shape, back.geometry) == (stored.shape, stored.geometry)
    # The border is empty only where values are, by chance, 0: the crop's box holds nothing else.
    assert (back.array == 0).sum() == stored.array.size - np.prod(case.preparation.cropped_shape)


def test_equals_its_definition_step_by_step():
    stored = scan((14, 20, 18))
    case = prepare(stored, wanted((3.0, 1.7, 1.1), axes="as_stored", transpose=(2, 0, 1)))
    cropped = stored.array.transpose(2, 0, 1)[1:-1, 1:-1, 1:-1].astype(np.float32)
    scaled = (np.clip(cropped, -960, 300) - np.float32(80)) / np.float32(140)
    # Spacing after the transpose is (1.5, 2.0, 1.0); 16 * 1.5 / 3 = 8, 12 * 2 / 1.7 = 14.1,
    # 18 / 1.1 = 16.4.
    expected = resize(scaled.astype(float), (8, 14, 16), 3, mode="edge", anti_aliasing=False)
    assert case.array.dtype == np.float32
    np.testing.assert_allclose(case.array[0], expected, rtol=0, atol=1e-6)
    assert case.preparation.cropped_spacing_mm == (1.5, 2.0, 1.0)


def test_thick_slices_are_resampled_on_their_own():
    stored = scan((6, 16, 16), (6.0, 1.0, 1.0))
    case = prepare(stored, wanted((3.0, 1.5, 1.5)))
    joint = prepare(stored, wanted((3.0, 1.5, 1.5), anisotropy_threshold=np.inf))
    # Nearest along z: planes come in equal pairs.
    np.testing.assert_array_equal(case.array[0, 0::2], case.array[0, 1::2])
    assert (joint.array[0, 0::2] != joint.array[0, 1::2]).any()


def test_the_mask_of_zscore_has_its_holes_filled():
    stored = scan((8, 8, 8))
    array = stored.array.copy()
    array[3:5, 3:5, 3:5] = 0
    array[1:3, 1, 1:3] = 0
    stored = stored.with_array(array)
    scheme = Intensity(scheme="zscore", within_mask=True)
    case = prepare(stored, wanted(None, scheme))
    cropped = array[1:-1, 1:-1, 1:-1].astype(np.float32)
    inside = binary_fill_holes(cropped != 0)
    assert inside.sum() > (cropped != 0).sum()
    mean, std = cropped[inside].mean(), cropped[inside].std()
    expected = np.where(inside, (cropped - mean) / std, cropped)
    np.testing.assert_allclose(case.array[0], expected, rtol=1e-5, atol=1e-6)


def test_normalizing_after_resampling_sees_the_resampled_range():
    stored = scan()
    scheme = Intensity(scheme="rescale")
    late = prepare(stored, wanted(intensity=scheme, image_order=1, normalize_first=False))
    early = prepare(stored, wanted(intensity=scheme, image_order=1))
    assert (late.array.min(), late.array.max()) == (0, 1)
    assert early.array.max() < 1


def test_channels_share_one_crop():
    first, second = scan(seed=1, border=2), scan(seed=2, border=3)
    both = Preprocessing(spacing_mm=None, intensities=(NONE, CT))
    case = prepare([first, second], both)
    assert case.preparation.box.start == (2, 2, 2)
    np.testing.assert_array_equal(case.array[0], first.array[2:-2, 2:-2, 2:-2])
    assert case.array.shape[0] == 2


def test_crop_none_and_empty_images_keep_everything():
    assert prepare(scan(), wanted(None, crop="none")).array.shape == (1, 9, 12, 10)
    empty = scan().with_array(np.zeros((9, 12, 10)))
    assert prepare(empty, wanted(None)).array.shape == (1, 9, 12, 10)


def test_labels_follow_the_rule_and_do_not_change_the_image():
    stored = scan()
    labels = stored.with_array(np.random.default_rng(1).integers(0, 4, stored.shape, np.uint8))
    alone = prepare(stored, wanted())
    linear = prepare(stored, wanted(), labels=labels)
    nearest = prepare(stored, wanted(), labels=labels, label_rule="nearest")
    assert alone.labels is None
    np.testing.assert_array_equal(alone.array, linear.array)
    assert linear.labels.shape == nearest.labels.shape == linear.preparation.shape
    assert linear.labels.dtype == np.uint8
    assert (linear.labels != nearest.labels).any()


def test_labels_in_another_axis_order_of_the_same_place_are_accepted():
    stored = scan()
    labels = stored.with_array((stored.array > 0).astype(np.uint8))
    turned = labels.reordered(AxisOrder((0, 1, 2), (False, True, False)))
    expected = prepare(stored, wanted(), labels=labels).labels
    np.testing.assert_array_equal(prepare(stored, wanted(), labels=turned).labels, expected)
    with pytest.raises(GeometryError, match="labels: must lie on the image's grid"):
        prepare(stored, wanted(axes="as_stored"), labels=turned)


def test_channels_on_different_grids_are_refused():
    moved = Volume(scan().array, Geometry((2.0, 1.0, 1.5)))
    both = Preprocessing(spacing_mm=None, intensities=(NONE, NONE))
    with pytest.raises(GeometryError, match=r"channel 1: must lie .* voxel .* lies .* mm apart"):
        prepare([scan(), moved], both)


def test_a_wrong_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="volumes must be 1, one per intensity scheme, got 2"):
        prepare([scan(), scan()], wanted())


def test_the_source_may_be_read_only_and_big_endian():
    source = scan()
    swapped = source.with_array(source.array.astype(">i2"))
    np.testing.assert_array_equal(prepare(swapped, wanted()).array, prepare(source, wanted()).array)


def test_restore_puts_labels_where_the_network_saw_them():
    # 4 x 4 x 4 at 1 mm, seen at 2 mm: network voxel (0, 1, 1) is source voxels 0:2, 2:4, 2:4.
    source = Volume(np.ones((4, 4, 4)), Geometry((1, 1, 1), direction=np.diag([1, -1, 1])))
    case = prepare(source, wanted((2, 2, 2)))
    labels = np.zeros((2, 2, 2), np.uint16)
    labels[0, 1, 1] = 500
    back = restore(labels, case.preparation)
    assert back.array.dtype == np.uint16
    expected = np.zeros((4, 4, 4), np.uint16)
    expected[0:2, 0:2, 2:4] = 500  # y is stored the other way round
    np.testing.assert_array_equal(back.array, expected)


def test_restore_refuses_other_shapes():
    case = prepare(scan(), wanted())
    with pytest.raises(ValueError, match=r"network's shape \(5, 8, 9\) or the crop's \(7, 10, 8\)"):
        restore(np.zeros((5, 8, 8), np.uint8), case.preparation)


@pytest.mark.parametrize("order", ALL_ORDERS[::7], ids=str)
def test_preparation_in_json_is_the_way_back(order):
    preparation = prepare(scan().reordered(order), wanted()).preparation
    fields = json.loads(json.dumps(preparation.to_dict()))
    assert Preparation.from_dict(fields) == preparation


@pytest.mark.parametrize("order", ALL_ORDERS[::5], ids=str)
def test_geometry_of_the_networks_grid_covers_the_crop(order):
    stored = scan().reordered(order)
    preparation = prepare(stored, wanted()).preparation
    grid = preparation.geometry
    corners = grid.world_from_index([(-0.5,) * 3, np.array(preparation.shape) - 0.5])
    ordered = preparation.order.apply_geometry(stored.geometry, stored.shape)
    box = preparation.box
    expected = ordered.world_from_index([np.array(box.start) - 0.5, np.array(box.stop) - 0.5])
    np.testing.assert_allclose(corners, expected, atol=1e-9)
    assert grid.axis_codes == "SPL"


@pytest.mark.parametrize("order", ALL_ORDERS[::5], ids=str)
def test_planes_of_the_crop_are_found_in_what_came(order):
    stored = scan().reordered(order)
    case = prepare(stored, wanted(spacing_mm=None, intensity=NONE))
    preparation = case.preparation
    z, y, x = preparation.source_slices(2, 5)
    planes = preparation.order.apply(stored.array[z, y, x])
    np.testing.assert_array_equal(planes, case.array[0, 2:5])
    assert preparation.cropped_shape[0] == 7
