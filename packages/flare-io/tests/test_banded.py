import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from flare_io.banded import axis_operator, row_blocks

LENGTH = st.integers(1, 90)
ORDER = st.sampled_from([0, 1, 3])


@settings(max_examples=80, deadline=None)
@given(n_in=LENGTH, n_out=LENGTH, order=ORDER, seed=st.integers(0, 9))
def test_equals_scipys_zoom(n_in, n_out, order, seed):
    signal = np.random.default_rng(seed).normal(size=n_in)
    expected = ndimage.zoom(signal, n_out / n_in, order=order, mode="nearest", grid_mode=True)
    result = axis_operator(n_in, n_out, order).apply(signal, axis=0)
    np.testing.assert_allclose(result, expected, rtol=0, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(n_in=LENGTH, n_out=LENGTH, order=ORDER)
def test_rows_sum_to_one_and_starts_never_decrease(n_in, n_out, order):
    operator = axis_operator(n_in, n_out, order)
    np.testing.assert_allclose(operator.weights.sum(axis=1), 1.0, atol=1e-12)
    assert (np.diff(operator.start) >= 0).all()
    assert operator.start[0] >= 0
    assert operator.start[-1] + operator.width <= n_in


@settings(max_examples=40, deadline=None)
@given(n_in=LENGTH, n_out=LENGTH, order=ORDER)
def test_mirrored_signal_gives_mirrored_result(n_in, n_out, order):
    # Order 0 is left out where a sample lies halfway between two voxels: it takes the later one.
    matrix = axis_operator(n_in, n_out, order).matrix()
    halfway = ((np.arange(n_out) + 0.5) * n_in / n_out) % 1 < 1e-9
    same = np.isclose(matrix, matrix[::-1, ::-1], atol=1e-12).all(axis=1)
    assert (same | (halfway if order == 0 else False)).all()


def test_cubic_reproduces_cubic_polynomials():
    # Far from the edges a cubic spline reproduces polynomials of degree 3: k**3 at k = 20 + 1/4.
    operator = axis_operator(40, 80, 3)
    values = np.arange(40.0) ** 3
    assert operator.apply(values, axis=0)[41] == pytest.approx(20.25**3, rel=1e-9)


def test_nearest_takes_the_later_voxel_at_halves():
    # 4 to 2: samples at 0.5 and 2.5.
    assert axis_operator(4, 2, 0).start.tolist() == [1, 3]


def test_one_voxel_is_repeated():
    for order in (0, 1, 3):
        repeated = axis_operator(1, 5, order).apply(np.array([7.0]), axis=0)
        np.testing.assert_allclose(repeated, 7.0, atol=1e-13)


@pytest.mark.parametrize("order", [0, 1, 3])
def test_equal_length_is_the_identity(order):
    operator = axis_operator(6, 6, order)
    assert operator.is_identity
    array = np.arange(6.0)
    assert operator.apply(array, axis=0) is array


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_apply_works_along_any_axis_in_the_arrays_type(axis, dtype):
    array = np.random.default_rng(0).normal(size=(70, 50, 60)).astype(dtype)
    length = array.shape[axis]
    operator = axis_operator(length, 41, 1)
    expected = np.moveaxis(np.tensordot(operator.matrix(), array, axes=(1, axis)), 0, axis)
    result = operator.apply(array, axis=axis)
    assert result.dtype == dtype
    np.testing.assert_allclose(result, expected, atol=1e-5 if dtype == np.float32 else 1e-13)


def test_apply_reads_strided_and_read_only_arrays():
    array = np.random.default_rng(0).normal(size=(8, 9, 10))
    view = array.transpose(2, 0, 1)[::-1]
    view.flags.writeable = False
    result = axis_operator(8, 5, 1).apply(view, axis=1)
    expected = axis_operator(8, 5, 1).apply(np.ascontiguousarray(view), axis=1)
    np.testing.assert_array_equal(result, expected)


def test_rows_are_blocks_of_the_matrix():
    operator = axis_operator(100, 70, 3)
    matrix = operator.matrix()
    blocks = list(row_blocks(70))
    assert blocks == [(0, 32), (32, 64), (64, 70)]
    for first, last in blocks:
        start, stop, block = operator.rows(first, last)
        assert (start, stop) == operator.reach(first, last)
        np.testing.assert_array_equal(block, matrix[first:last, start:stop])


def test_cached_arrays_cannot_be_written():
    operator = axis_operator(4, 7, 1)
    assert operator is axis_operator(4, 7, 1)
    with pytest.raises(ValueError, match="read-only"):
        operator.weights[0] = 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [((0, 4, 1), "n_in and n_out must be at least 1"), ((4, 4, 2), "order must be 0, 1 or 3")],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        axis_operator(*arguments)


def test_wrong_length_is_named():
    with pytest.raises(ValueError, match=r"axis 0 must have length 4, got shape \(5,\)"):
        axis_operator(4, 2, 1).apply(np.zeros(5), axis=0)
