"""The surface Dice: hand-made bodies, the peer on a generated corpus, properties, ties."""

import math
import warnings
from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flare_metrics.surface import surface_dice

with warnings.catch_warnings():
    # The peer imports names that SciPy has moved.
    warnings.simplefilter("ignore")
    import surface_distance as peer

CORPUS_SIZE = 330
SPACINGS = (0.4, 0.6, 0.8, 1.0, 1 / 3, 2.5, 5.0)
TOLERANCES = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0)


def peers_surface_dice(a, b, spacing, tolerance):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        distances = peer.compute_surface_distances(a, b, spacing)
        return peer.compute_surface_dice_at_tolerance(distances, tolerance)


def generated_pair(number):
    """Return the pair of masks number n of the corpus: noise, bodies, single voxels, slices,
    walls."""
    rng = np.random.default_rng(number)
    shape = tuple(rng.integers(1, 15, 3))
    kind = number % 6
    if kind == 0:
        pair = rng.random((2, *shape)) < rng.random()
    elif kind == 1:
        center = np.array(shape) / 2
        axes = np.indices(shape).T
        far = np.linalg.norm((axes - center), axis=-1).T
        pair = np.stack([far < rng.uniform(1, 6), far < rng.uniform(1, 6)])
    elif kind == 2:
        pair = np.zeros((2, *shape), bool)
        for mask in pair:
            mask[tuple(rng.integers(0, shape))] = True
    elif kind == 3:
        pair = np.zeros((2, *shape), bool)
        for mask in pair:
            mask[rng.integers(0, shape[0])] = rng.random(shape[1:]) < 0.7
    elif kind == 4:
        pair = np.stack([np.ones(shape, bool), rng.random(shape) < 0.9])
    else:
        body = np.zeros(shape, bool)
        body[tuple(slice(n // 4, 3 * n // 4 + 1) for n in shape)] = True
        pair = np.stack([body, np.roll(body, rng.integers(-3, 4, 3), (0, 1, 2))])
    return pair, rng.choice(SPACINGS, 3), float(rng.choice(TOLERANCES))


def test_equal_to_surface_distance_on_a_generated_corpus():
    compared = 0
    for number in range(CORPUS_SIZE):
        (a, b), spacing, tolerance = generated_pair(number)
        if not (a.any() and b.any()):
            continue
        expected = peers_surface_dice(a, b, spacing, tolerance)
        found = surface_dice(a, b, spacing_mm=spacing, tolerance_mm=tolerance, tie="strict")
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-12), number
        compared += 1
    assert compared >= 300


def test_equal_to_surface_distance_in_two_dimensions():
    rng = np.random.default_rng(0)
    for _ in range(40):
        a, b = rng.random((2, *rng.integers(2, 12, 2))) < 0.5
        if a.any() and b.any():
            spacing = tuple(rng.choice(SPACINGS, 2))
            expected = peers_surface_dice(a, b, spacing, 1.0)
            found = surface_dice(a, b, spacing_mm=spacing, tolerance_mm=1.0, tie="strict")
            assert found == pytest.approx(expected, rel=1e-9)


def test_slabs_two_slices_apart():
    # Faces of a one-slice slab that fills its array: top and bottom at z, z + 1. Shifted by 2
    # slices of 3 mm, all corners of one are at least 3 mm (bottom to top) and at most 6 mm from
    # the other.
    a = np.zeros((5, 6, 6), bool)
    a[1] = True
    b = np.roll(a, 2, 0)
    scores = [
        surface_dice(a, b, spacing_mm=(3, 1, 1), tolerance_mm=t) for t in (2.9, 3.0, 5.9, 6.0)
    ]
    assert scores[0] == 0
    assert 0.4 < scores[1] < 0.6
    assert scores[1] == scores[2] < scores[3] == 1


def test_one_empty_scores_zero_and_both_empty_is_no_number():
    empty, full = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    rules = {"spacing_mm": (1, 1, 1), "tolerance_mm": 5}
    assert surface_dice(full, empty, **rules) == surface_dice(empty, full, **rules) == 0
    assert math.isnan(surface_dice(empty, empty, **rules))


def test_a_mask_at_the_edge_has_a_surface_there():
    # Both fill the array; only one stays filled when the array is cut: both walls still agree.
    full = np.ones((4, 4, 4), bool)
    assert surface_dice(full, full, spacing_mm=(1, 1, 1), tolerance_mm=0) == 1
    inner = np.zeros_like(full)
    inner[1:3, 1:3, 1:3] = True
    assert surface_dice(full, inner, spacing_mm=(1, 1, 1), tolerance_mm=0.5) == 0


@pytest.mark.parametrize("spacing", [0.4, 0.6])
def test_a_tie_does_not_depend_on_a_spacing_stored_as_float32(spacing):
    # A slab moved by five voxels, exactly the tolerance: agreement, whatever the last digits of
    # the spacing.
    a = np.zeros((3, 3, 20), bool)
    a[:, :, 2:5] = True
    b = np.roll(a, 5, 2)
    stored = float(np.float32(spacing))
    rules = {"tolerance_mm": 5 * spacing}
    for given_spacing in (spacing, stored):
        assert surface_dice(a, b, spacing_mm=(1, 1, given_spacing), **rules) == 1
    strict = [
        surface_dice(a, b, spacing_mm=(1, 1, value), tie="strict", **rules)
        for value in (spacing, stored)
    ]
    assert strict == [
        pytest.approx(peers_surface_dice(a, b, (1, 1, value), 5 * spacing))
        for value in (spacing, stored)
    ]
    assert strict[0] != strict[1]


def test_a_speck_far_away_costs_its_own_area_only():
    a = np.zeros((40, 60, 60), bool)
    a[18:22, 28:32, 28:32] = True
    b = a.copy()
    b[0, 0, 0] = True
    score = surface_dice(b, a, spacing_mm=(1, 1, 1), tolerance_mm=1)
    assert score == pytest.approx(peers_surface_dice(b, a, (1, 1, 1), 1.0), rel=1e-9)
    assert 0.9 < score < 1


PAIRS = hnp.array_shapes(min_dims=3, max_dims=3, max_side=6).flatmap(
    lambda shape: st.tuples(hnp.arrays(bool, shape), hnp.arrays(bool, shape))
)


@settings(max_examples=40, deadline=None)
@given(PAIRS, st.sampled_from(TOLERANCES))
def test_symmetry_flips_axis_order_padding_and_cropping_change_nothing(pair, tolerance):
    a, b = pair
    spacing = np.array((2.5, 0.8, 1.0))
    score = surface_dice(a, b, spacing_mm=spacing, tolerance_mm=tolerance)
    if math.isnan(score):
        return

    def again(first, second, order=(0, 1, 2)):
        return surface_dice(first, second, spacing_mm=spacing[list(order)], tolerance_mm=tolerance)

    assert again(b, a) == pytest.approx(score, rel=1e-9)
    assert again(a[::-1, :, ::-1], b[::-1, :, ::-1]) == pytest.approx(score, rel=1e-9)
    assert again(np.pad(a, 2), np.pad(b, 2)) == pytest.approx(score, rel=1e-9)
    for order in permutations(range(3)):
        assert again(a.transpose(order), b.transpose(order), order) == pytest.approx(
            score, rel=1e-9
        )


@settings(max_examples=30, deadline=None)
@given(PAIRS)
def test_a_larger_tolerance_never_scores_less(pair):
    a, b = pair
    if a.any() and b.any():
        scores = [
            surface_dice(a, b, spacing_mm=(2, 1, 1), tolerance_mm=t) for t in (0, 1, 2, 4, 50)
        ]
        assert scores == sorted(scores)
        assert scores[-1] == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"spacing_mm": (1, 1)}, ValueError, "spacing_mm must be 3 numbers > 0"),
        ({"spacing_mm": (1, 0, 1)}, ValueError, "spacing_mm must be 3 numbers > 0"),
        ({"spacing_mm": 1.0}, TypeError, "spacing_mm must be 3 numbers"),
        ({"tolerance_mm": -1}, ValueError, "tolerance_mm must be a finite number >= 0, got -1"),
        ({"tolerance_mm": math.nan}, ValueError, "tolerance_mm must be a finite number"),
        ({"tie": "loose"}, ValueError, "tie must be 'relative' or 'strict', got 'loose'"),
    ],
    ids=["two", "zero", "number", "negative", "nan", "tie"],
)
def test_wrong_arguments_are_named(change, error, message):
    mask = np.ones((2, 2, 2), bool)
    with pytest.raises(error, match=message):
        surface_dice(mask, mask, **{"spacing_mm": (1, 1, 1), "tolerance_mm": 1, **change})
