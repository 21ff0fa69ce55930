import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flare_io.geometry import (
    AxisOrder,
    Geometry,
    canonical_axis_order,
    describe_grid_difference,
)

ORDERS = [
    AxisOrder(permutation, flips)
    for permutation in itertools.permutations(range(3))
    for flips in itertools.product((False, True), repeat=3)
]


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"spacing_mm": (1, 0, 1)}, "positive"),
        ({"spacing_mm": (1, -2, 1)}, "positive"),
        ({"spacing_mm": (1, np.nan, 1)}, "finite"),
        ({"spacing_mm": (1, 1)}, "three finite numbers"),
        ({"spacing_mm": (1, 1, 1), "origin": (np.inf, 0, 0)}, "origin"),
        ({"spacing_mm": (1, 1, 1), "direction": np.eye(2)}, "3 x 3"),
        ({"spacing_mm": (1, 1, 1), "direction": np.zeros((3, 3))}, "orthonormal"),
        ({"spacing_mm": (1, 1, 1), "direction": ((1, 0.01, 0), (0, 1, 0), (0, 0, 1))}, "off by"),
    ],
)
def test_impossible_grids_are_wrong_arguments(fields, text):
    with pytest.raises(ValueError, match=text):
        Geometry(**fields)


def test_world_and_index_worked_out_by_hand():
    # y runs to the left, x to anterior, z to superior.
    grid = Geometry((5.0, 2.0, 1.0), (-100.0, 7.0, 9.0), ((1, 0, 0), (0, 0, -1), (0, 1, 0)))
    assert grid.axis_codes == "SLA"
    assert grid.world_from_index((2, 3, 4)).tolist() == [-90.0, 3.0, 15.0]
    assert grid.index_from_world((-90.0, 3.0, 15.0)).tolist() == pytest.approx([2, 3, 4])
    assert grid.world_from_index(np.zeros((4, 2, 3))).shape == (4, 2, 3)
    assert grid.voxel_volume_mm3 == 10.0
    assert Geometry(**grid.to_dict()) == grid
    assert hash(Geometry(**grid.to_dict())) == hash(grid)


def test_axis_letters_make_grids():
    for letters in itertools.product("LR", "PA", "SI"):
        for x, y, z in itertools.permutations(letters):
            grid = Geometry.from_axis_letters(x + y + z, spacing_mm=(1.0, 2.0, 3.0))
            assert grid.axis_codes == z + y + x
    identity = Geometry.from_axis_letters("LPS", spacing_mm=(1.0, 1.0, 1.0))
    assert identity == Geometry((1.0, 1.0, 1.0))


def test_oblique_axes_use_each_world_axis_once():
    # Two axes lie 45 degrees between P and L; each letter still occurs once.
    half = np.sqrt(0.5)
    grid = Geometry((1, 1, 1), direction=((1, 0, 0), (0, half, half), (0, -half, half)))
    assert sorted(grid.axis_codes.translate(str.maketrans("IAR", "SPL"))) == ["L", "P", "S"]


@pytest.mark.parametrize("order", ORDERS, ids=lambda o: f"{o.permutation}{o.flips}")
def test_reordering_moves_no_voxel(order):
    array = np.arange(2 * 3 * 4).reshape(2, 3, 4)
    grid = Geometry((5.0, 2.0, 1.0), (-100.0, 7.0, 9.0))
    moved, there = order.apply(array), order.apply_geometry(grid, array.shape)
    assert np.array_equal(order.undo(moved), array)
    assert order.is_identity == (order == AxisOrder((0, 1, 2), (False,) * 3))
    for index in np.ndindex(*moved.shape):
        source = tuple(int(k) for k in np.argwhere(array == moved[index])[0])
        assert np.allclose(there.world_from_index(index), grid.world_from_index(source))
    # The way to canonical axes is the way back here.
    back = canonical_axis_order(there)
    assert np.array_equal(back.apply(moved), array)
    assert back.apply_geometry(there, moved.shape).axis_codes == "SPL"


def test_grids_that_differ_are_described_in_mm():
    grid = Geometry((5.0, 0.8, 0.8))
    shape = (4, 5, 6)
    assert describe_grid_difference(grid, shape, grid, shape) is None
    other = Geometry((5.0, 0.8, 0.8), (0, 0, 0.8))
    assert describe_grid_difference(grid, shape, other, shape) == (
        "voxel (0, 0, 0) lies 0.8 mm apart"
    )
    assert "shape (4, 5, 6) against (4, 5, 7)" in str(
        describe_grid_difference(grid, shape, grid, (4, 5, 7))
    )
    # 3 planes of 5.1 instead of 5 mm: 0.3 mm at the far end.
    wide = Geometry((5.1, 0.8, 0.8))
    assert "lies 0.3 mm apart" in str(describe_grid_difference(grid, shape, wide, shape))
    flipped = Geometry((5.0, 0.8, 0.8), direction=((1, 0, 0), (0, -1, 0), (0, 0, 1)))
    assert "axes SPL against SAL" in str(describe_grid_difference(grid, shape, flipped, shape))


@given(shift=st.floats(0, 0.0079), wide=st.floats(0.0081, 5))
def test_a_hundredth_of_a_voxel_is_rounding(shift, wide):
    grid, shape = Geometry((5.0, 0.8, 0.8)), (4, 5, 6)
    near, far = (Geometry((5.0, 0.8, 0.8), (0, by, 0)) for by in (shift, wide))
    assert describe_grid_difference(grid, shape, near, shape) is None
    assert describe_grid_difference(grid, shape, far, shape) is not None
