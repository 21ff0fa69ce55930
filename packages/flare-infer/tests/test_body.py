import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import binary_fill_holes, maximum_filter

from flare_infer import body
from flare_infer.body import body_mask, widened

AIR, LUNG, FAT, SOFT = -1000, -850, -100, 40


def scan(*shape):
    """Air with the noise of a scanner."""
    rng = np.random.default_rng(0)
    return rng.normal(AIR, 25, shape).astype(np.int16)


def disk(shape, center, radii):
    y, x = np.ogrid[: shape[0], : shape[1]]
    return ((y - center[0]) / radii[0]) ** 2 + ((x - center[1]) / radii[1]) ** 2 <= 1


def cells_of(inside, mask):
    """Whether all voxels of a set lie in set cells."""
    where = [
        axis * m // n for axis, n, m in zip(inside.nonzero(), inside.shape, mask.shape, strict=True)
    ]
    return mask[tuple(where)].all()


def test_a_body_at_the_rim_of_a_wide_field_is_held_whole_and_air_is_not():
    ct = scan(20, 200, 200)
    body = np.zeros(ct.shape, bool)
    body[:, disk((200, 200), (150, 40), (40, 60))] = True
    ct[body] = SOFT
    mask = body_mask(ct, spacing_mm=(5, 2, 2), margin_mm=10)
    assert mask.shape == (12, 50, 50)
    assert cells_of(body, mask)
    rows = mask.any(axis=(0, 2)).nonzero()[0]
    # The first row of cells half full begins at voxel 112 of 2 mm; 10 mm are two cells of 8 mm.
    assert (rows[0], rows[-1]) == (26, 49)
    assert mask.mean() < 0.35


def test_lungs_inside_a_body_count():
    ct = scan(8, 120, 120)
    ct[:, disk((120, 120), (60, 60), (45, 55))] = FAT
    lung = np.zeros(ct.shape, bool)
    lung[:, disk((120, 120), (60, 40), (25, 15))] = True
    ct[lung] = LUNG
    assert cells_of(lung, body_mask(ct, spacing_mm=(5, 3, 3), margin_mm=0))


def test_a_thin_table_does_not_count_and_an_arm_beside_does():
    ct = scan(10, 150, 150)
    ct[:, disk((150, 150), (60, 60), (30, 40))] = SOFT
    arm = np.zeros(ct.shape, bool)
    arm[:, disk((150, 150), (60, 125), (12, 12))] = True
    ct[arm] = SOFT
    ct[:, 130:134, 10:140] = 0
    mask = body_mask(ct, spacing_mm=(5, 3, 3), margin_mm=8)
    assert cells_of(arm, mask)
    # The table begins 390 mm down.
    assert not mask[:, 47:].any()


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 40, 40), (3, 9, 4), (60, 2, 2)])
def test_a_volume_cut_out_of_a_body_is_body_everywhere(shape):
    mask = body_mask(np.full(shape, SOFT, np.int16), spacing_mm=(1, 1, 1), margin_mm=0)
    assert mask.all()


def test_without_a_body_there_is_no_mask():
    assert body_mask(scan(10, 40, 40), spacing_mm=(2, 2, 2), margin_mm=50) is None
    padded = np.full((4, 40, 40), -3024, np.int16)
    assert body_mask(padded, spacing_mm=(2, 2, 2), margin_mm=50) is None


def test_voxels_may_be_larger_than_cells_and_of_any_type():
    ct = np.full((4, 10, 10), AIR, np.float64)
    ct[:, 3:8, 2:9] = SOFT
    mask = body_mask(ct, spacing_mm=(20, 12, 12), margin_mm=0)
    assert mask.shape == ct.shape
    assert np.array_equal(mask, ct == SOFT)


def test_a_very_long_scan_keeps_every_plane_of_the_body():
    ct = scan(900, 24, 24)
    ct[:, 6:18, 6:18] = SOFT
    mask = body_mask(ct, spacing_mm=(1, 15, 15), margin_mm=0)
    assert mask.shape[0] == 112
    assert mask[:, 6:18, 6:18].all()
    assert not mask[:, :6].any()


def test_a_margin_reaches_at_least_so_far_along_each_axis():
    mask = np.zeros((9, 9, 9), bool)
    mask[4, 4, 4] = True
    wide = widened(mask, margin_mm=20, cell_mm=(10, 20, 30))
    assert [wide.any(axis=k).sum() for k in ((1, 2), (0, 2), (0, 1))] == [5, 3, 3]
    assert np.array_equal(widened(mask, margin_mm=0, cell_mm=(1, 1, 1)), mask)


@given(st.integers(0, 2**32 - 1), st.tuples(*[st.integers(1, 9)] * 3), st.floats(0.3, 0.95))
@settings(max_examples=40, deadline=None)
def test_spreading_and_filling_are_those_of_scipy(seed, shape, share):
    mask = np.random.default_rng(seed).random(shape) < share
    found = body._spread(mask, (2, 0, 1))
    assert np.array_equal(found, maximum_filter(mask, size=(5, 1, 3), mode="constant", cval=0))
    filled = np.stack([binary_fill_holes(plane) for plane in mask])
    assert np.array_equal(body._filled_planes(mask), filled)


def test_a_spiral_is_not_enclosed():
    rows = ["#######", "#     #", "# ### #", "# # # #", "#   # #", "##### #", "#     #"]
    spiral = np.array([[letter == "#" for letter in row] for row in rows])
    filled = body._filled_planes(spiral[None])[0]
    assert np.array_equal(filled, spiral)
    # One cell more closes the way out.
    spiral[6, 5] = spiral[6, 1:5] = True
    assert body._filled_planes(spiral[None]).all()


def test_memory_does_not_grow_with_the_volume_of_a_long_scan():
    ct = np.full((400, 128, 128), SOFT, np.int16)
    tracemalloc.start()
    body_mask(ct, spacing_mm=(2, 2, 2), margin_mm=20)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 102400 cells, of which a few copies live at a time.
    assert peak < 0.15 * ct.nbytes


def test_cells_are_means_of_their_samples():
    ct = np.random.default_rng(0).normal(-500, 400, (7, 12, 10)).astype(np.float32)
    means = body._cell_means(ct, (4.0, 1.0, 2.0))
    # Every second row is a sample; 28 mm are 4 cells, 12 mm 2 of 6 samples, 20 mm 2.
    assert means.shape == (4, 2, 2)
    rows = ct[:, ::2]
    parts = [(0, 1), (1, 3), (3, 5), (5, 7)]
    for layer, (first, last) in enumerate(parts):
        for y in range(2):
            for x in range(2):
                cell = rows[first:last, 3 * y : 3 * y + 3, 5 * x : 5 * x + 5]
                assert means[layer, y, x] == pytest.approx(cell.mean(), rel=1e-4)
