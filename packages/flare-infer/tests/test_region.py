import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.heads import Head
from flare_infer.region import Region, region_planes
from flare_infer.sliding import PlaneBlocks, logit_planes
from flare_infer.windows import WindowPlan
from flare_io.crop import Box

HEAD = Head(labels=(0, 1), rivals=(0, 1))
SIDES = st.tuples(*[st.integers(1, 9)] * 3)


def overlaps(voxels, cells):
    """Which voxels (rows) share a place with which of equally many cells (columns)."""
    v, c = np.arange(voxels)[:, None], np.arange(cells)[None]
    return (v * cells < (c + 1) * voxels) & (c * voxels < (v + 1) * cells)


def on_voxels(mask, shape):
    """A mask of cells as the voxels that touch one."""
    z, y, x = (overlaps(n, m) for n, m in zip(shape, mask.shape, strict=True))
    return np.einsum("ai,bj,ck,ijk->abc", z, y, x, mask.astype(int)) > 0


@st.composite
def regions(draw):
    shape = draw(SIDES)
    masks = []
    for _ in range(draw(st.integers(1, 2))):
        cells = draw(SIDES)
        seed = draw(st.integers(0, 99))
        masks.append(np.random.default_rng(seed).random(cells) < draw(st.sampled_from([0.1, 0.6])))
    return Region(shape, tuple(masks))


@settings(max_examples=60, deadline=None)
@given(region=regions(), data=st.data())
def test_a_box_meets_a_region_where_it_holds_part_of_a_cell_of_every_mask(region, data):
    start = [data.draw(st.integers(0, n - 1)) for n in region.shape]
    stop = [data.draw(st.integers(a + 1, n)) for a, n in zip(start, region.shape, strict=True)]
    box = Box(tuple(start), tuple(stop))
    expected = all(on_voxels(mask, region.shape)[box.slices].any() for mask in region.masks)
    assert region.meets(box) == expected


@settings(max_examples=60, deadline=None)
@given(region=regions())
def test_the_box_holds_the_region_and_no_plane_too_many(region):
    voxels = [on_voxels(mask, region.shape) for mask in region.masks]
    if not all(each.any() for each in voxels):
        assert region.box is None
        return
    # The intersection of the boxes of all masks.
    spans = []
    for axis in range(3):
        others = tuple(k for k in range(3) if k != axis)
        lines = [each.any(axis=others).nonzero()[0] for each in voxels]
        spans.append((max(line[0] for line in lines), min(line[-1] for line in lines) + 1))
    if any(a >= b for a, b in spans):
        assert region.box is None
    else:
        assert region.box == Box(*map(tuple, zip(*spans, strict=True)))


@settings(max_examples=60, deadline=None)
@given(region=regions(), patch=SIDES)
def test_windows_are_laid_over_the_box_and_as_much_as_a_window_needs(region, patch):
    windows = WindowPlan(patch=patch)
    laid, box = region.window_box(windows), region.box
    if box is None:
        assert laid is None
        return
    for axis, side in enumerate(patch):
        a, b, n = laid.start[axis], laid.stop[axis], region.shape[axis]
        assert a <= box.start[axis]
        assert b >= box.stop[axis]
        assert b - a >= min(side, n)
    count = len(windows.starts(windows.padded_shape(laid.shape)))
    assert count <= len(windows.starts(windows.padded_shape(region.shape)))


def test_an_axis_along_which_nothing_is_saved_stays_whole():
    mask = np.zeros((20, 20, 20), bool)
    mask[1:19, 12:16, 0:9] = True
    # 18 or 20 planes take four windows of 8 with steps of 4; of 4 rows none but one is needed.
    laid = Region((20, 20, 20), (mask,)).window_box(WindowPlan(patch=(8, 8, 8)))
    assert laid == Box((0, 10, 0), (20, 18, 9))


def voxelwise(window):
    return np.concatenate((window * 0, window), axis=1)


def planes_of(region, array, windows, net=voxelwise):
    blocks = [array[:, :3], array[:, 3:5], array[:, 5:]]
    planes = region_planes([net], blocks, windows, region=region, head=HEAD)
    return np.stack([plane.copy() for plane in planes], axis=1)


