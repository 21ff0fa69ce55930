"""Bootstrap intervals: coverage, an independent oracle, and the cases without spread."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flare_metrics.bootstrap import (
    RESAMPLES,
    bca_interval,
    mean_interval,
    mean_intervals,
    mean_of_means_interval,
    resampled_counts,
)

NAN = float("nan")
SCORES = [0.97, 0.95, 0.96, 0.31, 0.93, 0.98, 0.88, 0.94, 0.90, 0.62, 0.95, 0.97]


def test_values_without_spread_have_no_interval_or_one_without_width():
    assert mean_interval([]) is None
    assert mean_interval([0.5]) is None
    assert mean_interval([NAN, 0.5, NAN]) is None
    assert mean_interval([NAN, NAN]) is None
    assert mean_interval([0.3, 0.3, 0.3, NAN]) == (0.3, 0.3)


def test_what_cannot_be_averaged_is_refused():
    with pytest.raises(ValueError, match="must be finite; take those that are"):
        mean_interval([1.0, np.inf])
    with pytest.raises(ValueError, match="one axis, got shape"):
        mean_interval([[1.0]])
    with pytest.raises(ValueError, match="axes cases and columns, got shape"):
        mean_intervals([1.0])


def test_resampled_counts_are_draws_with_replacement():
    counts = np.concatenate(list(resampled_counts(7)))
    assert counts.shape == (RESAMPLES, 7)
    assert (counts.sum(axis=1) == 7).all()
    # A count is binomial(7, 1/7): mean 1, variance 6/7, zero in (6/7)^7.
    assert counts.mean(axis=0) == pytest.approx(np.ones(7), abs=0.06)
    assert counts.var() == pytest.approx(6 / 7, abs=0.03)
    assert (counts == 0).mean() == pytest.approx((6 / 7) ** 7, abs=0.01)
    # Many cases come in blocks, and the seed decides.
    blocks = list(resampled_counts(200_000, resamples=5))
    assert [block.shape for block in blocks] == [(2, 200_000), (2, 200_000), (1, 200_000)]
    again, other = (np.concatenate(list(resampled_counts(7, seed=s))) for s in (20230922, 1))
    assert (again == counts).all() and (other != counts).any()


def test_intervals_are_those_of_scipy():
    theirs = stats.bootstrap(
        (SCORES,), np.mean, n_resamples=40_000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    # Two ways to draw: their quantiles differ by chance only.
    assert mean_interval(SCORES) == pytest.approx(tuple(theirs), abs=0.012)
    # Skewed to the left, as scores are: BCa reaches further down than up.
    low, high = mean_interval(SCORES)
    assert np.mean(SCORES) - low > 1.5 * (high - np.mean(SCORES))


def test_bca_by_hand():
    # All 27 resamples of (0, 0, 3): sums 0 (8 ways), 3 (12), 6 (6), 9 (1).
    sample = np.array([0.0, 0.0, 3.0])
    replicates = [np.mean(draw) for draw in itertools.product(sample, repeat=3)]
    jackknife = [1.5, 1.5, 0.0]
    # Share below, half of the equal: (8 + 6) / 27; d = (-0.5, -0.5, 1), so a is
    # 0.75 / (6 * 1.5 ** 1.5).
    z0 = stats.norm.ppf(14 / 27)
    a = 0.75 / (6 * 1.5**1.5)
    z = z0 + stats.norm.ppf([0.025, 0.975])
    expected = np.quantile(replicates, stats.norm.cdf(z0 + z / (1 - a * z)))
    assert bca_interval(1.0, replicates, jackknife=jackknife) == pytest.approx(tuple(expected))
    # A missing replicate counts as not there.
    assert bca_interval(1.0, [*replicates, NAN], jackknife=jackknife) == pytest.approx(
        tuple(expected)
    )
    # Without skew the ends are the percentiles.
    flat = bca_interval(0.0, np.arange(-500, 501), jackknife=[-1.0, 1.0])
    assert flat == pytest.approx((-475, 475), abs=1e-6)


def test_an_estimate_outside_its_replicates_keeps_finite_ends():
    low, high = bca_interval(5.0, [1.0, 2.0, 3.0], jackknife=[1.0, 1.0])
    assert 1 <= low <= high <= 3


@pytest.mark.parametrize(
    ("draw", "mean", "n", "expected"),
    [
        (lambda rng, shape: rng.normal(size=shape), 0.0, 20, 0.925),
        (lambda rng, shape: rng.normal(size=shape), 0.0, 50, 0.94),
        (lambda rng, shape: rng.exponential(size=shape), 1.0, 20, 0.914),
        (lambda rng, shape: rng.exponential(size=shape), 1.0, 50, 0.94),
        (lambda rng, shape: rng.beta(8, 1, shape), 8 / 9, 20, 0.924),
        (lambda rng, shape: rng.beta(8, 1, shape), 8 / 9, 50, 0.938),
    ],
)
def test_coverage_on_known_distributions(draw, mean, n, expected):
    samples = draw(np.random.default_rng(7), (n, 500))
    ends = np.array(mean_intervals(samples))
    covered = np.mean((ends[:, 0] <= mean) & (mean <= ends[:, 1]))
    # Three standard deviations of a share of 500.
    assert covered == pytest.approx(expected, abs=0.035)


def test_bca_covers_a_skewed_mean_better_than_percentiles():
    samples = np.random.default_rng(3).beta(8, 1, (30, 600))
    replicates = np.concatenate([counts @ samples / 30 for counts in resampled_counts(30)])
    percentiles = np.quantile(replicates, [0.025, 0.975], axis=0)
    ends = np.array(mean_intervals(samples)).T
    share = [np.mean((low <= 8 / 9) & (high >= 8 / 9)) for low, high in (percentiles, ends)]
    assert share[1] > share[0]


def test_columns_are_independent_of_each_other():
    table = np.array([SCORES, SCORES[::-1], [0.5] * 12, [NAN] * 12]).T
    table[3, 1] = NAN
    together = mean_intervals(table)
    assert together[2:] == [(0.5, 0.5), None]
    for column, interval in enumerate(together):
        alone = mean_interval(table[:, column])
        assert (alone is None) if interval is None else alone == pytest.approx(interval)


def test_a_missing_value_changes_little_beside_leaving_its_case_out():
    with_gaps = mean_interval([*SCORES, NAN, NAN, NAN])
    assert with_gaps == pytest.approx(mean_interval(SCORES), abs=0.03)


def test_the_mean_of_means_weighs_columns_alike():
    # One column of a single value: the label means are 0.8 and 0.2.
    table = np.full((6, 2), NAN)
    table[:, 0] = 0.8
    table[0, 1] = 0.2
    low, high = mean_of_means_interval(table)
    # Resamples without the first case know the first column only.
    assert (low, high) == pytest.approx((0.5, 0.8))
    assert mean_of_means_interval(np.empty((0, 3))) is None
    assert mean_of_means_interval([[0.5, 0.5]]) is None
    assert mean_of_means_interval([[0.5, NAN], [NAN, NAN]]) is None


def test_one_column_is_its_own_mean_of_means():
    table = np.array(SCORES)[:, np.newaxis]
    assert mean_of_means_interval(table) == pytest.approx(mean_interval(SCORES))


def test_dependent_columns_are_not_taken_for_independent():
    column = np.random.default_rng(5).random(60)
    same = mean_of_means_interval(np.stack([column, column], axis=1))
    opposite = mean_of_means_interval(np.stack([column, 1 - column], axis=1))
    assert same == pytest.approx(mean_interval(column))
    assert opposite == pytest.approx((0.5, 0.5))


FLOATS = st.floats(0, 1, width=32)


@settings(max_examples=25, deadline=None)
@given(st.lists(FLOATS, min_size=2, max_size=12))
def test_intervals_lie_within_the_values_and_around_nothing_else(values):
    low, high = mean_interval(values)
    assert min(values) <= low <= high <= max(values)


@settings(max_examples=25, deadline=None)
@given(st.lists(FLOATS, min_size=3, max_size=12), st.floats(-5, 5), st.floats(0.1, 10))
def test_intervals_move_and_grow_with_the_values(values, shift, factor):
    array = np.array(values, float)
    moved = mean_interval(factor * array + shift)
    expected = [factor * end + shift for end in mean_interval(array)]
    assert moved == pytest.approx(tuple(expected), abs=1e-6)
