"""STAPLE: what SimpleITK gives, where it is undecided, and against an own binary estimate."""

from types import ModuleType

import numpy as np
import pytest

from flare_fusion import Origin, fuse
from flare_fusion.general import compile_general


def raters(count=5, shape=(6, 20, 20), wrong=0.15, seed=0):
    """Return a truth of three boxes, and raters who each miss a share of voxels."""
    rng = np.random.default_rng(seed)
    truth = np.zeros(shape, np.uint8)
    truth[1:4, 2:10, 2:10], truth[2:5, 10:18, 3:9], truth[1:5, 5:15, 12:19] = 1, 2, 14
    maps = {}
    for number in range(count):
        map_ = truth.copy()
        errs = rng.random(shape) < wrong * (number + 1) / count
        map_[errs] = rng.choice([0, 1, 2, 14], int(errs.sum()))
        maps[f"R{number}"] = map_
    return truth, maps


def binary_staple(masks, iterations=100):
    """Return the probability of the foreground by expectation maximization, as published."""
    decisions = np.stack([mask.ravel() for mask in masks]).astype(float)
    prior = decisions.mean()
    sensitivity = specificity = np.full(len(masks), 0.99999)
    for _ in range(iterations):
        seen = np.where(decisions > 0, sensitivity[:, None], 1 - sensitivity[:, None]).prod(axis=0)
        clear = np.where(decisions > 0, 1 - specificity[:, None], specificity[:, None]).prod(axis=0)
        share = prior * seen / (prior * seen + (1 - prior) * clear)
        sensitivity = (decisions * share).sum(axis=1) / share.sum()
        specificity = ((1 - decisions) * (1 - share)).sum(axis=1) / (1 - share).sum()
    return share.reshape(masks[0].shape)


@pytest.mark.parametrize("per_label", [False, True])
def test_staple_finds_the_truth_behind_raters_of_unequal_skill(per_label):
    truth, maps = raters()
    fused = fuse(maps, rule="staple", per_label=per_label).label_map
    assert fused.dtype == np.uint8
    assert (fused != truth).mean() < 0.01
    # Better than the best rater, who errs in 3 % of the voxels before luck.
    assert (fused != truth).sum() < (maps["R0"] != truth).sum()


def test_one_label_at_a_time_equals_the_published_iteration():
    _, maps = raters(wrong=0.3)
    shares = {
        label: binary_staple([array == label for array in maps.values()]) for label in (1, 2, 14)
    }
    best = np.max(list(shares.values()), axis=0)
    winner = np.array([1, 2, 14])[np.argmax(list(shares.values()), axis=0)]
    fused = fuse(maps, rule="staple", per_label=True).label_map
    assert (fused == np.where(best > 0.5, winner, 0)).mean() > 0.999


def test_two_raters_never_leave_the_vote():
    a, b = np.array([[[1, 1, 0, 2]]], np.uint8), np.array([[[1, 2, 1, 2]]], np.uint8)
    result = fuse({"A": a, "B": b}, rule="staple", undecided=255, provenance=True)
    assert result.label_map[0, 0, [0, 3]].tolist() == [1, 2]
    assert result.provenance[0, 0, 0] == Origin.AGREEMENT


def test_undecided_voxels_get_the_label_for_them():
    # Three raters of equal skill who each say something else in the last voxels.
    base = np.array([1, 2, 3, 0] * 5, np.uint8)
    ends = [[1, 2, 3], [2, 3, 1], [3, 1, 2]]
    maps = {
        name: np.concatenate([base, np.array(end, np.uint8)]).reshape(1, 1, -1)
        for name, end in zip("ABC", ends, strict=True)
    }
    result = fuse(maps, rule="staple", undecided=255, provenance=True)
    assert result.label_map[0, 0, :20].tolist() == base.tolist()
    assert result.label_map[0, 0, 20:].tolist() == [255] * 3
    assert result.provenance[0, 0, 20:].tolist() == [Origin.TIE] * 3
    assert fuse(maps, rule="staple").label_map[0, 0, 20:].tolist() == [0] * 3


@pytest.mark.parametrize("per_label", [False, True])
def test_equal_raters_come_back_and_no_class_that_none_of_them_holds_anywhere(per_label):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        maps = {f"R{k}": 2 * rng.integers(0, 4, (2, 3, 4), np.uint8) for k in range(2 + seed % 4)}
        fused = fuse(maps, rule="staple", per_label=per_label).label_map
        assert set(np.unique(fused)) <= {0}.union(*(np.unique(each) for each in maps.values()))
        same = fuse(dict.fromkeys(maps, maps["R0"]), rule="staple", per_label=per_label)
        assert (same.label_map == maps["R0"]).all()


def test_layout_type_and_background_only():
    _, maps = raters(count=3)
    expected = fuse(maps, rule="staple").label_map
    other = {name: np.asfortranarray(array.astype(np.int64)) for name, array in maps.items()}
    assert (fuse(other, rule="staple").label_map == expected).all()
    for shape in ((2, 3, 4), (0, 3, 4)):
        nothing = dict.fromkeys("AB", np.zeros(shape, np.uint8))
        for per_label in (False, True):
            result = fuse(nothing, rule="staple", per_label=per_label, provenance=True)
            assert result.label_map.shape == shape
            assert not result.label_map.any()
            assert not result.provenance.any()


def test_agreement_is_counted_beside_it():
    maps = {"A": np.array([[[1, 1, 0]]], np.uint8), "B": np.array([[[1, 0, 0]]], np.uint8)}
    counts = fuse(maps, rule="staple", agreement=True).agreement
    assert counts.labels.tolist() == [[0, 0], [1, 0], [1, 1]]
    assert counts.voxels.tolist() == [1, 1, 1]


def test_arrays_on_a_device_are_refused_with_the_way_out():
    rule = compile_general("staple", "AB", {})
    with pytest.raises(TypeError, match=r"staple runs on the host; hand in cupy.asnumpy"):
        rule.evaluate([np.zeros((1, 1, 1), np.uint8)] * 2, ModuleType("cupy"))
