"""All labels of a case, by each protocol; the official one against the script's rules written
out again."""

import math
import warnings

import numpy as np
import pytest

from flare_metrics.case import score_case, score_missing
from flare_metrics.protocols import Label, Protocol, protocol

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import surface_distance as peer

SPACING = (2.5, 0.8, 0.8)


def official_scores(prediction, reference, label, *, threshold=0.2):
    """Return (DSC, NSD) as the official script has them, arrays (z, y, x), or None where it
    stops."""
    p, r = prediction == label.id, reference == label.id
    if not p.any() and not r.any():
        return 1, 1
    if not p.any() or not r.any():
        return 0, 0
    if label.id in (5, 6, 10):
        slices = np.flatnonzero(r.any(axis=(1, 2)))
        p, r = p[slices[0] : slices[-1]], r[slices[0] : slices[-1]]
        if r.size == 0:
            return None
    dsc = peer.compute_dice_coefficient(r, p)
    nsd = 0.0
    # Without a threshold the peer would meet an empty mask, which it cannot under NumPy 2.
    if dsc >= threshold and p.any():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            distances = peer.compute_surface_distances(r, p, SPACING)
        nsd = peer.compute_surface_dice_at_tolerance(distances, label.tolerance_mm)
    return round(float(dsc), 4), round(float(nsd), 4)


def random_maps(seed):
    """Return two label maps of boxes; most labels overlap, some are missing on one side."""
    rng = np.random.default_rng(seed)
    maps = np.zeros((2, 14, 40, 40), np.uint8)
    for label in range(1, 15):
        start = rng.integers(0, (10, 30, 30))
        size = rng.integers(1, (6, 10, 10))
        for k, array in enumerate(maps):
            if rng.random() < 0.85:
                begin = np.maximum(start + k * rng.integers(-2, 3, 3), 0)
                array[tuple(slice(a, a + n) for a, n in zip(begin, size, strict=True))] = label
    return maps


@pytest.mark.parametrize("threshold", [None, 0.1, 0.2])
def test_flare23_equals_the_official_rules(threshold):
    rules = protocol("flare23").with_options(nsd_threshold=threshold)
    stopped = 0
    for seed in range(40):
        prediction, reference = random_maps(seed)
        scores = score_case(prediction, reference, spacing_mm=SPACING, protocol=rules)
        for label in rules.labels:
            expected = official_scores(prediction, reference, label, threshold=threshold or 0)
            score = scores[label.id]
            if expected is None:
                stopped += 1
                assert math.isnan(score.dsc)
                assert "single slice" in score.reason
            else:
                assert (score.dsc, score.nsd) == expected, (seed, label.name)
    assert stopped


def column(shape, z, *, label, y=2):
    array = np.zeros(shape, np.uint8)
    array[z, y, 2] = label
    return array


def test_the_last_slice_of_tubes_counts_in_sound_and_is_lost_in_flare23():
    # An aorta on slices 1 to 3; the prediction is right on 1 and 2, empty on 3, and goes on at 4
    # and 5.
    reference = column((7, 5, 5), slice(1, 4), label=5)
    prediction = reference.copy()
    prediction[3] = 0
    prediction[4:6, 2, 2] = 5
    # sound: slices 1-3 hold 2 and 3 voxels, 2 in common: 4 / 5. flare23: slices 1-2 agree.
    assert score_case(prediction, reference, spacing_mm=SPACING)[5].dsc == 0.8
    assert score_case(prediction, reference, spacing_mm=SPACING, protocol="flare23")[5].dsc == 1
    uncropped = protocol("sound").with_options(z_crop="none")
    # All slices: 4 and 3 voxels, 2 in common.
    found = score_case(prediction, reference, spacing_mm=SPACING, protocol=uncropped)[5]
    assert found.dsc == 4 / 7


def test_absent_in_both_and_absent_in_one():
    reference, prediction = (column((4, 5, 5), 1, label=label) for label in (1, 2))
    sound = score_case(prediction, reference, spacing_mm=SPACING)
    assert (sound[1].presence, sound[1].dsc, sound[1].nsd) == ("reference only", 0, 0)
    assert (sound[2].presence, sound[2].dsc, sound[2].nsd) == ("prediction only", 0, 0)
    assert (sound[3].presence, sound[3].reason, sound[3].scored) == (
        "neither",
        "absent in both",
        False,
    )
    assert math.isnan(sound[3].dsc)
    official = score_case(prediction, reference, spacing_mm=SPACING, protocol="flare23")
    assert (official[3].dsc, official[3].nsd, official[3].scored) == (1, 1, True)
    assert (official[1].dsc, official[2].nsd) == (0, 0)


def test_low_overlap_sets_nsd_to_zero_only_below_the_threshold():
    # 1 of 9 and 9 voxels in common: DSC 1/9, below 0.2 and above 0.1; all surfaces within 5 mm.
    reference, prediction = np.zeros((2, 3, 12, 12), np.uint8)
    reference[1, 1:4, 1:4] = prediction[1, 3:6, 3:6] = 1
    rules = protocol("flare23")
    scores = [
        score_case(
            prediction,
            reference,
            spacing_mm=(1, 1, 1),
            protocol=rules.with_options(nsd_threshold=threshold),
        )[1]
        for threshold in (0.2, 0.1, None)
    ]
    assert [score.dsc for score in scores] == [0.1111] * 3
    assert [score.nsd for score in scores] == [0, 1, 1]


