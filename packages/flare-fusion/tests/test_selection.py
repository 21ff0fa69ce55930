"""Which cases to keep: by hand, and against sets of voxels."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flare_fusion.selection import (
    agreement_of_pair,
    instability,
    keep_stable,
    select_by_agreement,
)

maps = arrays(np.uint8, (2, 3, 3), elements=st.integers(0, 3))


@settings(max_examples=40, deadline=None)
@given(maps, maps)
def test_mean_dice_of_two_maps(first, second):
    values = []
    for label in (1, 2, 3):
        a, b = (set(np.flatnonzero(each == label).tolist()) for each in (first, second))
        if a or b:
            values.append(2 * len(a & b) / (len(a) + len(b)))
    found = agreement_of_pair(first, second, labels=(1, 2, 3))
    assert found == (pytest.approx(np.mean(values)) if values else None)
    assert agreement_of_pair(second, first, labels=(1, 2, 3)) == found


def test_labels_that_are_not_asked_for_do_not_count():
    a, b = np.array([[[1, 14]]], np.uint8), np.array([[[1, 0]]], np.uint8)
    assert agreement_of_pair(a, b, labels=range(1, 14)) == 1.0
    assert agreement_of_pair(a, b, labels=(14,)) == 0.0
    assert agreement_of_pair(b, b, labels=(7, 14)) is None


AGREEMENT = {"c10": 0.99, "c02": 0.86, "u1": 0.9, "c01": 0.85, "u0": 0.851, "u2": None, "c03": 0.9}
LABELED = {"c01", "c02", "c03", "c10"}


def test_s3_takes_the_first_of_each_kind_above_the_threshold():
    every = select_by_agreement(AGREEMENT, labeled=LABELED)
    # Exactly at the threshold is not above it.
    assert every == ("c02", "c03", "c10", "u0", "u1")
    some = select_by_agreement(AGREEMENT, labeled=LABELED, first_labeled=2, first_unlabeled=1)
    assert some == ("c02", "c03", "u0")
    none = select_by_agreement(AGREEMENT, labeled=LABELED, first_labeled=0, first_unlabeled=0)
    assert none == ()
    assert len(select_by_agreement(AGREEMENT, labeled=LABELED, threshold=0, first_labeled=None,
                                   first_unlabeled=None)) == 6  # fmt: skip


def test_200_labeled_and_100_unlabeled_by_default():
    many = {f"{kind}{k:04d}": 0.9 for kind in "lu" for k in range(300)}
    labeled = {case for case in many if case.startswith("l")}
    chosen = select_by_agreement(many, labeled=labeled)
    assert chosen == tuple(sorted(many)[:200] + sorted(many)[300:400])


def test_instability_is_half_the_sum_of_two_changes():
    first, second = np.zeros((2, 1, 4), int), np.zeros((2, 1, 4), int)
    first[0] = 1
    second[0, 0, :3] = 1
    third = second.copy()
    third[1, 0, 0] = 5
    # One of 3 labeled voxels changed, then one of 4.
    assert instability([first, second, third]) == pytest.approx((1 / 3 + 1 / 4) / 2)
    assert instability([first, first, first]) == 0
    nothing = np.zeros_like(first)
    assert instability([nothing, nothing]) == 0
    assert instability([first, nothing]) == math.inf


def test_the_least_stable_are_left_out():
    figures = {"a": 0.3, "b": math.inf, "c": 0.3, "d": 0.0}
    assert keep_stable(figures, drop=0) == ("a", "b", "c", "d")
    assert keep_stable(figures, drop=1) == ("a", "c", "d")
    assert keep_stable(figures, drop=2) == ("a", "d")


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"threshold must be within 0..1, got 85"):
        select_by_agreement({}, labeled=(), threshold=85)
    with pytest.raises(ValueError, match="first_labeled must be >= 0, got -1"):
        select_by_agreement({}, labeled=(), first_labeled=-1)
    with pytest.raises(ValueError, match=r"drop must be within 0..0, got 1"):
        keep_stable({"a": 0.5}, drop=1)
    one = np.zeros((1, 1, 2), np.uint8)
    with pytest.raises(ValueError, match="at least two rounds, got 1"):
        instability([one])
    with pytest.raises(ValueError, match=r"one shape, got \(1, 1, 2\) and \(1, 1, 3\)"):
        instability([one, np.zeros((1, 1, 3), np.uint8)])
