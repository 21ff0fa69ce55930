"""The interval of a median: the binomial distribution, infinities, few values."""

import math

import numpy as np
import pytest
from scipy import stats

from flare_metrics.median import median_interval


@pytest.mark.parametrize("n", [6, 7, 8, 9, 15, 50, 101, 1000, 4000])
def test_the_ranks_are_the_binomial_quantiles(n):
    low, high = median_interval(np.arange(1, n + 1))
    assert low + high == n + 1
    # P(fewer than k of n values below the median) on both sides.
    assert 2 * stats.binom.cdf(low - 1, n, 0.5) <= 0.05
    assert 2 * stats.binom.cdf(low, n, 0.5) > 0.05


def test_few_values_have_no_interval():
    for n in range(6):
        assert median_interval(np.arange(n)) is None


def test_infinities_are_values_and_nan_is_none():
    assert median_interval([math.inf] * 3 + [math.nan] + [1, 2, 3]) == (1, math.inf)
    assert median_interval([2] * 6) == (2, 2)


def test_coverage_is_at_least_what_it_says():
    samples = np.random.default_rng(11).exponential(size=(2000, 21))
    ends = np.array([median_interval(sample) for sample in samples])
    covered = np.mean((ends[:, 0] <= math.log(2)) & (math.log(2) <= ends[:, 1]))
    # 1 - 2 P(Binomial(21, 1/2) < 6) = 0.9733.
    assert covered == pytest.approx(0.9733, abs=0.011)