def test_volumes_are_in_milliliters():
    reference = np.ones((10, 10, 10), np.uint8)
    score = score_case(reference, reference, spacing_mm=(2, 1, 1))[1]
    assert score.reference_ml == score.prediction_ml == 2.0


def test_means_leave_out_what_is_not_scored():
    reference = column((4, 5, 5), 1, label=1) + column((4, 5, 5), 1, label=14, y=4)
    case = score_case(column((4, 5, 5), 1, label=1), reference, spacing_mm=SPACING)
    assert (case.mean_dsc(), case.mean_nsd()) == (1, 1)
    assert case.mean_dsc("lesion") == 0
    assert math.isnan(case.mean_dsc("other"))
    with pytest.raises(KeyError, match="no label 99 in protocol sound"):
        case[99]


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "uint64"])
def test_type_and_layout_change_nothing_and_inputs_stay(dtype):
    prediction, reference = random_maps(3)
    expected = score_case(prediction, reference, spacing_mm=SPACING)
    typed = np.asfortranarray(prediction.astype(dtype))
    typed.flags.writeable = False
    found = score_case(typed, reference.astype(dtype), spacing_mm=SPACING)
    assert repr(found) == repr(expected)


def test_label_order_changes_nothing():
    prediction, reference = random_maps(4)
    forward = protocol("sound")
    backward = forward.with_options(labels=forward.labels[::-1])
    one = score_case(prediction, reference, spacing_mm=SPACING, protocol=forward)
    other = score_case(prediction, reference, spacing_mm=SPACING, protocol=backward)
    assert all(repr(one[label]) == repr(other[label]) for label in range(1, 15))


def test_a_large_label_does_not_wrap_onto_another():
    reference = column((4, 5, 5), 1, label=1)
    prediction = reference.astype(np.int64)
    prediction[0, 0, 0] = 2**32 + 2
    rules = protocol("sound").with_options(other_labels="ignore")
    scores = score_case(prediction, reference, spacing_mm=SPACING, protocol=rules)
    assert scores[2].presence == "neither"
    assert scores[1].dsc == 1


def test_two_dimensions():
    rules = Protocol(name="flat", labels=(Label(id=1, name="a", tolerance_mm=1.0),))
    mask = np.zeros((5, 5), bool)
    mask[1:3, 1:3] = True
    assert score_case(mask, mask, spacing_mm=(1, 1), protocol=rules)[1].nsd == 1


def test_labels_outside_the_protocol_are_refused_or_ignored():
    reference = column((4, 5, 5), 1, label=1)
    prediction = column((4, 5, 5), 1, label=52)
    with pytest.raises(
        ValueError, match="prediction must hold only labels of protocol sound, found 52"
    ):
        score_case(prediction, reference, spacing_mm=SPACING)
    assert score_case(prediction, reference, spacing_mm=SPACING, protocol="flare23")[1].dsc == 0


def test_wrong_arguments_are_named():
    labels = np.zeros((2, 2, 2), np.uint8)
    with pytest.raises(TypeError, match="prediction must be an integer label map, got float64"):
        score_case(labels.astype(float), labels, spacing_mm=SPACING)
    with pytest.raises(ValueError, match=r"one shape, got \(2, 2, 2\) and \(1, 2, 2\)"):
        score_case(labels, labels[:1], spacing_mm=SPACING)
    with pytest.raises(ValueError, match="spacing_mm must be 3 numbers"):
        score_case(labels, labels, spacing_mm=(1, 1))


def test_a_missing_prediction_is_the_worst_or_unscored():
    reference = column((4, 5, 5), 1, label=1)
    worst = score_missing(reference, spacing_mm=SPACING)
    assert (worst[1].dsc, worst[1].nsd, worst[1].presence) == (0, 0, "reference only")
    assert (worst[2].scored, worst[2].reason) == (False, "absent in reference")
    # Two lesions that nobody found, where the protocol matches lesions at all.
    lesions = np.zeros((4, 5, 5), np.uint8)
    lesions[0, 0, 0] = lesions[3, 4, 4] = 14
    missed = score_missing(lesions, spacing_mm=SPACING)[14].detection
    assert (missed.true_positives, missed.false_positives, missed.false_negatives) == (0, 0, 2)
    assert worst[14].detection is None
    assert score_missing(lesions, spacing_mm=SPACING, protocol="flare23")[14].detection is None
    official = score_missing(reference, spacing_mm=SPACING, protocol="flare23", reason="gone")
    assert (official[1].scored, official[1].reason) == (False, "gone")


def test_two_axes_without_any_lesion_are_scored():
    labels = np.zeros((8, 9), np.uint8)
    labels[2:5, 3:6] = 1
    score = score_case(labels, labels, spacing_mm=(1.0, 2.0))
    assert (score[1].dsc, score[1].nsd, score[14].presence) == (1, 1, "neither")
