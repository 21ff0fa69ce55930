"""Distances and shares of surfaces against independent oracles on a generated corpus.

Surface elements: the package surface-distance 0.1, the definition's own implementation. Surface
voxels: erosion and all pairwise distances, written down here from the published definitions.
"""

import math
import warnings
from functools import cache

import numpy as np
import pytest
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist

from flare_metrics import average_surface_distance, dice, hausdorff, surface_dice

with warnings.catch_warnings():
    # The peer imports names that SciPy has moved.
    warnings.simplefilter("ignore")
    import surface_distance as peer

CORPUS_SIZE = 324
SPACINGS = (0.4, 0.6, 0.8, 1.0, 1 / 3, 2.5, 5.0)
TOLERANCES = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 7.0)
PERCENTILES = (1.0, 25.0, 50.0, 90.0, 95.0, 99.0, 100.0)
KINDS = ("noise", "balls", "one voxel", "one slice", "all borders", "moved box", "far speck",
         "two dimensions", "one row")  # fmt: skip


@cache
def corpus():
    """Return (kind, prediction, reference, spacing in mm): no mask is empty, spacings differ."""
    return [generated_pair(number) for number in range(CORPUS_SIZE)]


def generated_pair(number):
    rng = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    shape = tuple(rng.integers(2, 15, 2 if kind == "two dimensions" else 3))
    if kind == "noise":
        pair = rng.random((2, *shape)) < rng.uniform(0.02, 0.98)
    elif kind == "balls":
        pair = np.stack([ball(shape, rng) for _ in range(2)])
    elif kind == "one voxel":
        pair = np.zeros((2, *shape), bool)
    elif kind == "one slice":
        pair = np.zeros((2, *shape), bool)
        for mask in pair:
            mask[rng.integers(0, shape[0])] = rng.random(shape[1:]) < 0.7
    elif kind == "all borders":
        pair = np.stack([np.ones(shape, bool), rng.random(shape) < 0.9])
    elif kind == "far speck":
        body = ball(shape, rng)
        pair = np.pad(np.stack([body, body]), ((0, 0), (0, 20), (9, 0), (0, 30)))
        pair[0, -1, 0, -1] = True
    elif kind == "one row":
        pair = np.zeros((2, 1, 1, 20), bool)
        for mask in pair:
            mask[0, 0, slice(*sorted(rng.integers(0, 20, 2)))] = True
    elif kind == "two dimensions":
        pair = rng.random((2, *shape)) < 0.6
    else:
        body = np.zeros(shape, bool)
        body[tuple(slice(n // 4, 3 * n // 4 + 1) for n in shape)] = True
        pair = np.stack([body, np.roll(body, rng.integers(-3, 4, 3), (0, 1, 2))])
    for mask in pair:
        if not mask.any():
            mask[tuple(rng.integers(0, mask.shape))] = True
    return kind, pair[0], pair[1], rng.choice(SPACINGS, pair[0].ndim)


def ball(shape, rng):
    away = np.indices(shape) - np.reshape(np.array(shape) / 2, (-1,) + (1,) * len(shape))
    return np.sqrt((away**2).sum(axis=0)) < rng.uniform(1, 6)


@cache
def peer_distances(number):
    _, prediction, reference, spacing = corpus()[number]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return peer.compute_surface_distances(reference, prediction, spacing)


def close(value):
    return pytest.approx(value, rel=1e-9, abs=1e-12)


def test_the_corpus_holds_what_it_says():
    assert len(corpus()) >= 300
    assert all(a.any() and b.any() for _, a, b, _ in corpus())
    assert sum(len(set(spacing.tolist())) > 1 for *_, spacing in corpus()) > 250
    whole = [a for kind, a, _, _ in corpus() if kind == "all borders"]
    assert all(mask.all() for mask in whole)


def test_surface_dice_equals_surface_distance():
    for number, (kind, prediction, reference, spacing) in enumerate(corpus()):
        for tolerance in (TOLERANCES[number % len(TOLERANCES)], float(spacing[0])):
            expected = peer.compute_surface_dice_at_tolerance(peer_distances(number), tolerance)
            found = surface_dice(
                prediction, reference, spacing_mm=spacing, tolerance_mm=tolerance, tie="strict"
            )
            assert found == close(expected), (number, kind, tolerance)


@pytest.mark.parametrize("percentile", PERCENTILES)
def test_hausdorff_equals_surface_distance(percentile):
    # Where a share of the area equals the percentile, as half of two equal areas, the peer's
    # rounding decides whether it is reached; a hair less, and it is.
    reached = percentile * (1 - 1e-10)
    for number, (kind, prediction, reference, spacing) in enumerate(corpus()):
        expected = peer.compute_robust_hausdorff(peer_distances(number), reached)
        found = hausdorff(prediction, reference, spacing_mm=spacing, percentile=percentile)
        assert found == close(expected), (number, kind)


def test_average_distances_equal_surface_distance():
    for number, (kind, prediction, reference, spacing) in enumerate(corpus()):
        distances = peer_distances(number)
        to_prediction, to_reference = peer.compute_average_surface_distance(distances)
        areas = [distances[name].sum() for name in ("surfel_areas_gt", "surfel_areas_pred")]
        both = (to_prediction * areas[0] + to_reference * areas[1]) / sum(areas)
        expected = {"prediction": to_reference, "reference": to_prediction, "symmetric": both}
        for direction, value in expected.items():
            found = average_surface_distance(
                prediction, reference, spacing_mm=spacing, direction=direction
            )
            assert found == close(value), (number, kind, direction)


def test_dice_equals_surface_distance():
    for _, prediction, reference, _ in corpus():
        expected = peer.compute_dice_coefficient(reference, prediction)
        assert dice(prediction, reference) == close(expected)


@cache
def voxel_distances(number):
    """Distances of surface voxels, from the prediction's to the reference's and back."""
    _, prediction, reference, spacing = corpus()[number]
    points = [
        np.argwhere(mask & ~binary_erosion(mask)) * spacing for mask in (prediction, reference)
    ]
    apart = cdist(*points)
    return apart.min(axis=1), apart.min(axis=0)


@pytest.mark.parametrize("percentile", [50.0, 95.0, 100.0])
def test_hausdorff_of_voxels_is_the_larger_percentile(percentile):
    for number, (kind, prediction, reference, spacing) in enumerate(corpus()):
        there, back = voxel_distances(number)
        rules = {"spacing_mm": spacing, "percentile": percentile}
        expected = max(np.percentile(there, percentile), np.percentile(back, percentile))
        found = hausdorff(prediction, reference, definition="voxel", **rules)
        assert found == close(expected), (number, kind)
        pooled = np.percentile(np.concatenate([there, back]), percentile)
        found = hausdorff(prediction, reference, definition="voxel-pooled", **rules)
        assert found == close(pooled), (number, kind)


def test_average_distances_of_voxels():
    for number, (kind, prediction, reference, spacing) in enumerate(corpus()):
        there, back = voxel_distances(number)
        expected = {
            ("voxel", "prediction"): there.mean(),
            ("voxel", "reference"): back.mean(),
            ("voxel", "symmetric"): np.concatenate([there, back]).mean(),
            ("voxel-pooled", "prediction"): there.mean(),
            ("voxel-pooled", "symmetric"): (there.mean() + back.mean()) / 2,
        }
        for (definition, direction), value in expected.items():
            found = average_surface_distance(
                prediction,
                reference,
                spacing_mm=spacing,
                direction=direction,
                definition=definition,
            )
            assert found == close(value), (number, kind, definition, direction)


def elements_inside(mask, spacing):
    """Return corners that lie between voxels of the array on all sides, in mm, and their areas.

    The areas are the peer's; a piece of surface on the array's edge is none of these.
    """
    if min(mask.shape) < 2:
        return np.zeros((0, 3)), np.zeros(0)
    cubes = np.lib.stride_tricks.sliding_window_view(mask, (2, 2, 2))
    codes = (cubes * (2 ** np.arange(7, -1, -1)).reshape(2, 2, 2)).sum(axis=(-3, -2, -1))
    table = np.array(
        peer.lookup_tables.create_table_neighbour_code_to_surface_area(np.asarray(spacing))
    )
    used = (codes != 0) & (codes != 255)
    return np.argwhere(used) * spacing, table[codes[used]]


def test_ignoring_the_edge_counts_only_what_lies_inside_the_array():
    compared = 0
    for number, (kind, prediction, reference, spacing) in enumerate(corpus()):
        if prediction.ndim == 2:
            continue
        (a, a_areas), (b, b_areas) = (
            elements_inside(mask, spacing) for mask in (prediction, reference)
        )
        if not (a.size and b.size):
            continue
        apart = cdist(a, b)
        there, back = apart.min(axis=1), apart.min(axis=0)
        rules = {"spacing_mm": spacing, "edge": "ignore"}
        near = a_areas @ (there <= 1.01) + b_areas @ (back <= 1.01)
        found = surface_dice(prediction, reference, tolerance_mm=1.01, **rules)
        assert found == close(near / (a_areas.sum() + b_areas.sum())), (number, kind)
        found = hausdorff(prediction, reference, percentile=100, **rules)
        assert found == close(max(there.max(), back.max())), (number, kind)
        found = average_surface_distance(prediction, reference, direction="prediction", **rules)
        assert found == close(there @ a_areas / a_areas.sum()), (number, kind)
        compared += 1
    assert compared > 200


def test_empty_masks_follow_one_rule_in_all_distances():
    empty, full = np.zeros((2, 2, 2), bool), np.ones((2, 2, 2), bool)
    for definition in ("area", "voxel", "voxel-pooled"):
        for function in (hausdorff, average_surface_distance):
            rules = {"spacing_mm": (1, 1, 1), "definition": definition}
            assert function(full, empty, **rules) == math.inf
            assert function(empty, full, **rules) == math.inf
            assert math.isnan(function(empty, empty, **rules))


def test_a_mask_without_surface_inside_the_array_counts_as_empty():
    full, body = np.ones((4, 4, 4), bool), np.zeros((4, 4, 4), bool)
    body[1:3, 1:3, 1:3] = True
    rules = {"spacing_mm": (1, 1, 1), "edge": "ignore"}
    for pair, distance, share in (((full, body), math.inf, 0), ((full, full), math.nan, math.nan)):
        found = [
            hausdorff(*pair, **rules),
            average_surface_distance(*pair, **rules),
            surface_dice(*pair, tolerance_mm=9, **rules),
        ]
        assert found == pytest.approx([distance, distance, share], nan_ok=True)
