"""Casts to 8 bits: the values that official scripts see."""

import platform

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_metrics.casts import cast_labels

# value: (uint8, int8), worked out by hand: cut the fraction, keep 32 bits or 0, keep the low 8.
BY_HAND = {
    0.0: (0, 0),
    0.99999: (0, 0),
    1.9: (1, 1),
    -0.5: (0, 0),
    -1.0: (255, -1),
    127.0: (127, 127),
    128.0: (128, -128),
    200.0: (200, -56),
    255.9: (255, -1),
    256.0: (0, 0),
    257.0: (1, 1),
    -129.0: (127, 127),
    2.0**31 - 1: (255, -1),
    2.0**31: (0, 0),
    -(2.0**31): (0, 0),
    2.0**32 + 1: (0, 0),
    1e300: (0, 0),
    np.nan: (0, 0),
    np.inf: (0, 0),
    -np.inf: (0, 0),
}


@pytest.mark.parametrize(("cast", "column"), [("uint8", 0), ("int8", 1)])
def test_floats_are_cut_and_wrap(cast, column):
    values = np.array([list(BY_HAND)])
    found = cast_labels(values, cast)
    assert found.dtype == cast
    assert found[0].tolist() == [pair[column] for pair in BY_HAND.values()]


@pytest.mark.parametrize("cast", ["uint8", "int8"])
@pytest.mark.parametrize("dtype", ["int16", "uint16", "int32", "uint32", "int64", "uint64", ">i2"])
def test_integers_do_what_their_value_as_a_float_would(cast, dtype):
    info = np.iinfo(dtype)
    values = [0, 1, 100, 200, 257, info.max, info.min, info.max // 2]
    array = np.array([values], dtype)
    expected = cast_labels(array.astype(np.float64), cast)
    assert cast_labels(array, cast).tolist() == expected.tolist()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="the rule is x86's")
@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-1e10, 1e10, width=32), min_size=1, max_size=20))
def test_numpy_on_x86_is_the_oracle(values):
    array = np.array([values])
    with np.errstate(invalid="ignore"):
        for cast in ("uint8", "int8"):
            assert (cast_labels(array, cast) == array.astype(cast)).all()


def test_bytes_are_not_copied_and_none_changes_nothing():
    array = np.array([[1, 200]], np.uint8)
    assert cast_labels(array, "uint8") is array
    assert np.shares_memory(cast_labels(array, "int8"), array)
    assert cast_labels(np.array([[True]]), "uint8").tolist() == [[1]]
    floats = np.array([[0.5]])
    assert cast_labels(floats) is floats