def test_without_masks_planes_are_those_of_the_whole_case():
    array = np.random.default_rng(0).normal(size=(1, 11, 9, 13)).astype(np.float32)
    windows = WindowPlan(patch=(4, 4, 4))
    case = PlaneBlocks(array.shape[1:], [array])
    plain = logit_planes([voxelwise], case, windows, mode="fast", head=HEAD)
    expected = np.stack([plane.copy() for plane in plain], axis=1)
    assert np.array_equal(planes_of(Region((11, 9, 13)), array, windows), expected)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 999))
def test_labels_inside_the_region_are_those_of_the_whole_and_0_else_where_no_window_is(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(int(n) for n in rng.integers(6, 15, 3))
    mask = np.zeros(tuple(int(n) for n in rng.integers(1, 15, 3)), bool)
    mask[tuple(int(rng.integers(n)) for n in mask.shape)] = True
    region = Region(shape, (mask,))
    array = rng.normal(size=(1, *shape)).astype(np.float32)
    seen = []

    def net(window):
        seen.append(window.shape)
        return voxelwise(window)

    windows = WindowPlan(patch=(4, 5, 3))
    logits = planes_of(region, array, windows, net)
    labels = HEAD.decide(logits)
    inside = on_voxels(mask, shape)
    assert np.array_equal(labels[inside], (array[0] > 0)[inside].astype(np.uint8))
    # Elsewhere the same label or none.
    assert not ((labels == 1) & (array[0] <= 0)).any()
    assert len(seen) <= len(windows.starts(windows.padded_shape(shape)))


def test_of_a_small_region_in_a_large_case_one_window_is_run():
    array = np.ones((1, 30, 30, 30), np.float32)
    mask = np.zeros((30, 30, 30), bool)
    mask[14, 3, 26] = True
    seen = []

    def net(window):
        seen.append(window)
        return voxelwise(window)

    logits = planes_of(Region((30, 30, 30), (mask,)), array, WindowPlan(patch=(5, 5, 5)), net)
    assert len(seen) == 1
    expected = np.zeros((30, 30, 30))
    expected[12:17, 1:6, 24:29] = 1
    assert np.allclose(logits[1], expected)


def test_planes_stay_valid_until_two_more_have_come():
    array = np.random.default_rng(3).normal(size=(1, 24, 20, 8)).astype(np.float32)
    mask = np.zeros((24, 20, 8), bool)
    mask[9:13, 2:5] = True
    region, windows = Region((24, 20, 8), (mask,)), WindowPlan(patch=(4, 4, 4))
    expected = planes_of(region, array, windows)
    kept = []
    for z, plane in enumerate(
        region_planes([voxelwise], [array], windows, region=region, head=HEAD)
    ):
        kept.append(plane)
        for back in range(min(2, z + 1)):
            assert np.array_equal(kept[z - back], expected[:, z - back])


def test_a_region_without_a_cell_needs_no_net():
    region = Region((5, 6, 7), (np.zeros((2, 2, 2), bool),))
    planes = list(region_planes([], [], WindowPlan(patch=(4, 4, 4)), region=region, head=HEAD))
    assert len(planes) == 5
    assert all(plane.shape == (2, 6, 7) and not plane.any() for plane in planes)


def test_what_lies_behind_the_region_is_not_prepared():
    mask = np.zeros((40, 1, 1), bool)
    mask[10:12] = True
    asked = []

    def blocks():
        for k in range(40):
            asked.append(k)
            yield np.ones((1, 1, 4, 4), np.float32)

    region = Region((40, 4, 4), (mask,))
    list(
        region_planes([voxelwise], blocks(), WindowPlan(patch=(4, 4, 4)), region=region, head=HEAD)
    )
    assert max(asked) < 14


def test_too_few_planes_are_refused():
    mask = np.ones((1, 1, 1), bool)
    planes = region_planes(
        [voxelwise],
        [np.ones((1, 3, 4, 4), np.float32)],
        WindowPlan(patch=(4, 4, 4)),
        region=Region((9, 4, 4), (mask,)),
        head=HEAD,
    )
    with pytest.raises(ValueError, match="blocks must hold 9 planes, got 3"):
        list(planes)
