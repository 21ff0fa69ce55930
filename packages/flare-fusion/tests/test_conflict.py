"""Agreement figures by hand, against voxel-by-voxel counting, and with K."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from flare_fusion.conflict import agreement_record, conflict_mask, count_cells
from flare_fusion.engine import fuse

SHAPE = (2, 4, 5)
maps = arrays(np.uint8, SHAPE, elements=st.integers(0, 4))
looked = st.sets(st.integers(1, 4))


def record(sources, looked_for, voxel_volume_mm3=1000.0):
    return agreement_record(
        count_cells(sources), looked_for=looked_for, voxel_volume_mm3=voxel_volume_mm3
    )


def fleiss(columns):
    """Return Fleiss' kappa of yes and no, as the paper writes it, one voxel after the other."""
    n, subjects = len(columns), len(columns[0])
    yes = [sum(int(column[i]) for column in columns) for i in range(subjects)]
    shares = [
        (count * (count - 1) + (n - count) * (n - count - 1)) / (n * (n - 1)) for count in yes
    ]
    observed = sum(shares) / subjects
    p = sum(yes) / (n * subjects)
    expected = p * p + (1 - p) * (1 - p)
    return None if expected == 1 else (observed - expected) / (1 - expected)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(maps, looked), min_size=2, max_size=3))
def test_figures_equal_voxel_by_voxel_counting(pairs):
    sources = {f"S{k}": array for k, (array, _) in enumerate(pairs)}
    looked_for = {f"S{k}": labels for k, (_, labels) in enumerate(pairs)}
    found = record(sources, looked_for, voxel_volume_mm3=500.0)
    conflict, by_label = set(), {}
    for pair in found["pairs"]:
        a, b = (sources[pair[name]].ravel().tolist() for name in ("first", "second"))
        for label in looked_for[pair["first"]] & looked_for[pair["second"]]:
            size = a.count(label) + b.count(label)
            both = sum(x == y == label for x, y in zip(a, b, strict=True))
            expected = 2 * both / size if size else None
            assert pair["dice"].get(str(label)) == expected
            places = {
                i for i, (x, y) in enumerate(zip(a, b, strict=True)) if (x == label) != (y == label)
            }
            conflict |= places
            by_label[label] = by_label.get(label, set()) | places
    assert found["conflict_voxels"] == len(conflict)
    assert found["conflict_ml"] == len(conflict) / 2
    assert found["conflict_ml_of"] == {
        str(label): len(places) / 2 for label, places in by_label.items() if places
    }
    mask = conflict_mask(sources, looked_for=looked_for)
    assert set(np.flatnonzero(mask).tolist()) == conflict
    for label in range(1, 5):
        raters = [
            sources[name].ravel() == label for name, own in looked_for.items() if label in own
        ]
        expected = fleiss(raters) if len(raters) > 1 else None
        assert found["kappa_of"].get(str(label)) == (
            None if expected is None else pytest.approx(expected, abs=1e-12)
        )


def test_fleiss_own_example_of_one_category():
    # Category 1 of the ten subjects and fourteen raters of the paper's usual worked example.
    counts = [0, 0, 0, 0, 2, 7, 3, 2, 6, 0]
    raters = {
        f"R{k}": np.array([[[int(count > k) for count in counts]]], np.uint8) for k in range(14)
    }
    found = record(raters, dict.fromkeys(raters, (1,)))
    p = 20 / 140
    unequal = sum(count * (14 - count) for count in counts)
    assert found["kappa_of"]["1"] == pytest.approx(1 - unequal / (10 * 14 * 13 * p * (1 - p)))
    assert found["kappa"] == found["kappa_of"]["1"]


def test_kappa_over_classes_is_fleiss_weighted_mean():
    rng = np.random.default_rng(0)
    sources = {name: rng.integers(0, 4, SHAPE).astype(np.uint8) for name in "ABC"}
    every = dict.fromkeys(sources, (1, 2, 3))
    found = record(sources, every)
    votes = np.stack([array.ravel() for array in sources.values()])
    weights = {}
    for label in (1, 2, 3):
        share = (votes == label).mean()
        weights[str(label)] = share * (1 - share)
    expected = sum(found["kappa_of"][label] * weight for label, weight in weights.items())
    assert found["kappa"] == pytest.approx(expected / sum(weights.values()))


def test_a_partial_label_counts_only_for_its_k():
    partial = np.array([[[0, 0, 1, 1]]], np.uint8)
    model = np.array([[[2, 1, 1, 2]]], np.uint8)
    sources = {"partial": partial, "A": model}
    found = record(sources, {"partial": {1}, "A": {1, 2}})
    # Voxel 0 shows an organ that the annotators never looked for; 1 and 3 differ on organ 1.
    assert found["conflict_voxels"] == 2
    assert found["pairs"] == [{"first": "partial", "second": "A", "dice": {"1": 0.5}}]
    assert record(sources, {"A": {1, 2}})["pairs"] == []


def test_full_agreement_and_nothing_at_all():
    labels = np.array([[[0, 1, 2]]], np.uint8)
    found = record({"A": labels, "B": labels}, {"A": {1, 2}, "B": {1, 2}})
    assert (found["mean_dice"], found["kappa"], found["conflict_voxels"]) == (1.0, 1.0, 0)
    empty = np.zeros((1, 1, 3), np.uint8)
    nothing = record({"A": empty, "B": empty}, {"A": {1}, "B": {1}})
    assert (nothing["mean_dice"], nothing["kappa"]) == (None, None)
    assert nothing["pairs"] == [{"first": "A", "second": "B", "dice": {}}]


def test_the_fusion_counts_the_same_combinations():
    rng = np.random.default_rng(1)
    sources = {name: rng.integers(0, 14, SHAPE).astype(np.uint8) for name in ("A", "B")}
    sources["partial"] = rng.integers(0, 15, SHAPE).astype(np.uint8)
    cells = fuse(sources, rule="s1-labeled", agreement=True).agreement
    every = dict.fromkeys(sources, range(1, 15))
    assert agreement_record(cells, looked_for=every, voxel_volume_mm3=8.0) == record(
        sources, every, 8.0
    )


def test_more_slices_than_are_counted_at_a_time():
    tall = np.arange(21 * 2).reshape(21, 2, 1).astype(np.uint8) % 5
    cells = count_cells({"A": tall, "B": tall})
    assert cells.voxels.sum() == 42
    assert dict(zip(cells.of("A").tolist(), cells.voxels.tolist(), strict=True)) == {
        label: int((tall == label).sum()) for label in range(5)
    }
