"""Paired tests against brute force over all signs, SciPy, and values worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from flare_metrics.paired_tests import (
    holm,
    sign_flip_test,
    sign_flip_tests,
    signed_rank_test,
    smallest_p,
)

NAN = math.nan
# Few distinct sizes, so that ties and zeros occur.
COARSE = st.lists(st.integers(-3, 3).map(float), min_size=1, max_size=8)


def brute_force(differences, statistic):
    """Return the share of sign patterns at least as far from their center as the given one."""
    array = np.array(differences)
    patterns = itertools.product((-1, 1), repeat=len(array))
    values = np.array([statistic(np.array(signs) * np.abs(array)) for signs in patterns])
    observed = statistic(array)
    return np.mean(np.abs(values) >= abs(observed) - 1e-9)


def signed_ranks(array):
    # Zeros are ranked and then drop out, as their sign is 0.
    return (np.sign(array) * stats.rankdata(np.abs(array))).sum()


@settings(max_examples=60, deadline=None)
@given(COARSE)
def test_signed_ranks_are_counted_as_brute_force_counts_them(differences):
    assert signed_rank_test(differences) == pytest.approx(brute_force(differences, signed_ranks))


@settings(max_examples=60, deadline=None)
@given(COARSE)
def test_sign_flips_are_counted_as_brute_force_counts_them(differences):
    assert sign_flip_test(differences) == pytest.approx(brute_force(differences, np.sum))


@pytest.mark.parametrize("n", [3, 6, 12, 25, 50])
def test_without_ties_signed_ranks_are_scipys_exact_ones(n):
    differences = np.random.default_rng(n).normal(0.3, 1, n)
    expected = stats.wilcoxon(differences, method="exact").pvalue
    assert signed_rank_test(differences) == pytest.approx(expected, rel=1e-12)


def test_many_pairs_are_scipys_normal_approximation():
    generator = np.random.default_rng(4)
    plain = generator.normal(0.05, 1, 400)
    tied = np.round(generator.normal(0.1, 1, 400), 1)
    assert (tied == 0).sum() > 5
    for differences in (plain, tied):
        expected = stats.wilcoxon(
            differences, zero_method="pratt", correction=True, method="asymptotic"
        ).pvalue
        # SciPy shifts the variance of the zeros in the same way, to the last digits.
        assert signed_rank_test(differences) == pytest.approx(expected, rel=1e-6)


def test_exact_and_normal_meet():
    differences = np.random.default_rng(9).normal(0.15, 1, 101)
    many, few = signed_rank_test(differences), signed_rank_test(differences[:100])
    assert few == pytest.approx(stats.wilcoxon(differences[:100], method="exact").pvalue)
    assert many == pytest.approx(stats.wilcoxon(differences, method="exact").pvalue, abs=2e-3)


def test_zeros_are_ranked_before_they_drop_out():
    # Sizes 0, 0, 1, 2, 3 have ranks 1.5, 1.5, 3, 4, 5; sums of subsets of (3, 4, 5): the
    # negative 3 is reached by {} and {3}, so p = 2 * 2 / 8.
    assert signed_rank_test([0, 0, -1, 2, 3]) == 0.5
    assert signed_rank_test([0.0, 0.0]) == 1
    assert math.isnan(signed_rank_test([]))
    assert math.isnan(signed_rank_test([NAN]))
    assert signed_rank_test([NAN, 1, 2, 3]) == 0.25


def test_infinite_differences_are_the_largest():
    assert signed_rank_test([math.inf, 1, 2, 3, 4, -1]) == signed_rank_test([9, 1, 2, 3, 4, -1])
    with pytest.raises(ValueError, match="must be finite; the signed-rank test"):
        sign_flip_test([math.inf, 1])


def test_drawn_signs_come_near_the_t_test_and_are_the_same_again():
    differences = np.random.default_rng(2).normal(0.25, 1, 60)
    p = sign_flip_test(differences)
    assert p == pytest.approx(stats.ttest_1samp(differences, 0).pvalue, abs=0.01)
    assert p == sign_flip_test(differences)
    # 5 standard deviations of a share of 10000.
    theirs = stats.permutation_test(
        (differences, np.zeros(60)),
        lambda x, y, axis: np.mean(x - y, axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=10_000,
        rng=np.random.default_rng(0),
    ).pvalue
    assert p == pytest.approx(theirs, abs=0.011)


def test_a_drawn_p_is_never_zero():
    assert sign_flip_test(np.ones(40)) == pytest.approx(1 / 10_001)
    assert sign_flip_test(np.ones(40), permutations=99) == 0.01


def test_columns_with_gaps_are_tested_apart():
    table = np.array([[1.0, 5, NAN, 0], [2, NAN, NAN, 0], [3, 5, NAN, 0]])
    assert sign_flip_tests(table)[:2] == [0.25, 0.5]
    assert math.isnan(sign_flip_tests(table)[2])
    assert sign_flip_tests(table)[3] == 1


def test_the_smallest_p_of_few_pairs():
    assert [smallest_p(np.ones(n)) for n in (0, 1, 5, 6)] == [1, 1, 0.0625, 0.03125]
    assert signed_rank_test(np.arange(1, 6)) == smallest_p(np.arange(1, 6))
    assert sign_flip_test(np.arange(1, 6)) == smallest_p([*range(1, 6), 0, NAN])


@settings(max_examples=30, deadline=None)
@given(COARSE, st.randoms())
def test_neither_order_nor_direction_matters(differences, randoms):
    shuffled = differences[:]
    randoms.shuffle(shuffled)
    for test in (signed_rank_test, sign_flip_test):
        assert test(shuffled) == pytest.approx(test(differences))
        assert test([-value for value in differences]) == pytest.approx(test(differences))


def test_false_alarms_are_as_rare_as_they_should_be():
    generator = np.random.default_rng(6)
    samples = np.round(generator.standard_t(3, (400, 15)), 1)
    alarms = np.mean([signed_rank_test(sample) <= 0.05 for sample in samples])
    assert alarms <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)
    assert alarms > 0.02


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.5 times 4, 3, 2, 1; never smaller than the one before.
    assert holm([0.5, 0.01, 0.03, 0.02]) == pytest.approx([0.5, 0.04, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []
    assert np.isnan(holm([NAN, NAN])).all()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8), st.sampled_from([0.01, 0.05, 0.3]))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values, alpha):
    order = np.argsort(p_values, kind="stable")
    rejected = set()
    for step, index in enumerate(order):
        if p_values[index] * (len(order) - step) > alpha:
            break
        rejected.add(int(index))
    assert set(np.flatnonzero(holm(p_values) <= alpha).tolist()) == rejected
