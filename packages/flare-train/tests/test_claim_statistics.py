import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.claims.statistics import (
    Spread,
    planned_half_width,
    sign_test,
    two_level_interval,
)


def test_one_seed_is_the_plain_bootstrap_of_cases():
    # Two cases: a resampled mean is 0, 1/2 or 1 with 1/4, 1/2, 1/4, so the ends are 0 and 1.
    assert two_level_interval([np.array([0.0, 1.0])]) == (0.0, 1.0)


def test_seeds_without_spread_of_cases_are_resampled():
    # Three seeds of constant difference 0, 0, 3: means 0, 1, 2, 3 with 8, 12, 6, 1 of 27. The
    # upper 2.5 % lie beyond the 1/27 = 3.7 % at 3.
    values = [np.zeros(4), np.zeros(4), np.full(4, 3.0)]
    assert two_level_interval(values) == (0.0, 3.0)


def test_interval_of_many_cases_is_the_normal_one():
    rng = np.random.default_rng(1)
    values = rng.normal(0.3, 1.0, 500)
    low, high = two_level_interval([values])
    half = 1.96 * values.std() / math.sqrt(len(values))
    assert low == pytest.approx(values.mean() - half, abs=0.008)
    assert high == pytest.approx(values.mean() + half, abs=0.008)


def test_variance_of_two_levels_equals_the_formula():
    # Resampling S seeds and n cases in each: var = (var of seed means) / S + mean var / (S n),
    # with variances over what is there (no n - 1).
    rng = np.random.default_rng(2)
    values = [rng.normal(mean, 1.0, 30) for mean in rng.normal(0, 0.5, 40)]
    low, high = two_level_interval(values)
    means = np.array([each.mean() for each in values])
    inside = np.mean([each.var() for each in values])
    deviation = math.sqrt(means.var() / 40 + inside / (40 * 30))
    assert (high - low) / 2 == pytest.approx(1.96 * deviation, rel=0.03)
    assert (high + low) / 2 == pytest.approx(means.mean(), abs=0.02)


@settings(max_examples=10, deadline=None)
@given(st.lists(st.lists(st.floats(-1, 1), min_size=1, max_size=5), min_size=1, max_size=3))
def test_interval_holds_its_values_and_turns_with_their_sign(lists):
    values = [np.array(each) for each in lists]
    low, high = two_level_interval(values)
    everything = np.concatenate(values)
    assert everything.min() - 1e-12 <= low <= high <= everything.max() + 1e-12
    turned = two_level_interval([-each for each in values])
    assert turned == pytest.approx((-high, -low), abs=1e-9)


@pytest.mark.parametrize("values", [[], [np.array([1.0]), np.array([])]])
def test_a_seed_without_cases_is_refused(values):
    with pytest.raises(ValueError, match="every seed must have a difference"):
        two_level_interval(values)


@pytest.mark.parametrize(
    "values", [[1.0], [1.0, 2.0], [-1.0, 0.0, 3.0, 4.0], [0.5] * 6, [-1.0] * 5 + [2.0] * 2]
)
def test_sign_test_equals_going_through_all_signs(values):
    array = np.array(values)
    positive, negative, p = sign_test(array)
    moving = [value for value in values if value]
    assert (positive, negative) == (
        sum(value > 0 for value in values),
        sum(value < 0 for value in values),
    )
    extreme = max(positive, negative)
    patterns = list(itertools.product((0, 1), repeat=len(moving)))
    reached = [p for p in patterns if max(sum(p), len(p) - sum(p)) >= extreme]
    assert p == pytest.approx(len(reached) / len(patterns))


def test_sign_test_of_ties_alone():
    assert sign_test(np.zeros(4)) == (0, 0, 1.0)


def test_planned_half_width_by_hand():
    # 1.96 sqrt(0.12^2 / 3 + 0.2^2 / 51)
    spread = Spread(between_seeds=0.12, between_cases=0.2)
    wanted = 1.96 * math.sqrt(0.0048 + 0.04 / 51)
    assert planned_half_width(spread, seeds=3, cases=17) == pytest.approx(wanted)
