"""Disagreement: labels by number, the box around them, and the slices that lose most."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flare_metrics.report.disagreement import find_disagreement, label_codes, labeled_box

SMALL_MAPS = arrays(np.uint16, (3, 4, 5), elements=st.integers(0, 2))


def codes(*voxels, shape=(4, 5, 6)):
    array = np.zeros(shape, np.uint16)
    for z, y, x, label in voxels:
        array[z, y, x] = label
    return array


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int16, np.int32, np.int64, np.uint16])
def test_labels_become_their_place_whatever_the_type(dtype):
    array = np.array([[0, 7, 3], [100, 2, 7]], dtype)
    assert label_codes(array, [7, 2, 55]).tolist() == [[0, 1, 0], [0, 2, 1]]


def test_negative_and_huge_values_are_no_labels_unless_they_are():
    array = np.array([-56, 0, 7, 2**40])
    assert label_codes(array, [7]).tolist() == [0, 0, 1, 0]
    assert label_codes(np.array([-56, 7]), [7]).tolist() == [0, 1]
    assert label_codes(np.zeros((0, 2), np.uint8), [1]).shape == (0, 2)


def test_the_box_holds_all_labels_of_both():
    box = labeled_box(codes((1, 2, 3, 1)), codes((3, 0, 4, 2)))
    assert box == (slice(1, 4), slice(0, 3), slice(3, 5))
    assert labeled_box(codes(), codes()) is None


def test_the_loss_of_each_label_is_one_minus_its_dice():
    reference = codes((0, 0, 0, 1), (0, 0, 1, 1), (2, 2, 2, 2))
    prediction = codes((0, 0, 0, 1), (3, 4, 5, 1))
    # Label 1: volumes 2 and 2, one common voxel, DSC 0.5. Label 2: missed.
    profiles = find_disagreement(prediction, reference, labels=2).profiles
    assert profiles[0].tolist() == [0.25, 0, 1, 0.25]
    assert profiles[1].tolist() == [0.25, 0, 1, 0, 0.25]
    assert profiles[2].tolist() == [0, 0.25, 1, 0, 0, 0.25]


def test_a_missed_gland_outweighs_the_rim_of_a_liver():
    reference = np.zeros((5, 20, 20), np.uint16)
    reference[0:3, 2:18, 2:18] = 1
    prediction = reference.copy()
    prediction[1, 2, 2:18] = 0
    reference[4, 10, 10] = 2
    assert find_disagreement(prediction, reference, labels=2).worst == (4, 10, 10)


def test_where_all_agrees_the_fullest_slices_are_shown():
    both = codes((1, 1, 1, 1), (1, 1, 2, 1), (2, 3, 2, 1))
    assert find_disagreement(both, both, labels=1).worst == (1, 1, 2)


@settings(max_examples=40, deadline=None)
@given(SMALL_MAPS, SMALL_MAPS)
def test_all_three_profiles_sum_to_the_lost_dice(prediction, reference):
    loss = 0.0
    for label in (1, 2):
        masks = prediction == label, reference == label
        size = masks[0].sum() + masks[1].sum()
        if size:
            loss += 1 - 2 * (masks[0] & masks[1]).sum() / size
    profiles = find_disagreement(prediction, reference, labels=2).profiles
    if loss > 1e-9:
        assert [profile.sum() for profile in profiles] == pytest.approx([loss] * 3)
