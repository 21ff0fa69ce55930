"""The Dice coefficient and the Jaccard index."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flare_metrics.overlap import dice, jaccard

MASKS = hnp.array_shapes(min_dims=2, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


def box(shape, *slices):
    mask = np.zeros(shape, bool)
    mask[slices] = True
    return mask


def test_two_boxes_that_share_a_third():
    # 4 and 4 voxels, 2 in common: 2 * 2 / 8.
    a = box((1, 2, 4), 0, slice(None), slice(0, 2))
    b = box((1, 2, 4), 0, slice(None), slice(1, 3))
    assert dice(a, b) == 0.5
    assert jaccard(a, b) == 2 / 6


def test_one_empty_scores_zero_and_both_empty_is_no_number():
    empty, full = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    assert dice(full, empty) == dice(empty, full) == 0
    assert jaccard(full, empty) == jaccard(empty, full) == 0
    assert math.isnan(dice(empty, empty))
    assert math.isnan(jaccard(empty, empty))


@settings(max_examples=50, deadline=None)
@given(MASKS)
def test_both_are_symmetric_bounded_and_one_on_itself(masks):
    a, b = masks
    if a.any() or b.any():
        assert dice(a, b) == dice(b, a)
        assert 0 <= dice(a, b) <= 1
        assert dice(a | b, a | b) == jaccard(a | b, a | b) == 1
        assert jaccard(a, b) == jaccard(b, a) == pytest.approx(dice(a, b) / (2 - dice(a, b)))


def test_masks_are_not_changed_and_may_be_read_only():
    a, b = box((2, 3, 3), 0), box((2, 3, 3), slice(None), 1)
    a.flags.writeable = b.flags.writeable = False
    assert dice(a, b) == 2 * 3 / (9 + 6)


@pytest.mark.parametrize("score", [dice, jaccard])
def test_wrong_arguments_are_named(score):
    mask = np.zeros((2, 2, 2), bool)
    with pytest.raises(TypeError, match="prediction must be a boolean mask, got uint8"):
        score(mask.astype(np.uint8), mask)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2, 2\) and \(2, 2\)"):
        score(mask, mask[0])
    with pytest.raises(ValueError, match="2 or 3 axes"):
        score(mask[None], mask[None])
