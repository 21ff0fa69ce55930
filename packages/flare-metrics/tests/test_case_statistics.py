"""Statistics of columns: rounding, infinities, and what does not exist."""

import math

import numpy as np
import pytest

from flare_metrics.case_statistics import (
    Column,
    column_statistics,
    json_interval,
    json_number,
    mean_or_none,
)


def test_no_columns_and_no_values():
    assert column_statistics({}) == {}
    empty = column_statistics({"dsc": Column(np.empty(0))})["dsc"]
    assert empty == {"mean": None, "median": None, "n": 0, "ci95": None, "median_ci95": None}


def test_the_mean_is_rounded_where_asked_and_nothing_else_is():
    values = np.array([0.1234, 0.1235, 0.1237, 0.1238, 0.1239, 0.1241])
    statistics = column_statistics({"a": Column(values, decimals=4), "b": Column(values)})
    assert statistics["a"]["mean"] == 0.1237
    assert statistics["b"]["mean"] == pytest.approx(0.123733, abs=1e-6)
    assert statistics["a"]["median"] == pytest.approx(0.12375)
    assert statistics["a"]["ci95"] == statistics["b"]["ci95"]
    assert statistics["a"]["median_ci95"] == [0.1234, 0.1241]


def test_halves_are_rounded_as_numpy_does():
    # Python's round(0.00005, 4) is 0.0001, NumPy's 0.0 (to even, after scaling).
    assert mean_or_none(np.array([0.00005]), decimals=4) == float(np.round(0.00005, 4))
    assert mean_or_none(np.empty(0), decimals=4) is None


def test_the_median_may_lie_between_a_number_and_infinity():
    column = Column(np.array([1.0, math.inf]), is_distance=True)
    assert column_statistics({"d": column})["d"]["median"] == "Infinity"


def test_numbers_as_json_has_them():
    assert json_number(math.nan) is None
    assert [json_number(value) for value in (1.5, math.inf, -math.inf)] == [
        *(1.5, "Infinity", "-Infinity")
    ]
    assert json_interval((1.0, math.inf)) == [1.0, "Infinity"]
    assert json_interval(None) is None
