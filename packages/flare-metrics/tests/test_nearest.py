"""Nearest distances: all pairs as oracle for the ball, the rows and the tree."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import distance_transform_edt

from flare_metrics import _far, _nearest
from flare_metrics._far import far_distances
from flare_metrics._nearest import nearest_distances

SPACINGS = [(1.0, 1.0, 1.0), (5.0, 0.8, 0.8), (0.7, 2.5, 0.4)]
WAYS = {"ball first": nearest_distances, "far": far_distances}


def points(rng, count, low, high):
    return np.unique(rng.integers(low, high, (count, 3)), axis=0).T.astype(np.int32)


def all_pairs(queries, targets, spacing, limit):
    scale = np.array(spacing)[:, None, None]
    steps = (queries[:, :, None] - targets[:, None, :]) * scale
    distances = np.sqrt((steps**2).sum(axis=0)).min(axis=1)
    return np.where(distances <= limit, distances, math.inf)


@pytest.mark.parametrize("way", WAYS)
@given(
    seed=st.integers(0, 10**6),
    spacing=st.sampled_from(SPACINGS),
    limit=st.sampled_from([math.inf, 2.9, 11.0]),
    apart=st.integers(0, 40),
)
@settings(max_examples=40, deadline=None)
def test_distances_equal_all_pairs(way, seed, spacing, limit, apart):
    rng = np.random.default_rng(seed)
    queries = points(rng, 30, -3, 12)
    targets = points(rng, rng.integers(1, 40), apart, apart + rng.integers(1, 20))
    found = WAYS[way](queries, targets, spacing_mm=spacing, limit_mm=limit)
    np.testing.assert_allclose(found, all_pairs(queries, targets, spacing, limit), rtol=1e-12)


@pytest.mark.parametrize("limit", [math.inf, 6.3])
@pytest.mark.parametrize("cheap", ["_SWEEP_SECONDS", "_QUERY_SECONDS"])
def test_whatever_seems_cheaper_the_distances_are_the_same(cheap, limit, monkeypatch):
    rng = np.random.default_rng(4)
    queries, targets = points(rng, 300, 0, 25), points(rng, 300, 5, 60)
    expected = all_pairs(queries, targets, SPACINGS[1], limit)
    for name in ("_SWEEP_SECONDS", "_VISIT_SECONDS", "_QUERY_SECONDS", "_TREE_SECONDS"):
        monkeypatch.setattr(_far, name, 1.0 if name[:3] != cheap[:3] else 0.0)
    # No time for the ball: everything goes on to the other ways.
    monkeypatch.setattr(_nearest, "_SHELL_SECONDS", 1e9)
    monkeypatch.setattr(_nearest, "_LAST_LOOKUPS", 0)
    found = nearest_distances(queries, targets, spacing_mm=SPACINGS[1], limit_mm=limit)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_lengths_equal_a_distance_transform_to_the_last_bit():
    rng = np.random.default_rng(6)
    spacing = (0.9, 0.4, 1 / 3)
    free = rng.random((9, 15, 15)) > 0.01
    targets = np.stack(np.nonzero(~free)).astype(np.int32)
    queries = np.stack(np.nonzero(free)).astype(np.int32)
    transform = distance_transform_edt(free, sampling=spacing)[tuple(queries)]
    found = nearest_distances(queries, targets, spacing_mm=spacing)
    # The transform may round a tie of two steps up, never below the least.
    assert (found <= transform).all()
    assert (found == transform).mean() > 0.99
    np.testing.assert_allclose(found, transform, rtol=1e-15)


def test_a_limit_is_part_of_what_is_found():
    queries, targets = np.zeros((3, 1), np.int32), np.array([[0], [3], [4]], np.int32)
    for way in WAYS.values():
        assert way(queries, targets, spacing_mm=(1.0, 1.0, 1.0), limit_mm=5.0) == [5.0]
        assert way(queries, targets, spacing_mm=(1.0, 1.0, 1.0), limit_mm=4.999) == [math.inf]


def test_without_targets_everything_is_infinitely_far():
    none, one = np.zeros((3, 0), np.int32), np.zeros((3, 1), np.int32)
    assert nearest_distances(one, none, spacing_mm=(1.0, 1.0, 1.0)).tolist() == [math.inf]
    assert nearest_distances(none, one, spacing_mm=(1.0, 1.0, 1.0)).size == 0


def test_gaps_along_rows_are_those_to_the_nearer_side():
    marks = np.array([[0, 1, 0, 0, 0, 1, 0], [0] * 7], bool)
    gaps = _far._row_gaps(marks)
    assert gaps[0].tolist() == [1, 0, 1, 2, 1, 0, 1]
    assert (gaps[1] > 7).all()
