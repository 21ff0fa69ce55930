"""Lesion-wise scores: hand-made lesions, an independent brute-force oracle, properties."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import ndimage

from flare_metrics.detection import DetectionScore, detection_score

UNIT = (1.0, 1.0, 1.0)


def row(text):
    """Return a (1, 1, x) mask in which every character but a dot is foreground."""
    return np.array([[[character != "." for character in text]]], bool)


def counts(score):
    return score.true_positives, score.false_positives, score.false_negatives


def score_rows(prediction, reference, **options):
    return detection_score(row(prediction), row(reference), spacing_mm=UNIT, **options)


def test_hits_misses_and_false_alarms_of_hand_made_rows():
    score = score_rows(
        "aa...bb.......cccc",
        "aaaa....dd....cccc",
    )
    assert counts(score) == (2, 1, 1)
    # IoU of the pairs: 2/4 and 4/4.
    assert score.segmentation_quality == 0.75
    assert score.precision == score.recall == score.f1 == score.recognition_quality == 2 / 3
    assert score.panoptic_quality == 0.5


def test_the_table_lists_every_lesion_once_with_its_volume():
    found = detection_score(
        row("aa...bb.......cccc"), row("aaaa....d.....cccc"), spacing_mm=(10, 10, 5)
    )
    table = [(x.outcome, x.prediction_ml, x.reference_ml, x.iou, x.dsc) for x in found.lesions]
    assert table == [
        ("hit", 2.0, 2.0, 1.0, 1.0),
        ("hit", 1.0, 2.0, 0.5, pytest.approx(2 / 3)),
        ("miss", 0.0, 0.5, 0.0, 0.0),
        ("false alarm", 1.0, 0.0, 0.0, 0.0),
    ]


def test_one_prediction_over_two_lesions_finds_the_one_it_fits_better():
    score = score_rows("aaaaaaaaa", "aaa.bbbbb")
    assert counts(score) == (1, 0, 1)
    assert score.segmentation_quality == 5 / 9
    assert [lesion.reference_ml for lesion in score.lesions] == [0.005, 0.003]


def test_of_two_predictions_in_one_lesion_one_is_a_false_alarm():
    score = score_rows("aa.aaa.", "aaaaaaa")
    assert counts(score) == (1, 1, 0)
    assert score.segmentation_quality == 3 / 7


def test_more_pairs_are_better_than_a_better_fit():
    # The first prediction fits the second lesion best, but that one would leave two alone.
    reference = "aaaaa.bbbbbbbbbb"
    prediction = "....aaaaaaaaaaa."
    assert counts(score_rows(prediction, reference)) == (1, 0, 1)
    both = "....aaaaaaaaa.bb"
    score = score_rows(both, reference)
    assert counts(score) == (2, 0, 0)
    # 1 of 5 + 9 - 1, and 2 of 10.
    assert score.segmentation_quality == pytest.approx((1 / 13 + 2 / 10) / 2)


def test_overlap_is_the_covered_share_of_the_lesion_and_must_exceed_the_threshold():
    # 2 of 4 voxels covered by a prediction of 6: share 1/2, IoU 2/8.
    prediction, reference = "aaaaaa..", "....aaaa"
    for rule, share in (("overlap", 0.5), ("iou", 0.25)):
        hits = [
            score_rows(prediction, reference, rule=rule, threshold=threshold).true_positives
            for threshold in (0.0, share - 1e-9, share, share + 1e-9)
        ]
        assert hits == [1, 1, 0, 0], rule


def test_iou_exceeds_one_half_by_default():
    assert score_rows("aa..", "aaaa", rule="iou").true_positives == 0
    assert score_rows("aaa.", "aaaa", rule="iou").true_positives == 1


@pytest.mark.parametrize(
    ("second", "joined_by"),
    [((0, 0, 1), {6, 18, 26}), ((0, 1, 1), {18, 26}), ((1, 1, 1), {26}), ((0, 0, 2), set())],
    ids=["face", "edge", "corner", "apart"],
)
def test_connectivity_of_volumes(second, joined_by):
    # All mirror images, so that no direction is forgotten.
    for flips in product((1, -1), repeat=3):
        mask = np.zeros((3, 3, 3), bool)
        mask[0, 0, 0] = mask[second] = True
        mask = mask[tuple(slice(None, None, flip) for flip in flips)]
        for connectivity in (6, 18, 26):
            score = detection_score(mask, mask, spacing_mm=UNIT, connectivity=connectivity)
            assert counts(score) == (1 if connectivity in joined_by else 2, 0, 0)


def test_connectivity_of_slices():
    mask = np.eye(4, dtype=bool)
    for image in (mask, mask[::-1]):
        lesions = [
            detection_score(image, image, spacing_mm=(1, 1), connectivity=c).true_positives
            for c in (None, 8, 4)
        ]
        assert lesions == [1, 1, 4]


def test_small_lesions_are_removed_from_both_masks():
    rules = {"minimum_volume_ml": 0.002}
    assert counts(score_rows("a..bb..c", "a..bb.dd", **rules)) == (1, 0, 1)
    # Exactly the minimum stays, also where the product of the spacing is not exact.
    mask = row("aaa")
    score = detection_score(mask, mask, spacing_mm=(0.1, 0.1, 0.1), minimum_volume_ml=3e-6)
    assert score.true_positives == 1
    assert math.isnan(score_rows("aa", "aa", minimum_volume_ml=0.0021).f1)


def test_one_empty_scores_zero_and_both_empty_is_no_number():
    def ratios(score):
        return score.precision, score.recall, score.f1, score.panoptic_quality

    for score in (score_rows("...", "a.a"), score_rows("a.a", "...")):
        assert ratios(score) == (0, 0, 0, 0)
        assert math.isnan(score.segmentation_quality)
        assert len(score.lesions) == 2
    for empty in (score_rows("...", "..."), score_rows("", "")):
        assert counts(empty) == (0, 0, 0)
        assert all(map(math.isnan, (*ratios(empty), empty.segmentation_quality)))
    # Both have lesions, none in common.
    assert ratios(score_rows("a..", "..b")) == (0, 0, 0, 0)


def brute_force(prediction, reference, *, rule, threshold, connectivity):
    """Return counts and sum of IoU by labeling the whole array and trying every pairing."""
    steps = {4: 1, 8: 2, 6: 1, 18: 2, 26: 3}[connectivity]
    structure = ndimage.generate_binary_structure(prediction.ndim, steps)
    (a, n), (b, m) = (ndimage.label(mask, structure) for mask in (prediction, reference))
    value = {}
    for i, j in product(range(1, n + 1), range(1, m + 1)):
        common, joint = ((a == i) & (b == j)).sum(), ((a == i) | (b == j)).sum()
        share = common / ((b == j).sum() if rule == "overlap" else joint)
        if share > threshold:
            value[i, j] = common / joint

    def best(i, free):
        if i > n:
            return 0, 0.0
        pairings = [best(i + 1, free)]
        for j in free:
            if (i, j) in value:
                pairs, total = best(i + 1, free - {j})
                pairings.append((pairs + 1, total + value[i, j]))
        return max(pairings)

    return best(1, frozenset(range(1, m + 1))), n + m


MASKS = hnp.array_shapes(min_dims=2, max_dims=3, max_side=5).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@settings(max_examples=80, deadline=None)
@given(MASKS, st.sampled_from(["overlap", "iou"]), st.sampled_from([0.0, 0.2, 0.5]), st.data())
def test_equal_to_trying_every_pairing(masks, rule, threshold, data):
    prediction, reference = masks
    choices = (4, 8) if prediction.ndim == 2 else (6, 18, 26)
    rules = {
        "rule": rule,
        "threshold": threshold,
        "connectivity": data.draw(st.sampled_from(choices)),
    }
    score = detection_score(prediction, reference, spacing_mm=UNIT[: prediction.ndim], **rules)
    (pairs, total), lesions = brute_force(prediction, reference, **rules)
    assert score.true_positives == pairs
    assert 2 * pairs + score.false_positives + score.false_negatives == lesions
    if pairs:
        assert score.segmentation_quality == pytest.approx(total / pairs)


@pytest.mark.parametrize("connectivity", [6, 18, 26])
def test_components_of_noise_are_those_of_scipy(connectivity):
    # Components meet in every direction here; each is a pair with itself.
    rng = np.random.default_rng(connectivity)
    structure = ndimage.generate_binary_structure(3, {6: 1, 18: 2, 26: 3}[connectivity])
    for density in (0.02, 0.1, 0.2, 0.3, 0.7):
        mask = rng.random((17, 23, 29)) < density
        numbers, count = ndimage.label(mask, structure)
        score = detection_score(mask, mask, spacing_mm=(10, 10, 10), connectivity=connectivity)
        assert counts(score) == (count, 0, 0)
        volumes = sorted(lesion.reference_ml for lesion in score.lesions)
        assert volumes == sorted(np.bincount(numbers[mask])[1:].tolist())
        assert score.panoptic_quality == 1


@settings(max_examples=40, deadline=None)
@given(MASKS)
def test_flips_axis_order_padding_and_memory_order_change_nothing(masks):
    prediction, reference = masks
    spacing = np.array((2.5, 0.8, 1.0)[: prediction.ndim])
    rules = {"minimum_volume_ml": 0.002}
    score = detection_score(prediction, reference, spacing_mm=spacing, **rules)
    again = [
        detection_score(change(prediction), change(reference), spacing_mm=spacing, **rules)
        for change in (
            lambda mask: mask[::-1, ::-1],
            lambda mask: np.pad(mask, 2),
            np.asfortranarray,
            lambda mask: np.repeat(mask, 2, axis=0)[::2],
        )
    ]
    turned = detection_score(prediction.T, reference.T, spacing_mm=spacing[::-1], **rules)
    for other in (*again, turned):
        assert counts(other) == counts(score)
        assert other.segmentation_quality == pytest.approx(score.segmentation_quality, nan_ok=True)
        assert sum(x.reference_ml for x in other.lesions) == pytest.approx(
            sum(x.reference_ml for x in score.lesions)
        )
    swapped = detection_score(reference, prediction, spacing_mm=spacing, **rules)
    assert counts(swapped) == (
        score.true_positives,
        score.false_negatives,
        score.false_positives,
    )


def test_masks_are_not_changed_and_may_be_read_only():
    a, b = row("aa.b"), row("a..b")
    a.flags.writeable = b.flags.writeable = False
    assert counts(detection_score(a, b, spacing_mm=UNIT)) == (2, 0, 0)


def test_a_score_of_counts_alone_has_its_ratios():
    score = DetectionScore(
        true_positives=0, false_positives=4, false_negatives=0, segmentation_quality=math.nan
    )
    assert (score.precision, score.recall, score.panoptic_quality) == (0, 0, 0)
    assert score.lesions == ()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"rule": "touch"}, ValueError, "rule must be 'overlap' or 'iou', got 'touch'"),
        ({"threshold": 1.0}, ValueError, r"threshold must be in \[0, 1\), got 1.0"),
        ({"threshold": math.nan}, ValueError, r"threshold must be in \[0, 1\), got nan"),
        ({"connectivity": 8}, ValueError, "connectivity must be 6, 18, 26 for 3 axes, got 8"),
        ({"minimum_volume_ml": -1}, ValueError, "minimum_volume_ml must be a finite number >= 0"),
        ({"spacing_mm": (1, 1)}, ValueError, "spacing_mm must be 3 numbers > 0"),
        ({"prediction": np.ones((2, 2, 2))}, TypeError, "prediction must be a boolean mask"),
    ],
    ids=["rule", "one", "nan", "connectivity", "volume", "spacing", "float"],
)
def test_wrong_arguments_are_named(change, error, message):
    mask = np.ones((2, 2, 2), bool)
    arguments = {"prediction": mask, "reference": mask, "spacing_mm": UNIT, **change}
    with pytest.raises(error, match=message):
        detection_score(arguments.pop("prediction"), arguments.pop("reference"), **arguments)
