import numpy as np
import pytest

from flare_infer.certainty import Lead
from flare_infer.mixed_cells import (
    CellBlock,
    cell_blocks,
    corner_values,
    interpolated,
    picked,
    split,
)
from flare_io.resample import axis_operator

# 2 -> 4 voxels along each axis: positions 0 (clipped), 0.25, 0.75, 1 (clipped).
DOUBLE = axis_operator(2, 4, 1)
SAME = axis_operator(1, 1, 1)


def test_the_voxels_of_a_cell_by_hand():
    wide = axis_operator(3, 6, 1)  # starts 0 0 0 1 1 1
    block = CellBlock.of(np.array([0, 0]), np.array([0, 1]), (SAME, DOUBLE, wide))
    # Four rows by three columns each, the first cell's columns 0 to 2, the second's 3 to 5.
    assert block.cell.tolist() == [0] * 12 + [1] * 12
    assert block.target[:6].tolist() == [0, 1, 2, 6, 7, 8]
    assert sorted(block.target.tolist()) == list(range(24))
    assert block.row_weights[1].tolist()[::3] == [0, 0.25, 0.75, 1] * 2
    assert block.column_weights[1][:3].tolist() == [0, 0.25, 0.75]


def test_cells_without_voxels_are_left_out_and_blocks_are_small(monkeypatch):
    monkeypatch.setattr("flare_infer.mixed_cells._CELLS_AT_ONCE", 2)
    fewer = axis_operator(9, 3, 1)  # reads at 1, 4, 7: cells 1, 4, 7 of 8
    mixed = np.ones((1, 8), bool)
    found = list(cell_blocks(mixed, (SAME, SAME, fewer)))
    assert [x.tolist() for _, x in found] == [[1, 4], [7]]
    assert all((y == 0).all() for y, _ in found)
    assert list(cell_blocks(~mixed, (SAME, SAME, fewer))) == []


def test_corners_come_in_the_order_of_the_axes():
    planes = np.arange(2 * 3 * 2 * 3, dtype=np.float16).reshape(2, 3, 2, 3)  # z, c, y, x
    operators = (DOUBLE, DOUBLE, axis_operator(3, 6, 1))
    found = corner_values(list(planes), np.array([0]), np.array([1]), operators)
    assert found.shape == (8, 3, 1)
    expected = [planes[z, :, y, x] for z in (0, 1) for y in (0, 1) for x in (1, 2)]
    assert np.array_equal(found[..., 0], np.stack(expected))


def test_picked_values_are_those_that_indexing_gives():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(8, 5, 7)).astype(np.float16)
    cells, contenders = rng.permutation(7)[:4], rng.integers(0, 5, (2, 4))
    expected = values[:, contenders, cells]
    assert np.array_equal(picked(values, contenders, cells), expected)
    assert picked(values, contenders[:, :0], cells[:0]).shape == (8, 2, 0)


def test_contenders_that_are_led_everywhere_are_out():
    # Two corners, five contenders, three cells.
    values = np.zeros((2, 5, 3), np.float16)
    values[:, 1, 0], values[:, 3, 0] = [5, 1], [1, 5]  # 1 and 3 share the first cell
    values[:, 4, 1] = 9  # 4 has the second alone
    values[:, :, 2] = [[3, 2, 1, 0, -1], [-1, 0, 1, 2, 3]]  # no one is led everywhere by 0
    sorted_cells = {tuple(c.tolist()): k.T.tolist() for c, k in split(values, Lead(4))}
    assert sorted_cells.keys() == {(0, 1), (2,)}
    assert sorted_cells[(0, 1)][0] == [1, 3]
    assert 4 in sorted_cells[(0, 1)][1]
    assert sorted_cells[(2,)] == [[0, 1, 2, 3, 4]]


def test_a_contender_within_the_lead_stays():
    values = np.zeros((1, 3, 1), np.float16)
    values[0, :, 0] = [1, 1 + 3 * 2.0**-10, 1 + 4 * 2.0**-10]
    ((_, kept),) = split(values, Lead(4))
    assert kept.ravel().tolist() == [1, 2]
    ((_, all_of_them),) = split(values.astype(np.float32), Lead(4 << 13, above=2**30))
    assert all_of_them.ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_interpolation_by_hand(dtype):
    planes = [np.array([[[0, 4], [8, 12]]], dtype), np.array([[[16, 20], [24, 28]]], dtype)]
    operators = (DOUBLE, DOUBLE, DOUBLE)
    y, x = np.array([0]), np.array([0])
    block = CellBlock.of(y, x, operators)
    values = corner_values(planes, y, x, operators)
    found = interpolated(values, DOUBLE.weights[1], block)
    assert found.dtype == dtype
    # 16 z + 8 y + 4 x at z = 1/4.
    t = np.array([0, 0.25, 0.75, 1])
    expected = 4 + 8 * t[:, None] + 4 * t
    assert np.allclose(found.reshape(4, 4), expected)
