import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flare_infer.half import LARGEST_HALF, round_to_half


def rounded(values):
    values = np.array(values, np.float32)
    round_to_half(values, np.empty_like(values))
    return values


def every_half():
    return np.arange(0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)


def test_float16_numbers_stay():
    halves = every_half()
    assert halves[-1] == LARGEST_HALF
    assert np.array_equal(rounded(halves), halves)
    assert np.array_equal(rounded(-halves), -halves)


def test_middles_go_to_the_even_number_and_their_neighbors_to_the_nearer():
    halves = every_half()
    middles = (halves[:-1] + halves[1:]) / 2  # exact in float32
    even = np.where(np.arange(len(middles)) % 2, halves[1:], halves[:-1])
    assert np.array_equal(rounded(middles), even)
    assert np.array_equal(rounded(np.nextafter(middles, np.float32(0))), halves[:-1])
    assert np.array_equal(rounded(np.nextafter(middles, np.float32(1e9))), halves[1:])
    assert np.array_equal(rounded(-middles), -even)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.float32, 40, elements=st.floats(-65000, 65000, width=32, allow_subnormal=False)),
    st.integers(-30, 0),
)
def test_numpy_rounds_the_same(values, exponent):
    values = values * np.float32(2.0**exponent)
    assert np.array_equal(rounded(values), values.astype(np.float16).astype(np.float32))


@pytest.mark.parametrize("value", [65520.0, 1e5, 3e33, -65520.0])
def test_what_float16_cannot_hold_is_larger_than_its_largest(value):
    assert np.abs(rounded([value])[0]) > LARGEST_HALF
    assert rounded([65519.0])[0] == LARGEST_HALF


def test_views_with_gaps_are_rounded_in_place():
    whole = np.full((3, 6), 0.1, np.float32)
    part = whole[1:, ::2]
    round_to_half(part, np.empty_like(part))
    assert np.unique(whole[1:, ::2]) == np.float32(np.float16(0.1))
    assert (whole[0] == np.float32(0.1)).all()
    assert (whole[:, 1::2] == np.float32(0.1)).all()
