"""Volumes of masks and of their agreement."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flare_metrics.overlap import dice
from flare_metrics.volumes import confusion_volumes, volume_difference

MASKS = hnp.array_shapes(min_dims=2, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)
EMPTY, FULL = np.zeros((2, 2, 5), bool), np.ones((2, 2, 5), bool)
TEN = (10.0, 10.0, 10.0)


def test_difference_is_prediction_minus_reference():
    # 20 and 10 voxels of 2.5 x 0.8 x 0.5 mm, 0.001 ml each.
    half = FULL.copy()
    half[0] = False
    found = volume_difference(FULL, half, spacing_mm=(2.5, 0.8, 0.5))
    assert found.prediction_ml == pytest.approx(0.02)
    assert found.reference_ml == pytest.approx(0.01)
    assert found.difference_ml == pytest.approx(0.01)
    assert found.relative == pytest.approx(1.0)
    back = volume_difference(half, FULL, spacing_mm=(2.5, 0.8, 0.5))
    assert back.difference_ml == pytest.approx(-0.01)
    assert back.relative == pytest.approx(-0.5)


def test_difference_where_masks_are_empty():
    missed = volume_difference(EMPTY, FULL, spacing_mm=TEN)
    assert (missed.difference_ml, missed.relative) == (-20, -1)
    invented = volume_difference(FULL, EMPTY, spacing_mm=TEN)
    assert (invented.difference_ml, invented.relative) == (20, math.inf)
    neither = volume_difference(EMPTY, EMPTY, spacing_mm=TEN)
    assert (neither.prediction_ml, neither.reference_ml) == (0, 0)
    assert math.isnan(neither.difference_ml)
    assert math.isnan(neither.relative)


def test_confusion_of_hand_made_masks():
    prediction, reference = EMPTY.copy(), EMPTY.copy()
    prediction[0, 0, :4] = True
    reference[0, 0, 1:] = reference[1, 0] = True
    found = confusion_volumes(prediction, reference, spacing_mm=TEN)
    assert found.true_positive_ml == 3
    assert found.false_positive_ml == 1
    assert found.false_negative_ml == 6
    assert found.true_negative_ml == 10
    assert (found.precision, found.recall) == (3 / 4, 3 / 9)
    assert found.specificity == 10 / 11


def test_confusion_where_masks_are_empty():
    for pair in ((EMPTY, FULL), (FULL, EMPTY)):
        found = confusion_volumes(*pair, spacing_mm=TEN)
        assert (found.precision, found.recall) == (0, 0)
    assert confusion_volumes(FULL, EMPTY, spacing_mm=TEN).specificity == 0
    neither = confusion_volumes(EMPTY, EMPTY, spacing_mm=TEN)
    assert math.isnan(neither.precision)
    assert math.isnan(neither.recall)
    assert neither.specificity == 1
    assert math.isnan(confusion_volumes(FULL, FULL, spacing_mm=TEN).specificity)


def test_a_pixel_counts_as_one_millimeter_thick():
    found = volume_difference(FULL[0], FULL[0], spacing_mm=(20, 5))
    assert found.prediction_ml == pytest.approx(10 * 0.1)


@settings(max_examples=50, deadline=None)
@given(MASKS)
def test_parts_add_up_and_agree_with_dice(masks):
    prediction, reference = masks
    spacing = TEN[: prediction.ndim]
    parts = confusion_volumes(prediction, reference, spacing_mm=spacing)
    volumes = volume_difference(prediction, reference, spacing_mm=spacing)
    assert parts.true_positive_ml + parts.false_positive_ml == pytest.approx(volumes.prediction_ml)
    assert parts.true_positive_ml + parts.false_negative_ml == pytest.approx(volumes.reference_ml)
    whole = prediction.size * math.prod(spacing) / 1000
    background = parts.true_negative_ml + parts.false_positive_ml + parts.false_negative_ml
    assert parts.true_positive_ml + background == pytest.approx(whole)
    if parts.true_positive_ml:
        harmonic = 2 / (1 / parts.precision + 1 / parts.recall)
        assert harmonic == pytest.approx(dice(prediction, reference))


@pytest.mark.parametrize("function", [volume_difference, confusion_volumes])
def test_wrong_arguments_are_named(function):
    with pytest.raises(TypeError, match="prediction must be a boolean mask, got uint8"):
        function(FULL.astype(np.uint8), FULL, spacing_mm=TEN)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2, 5\) and \(2, 5\)"):
        function(FULL, FULL[0], spacing_mm=TEN)
    with pytest.raises(ValueError, match="spacing_mm must be 3 numbers > 0"):
        function(FULL, FULL, spacing_mm=(1, -1, 1))
