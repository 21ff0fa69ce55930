"""Ranks, places and Kendall's tau, against SciPy and by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flare_metrics.case_ranks import kendall_tau, positions, ranks

NAN = np.nan
ORDERS = st.integers(2, 6).flatmap(
    lambda n: st.tuples(*[st.lists(st.integers(0, 3), min_size=n, max_size=n)] * 2)
)


@settings(max_examples=40, deadline=None)
@given(ORDERS)
def test_ranks_and_tau_are_scipys(orders):
    costs = np.array(orders, float)
    for ties in ("min", "average"):
        expected = stats.rankdata(costs, method=ties, axis=1)
        assert ranks(costs, ties=ties).tolist() == expected.tolist()
    assert positions(costs).tolist() == stats.rankdata(costs, method="min", axis=1).tolist()
    varied = all(len(set(order)) > 1 for order in orders)
    tau = float(kendall_tau(*orders))
    if varied:
        assert tau == pytest.approx(stats.kendalltau(*orders).statistic)
    else:
        assert np.isnan(tau)


def test_who_is_missing_is_last_however_many_are():
    assert ranks([NAN, 2, NAN, 1]).tolist() == [4, 2, 4, 1]
    assert ranks([NAN, 2, NAN, 1], ties="average").tolist() == [4, 2, 4, 1]
    assert ranks([NAN, NAN]).tolist() == [2, 2]


def test_perfect_costs_tie_and_beat_all():
    assert ranks([-np.inf, 0, -np.inf]).tolist() == [1, 3, 1]
    assert ranks([-np.inf, 0, -np.inf], ties="average").tolist() == [1.5, 3, 1.5]


def test_mean_ranks_that_differ_by_rounding_share_a_place():
    assert positions([0.1 + 0.2, 0.3, 0.4]).tolist() == [1, 1, 3]
    assert float(kendall_tau([0.1 + 0.2, 0.3, 0.4], [1, 1, 2])) == pytest.approx(1)


def test_tau_of_many_orders_at_once():
    orders = np.random.default_rng(0).permuted(np.tile(np.arange(5.0), (50, 1)), axis=1)
    expected = [stats.kendalltau(np.arange(5), order).statistic for order in orders]
    assert kendall_tau(np.arange(5), orders) == pytest.approx(expected)
