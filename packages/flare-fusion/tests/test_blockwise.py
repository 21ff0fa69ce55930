"""Votes without a table: the same labels, origins and combinations as a table gives."""

from itertools import product
from types import ModuleType

import numpy as np
import pytest

from flare_fusion import blockwise, fuse
from flare_fusion.blockwise import evaluate_rule
from flare_fusion.general import compile_general
from flare_fusion.rules import Source
from flare_fusion.votes import VoteRule, vote_table

RULES = [
    ("majority", {}),
    ("majority", {"tie": "first"}),
    ("weighted", {"weights": "A:0.1,B:0.2,C:0.3,D:0.3", "tie": 255}),
    ("weighted", {"weights": "A:1,B:1,C:2,D/3:9", "tie": "first"}),
    ("union", {}),
    ("union", {"tie": "first"}),
    ("intersection", {}),
    ("agreement", {"otherwise": 255}),
]


def maps(count=4, shape=(4, 9, 11), seed=0):
    rng = np.random.default_rng(seed)
    found = rng.integers(0, 5, (count, *shape), dtype=np.uint8)
    found[:, shape[0] // 2 :] = 0
    return dict(zip("ABCDEFGHIJKLMNOPQRS", found, strict=False))


def without_table(monkeypatch):
    monkeypatch.setattr("flare_fusion.general.vote_table", lambda rule: rule)


def combinations(counts):
    return {
        tuple(labels): voxels
        for labels, voxels in zip(counts.labels.tolist(), counts.voxels.tolist(), strict=True)
    }


@pytest.mark.parametrize(("name", "options"), RULES, ids=str)
def test_a_vote_in_blocks_equals_its_table(monkeypatch, name, options):
    sources = maps()
    known = fuse(sources, rule=name, provenance=True, agreement=True, **options)
    without_table(monkeypatch)
    assert isinstance(compile_general(name, "ABCD", options), VoteRule)
    found = fuse(sources, rule=name, provenance=True, agreement=True, **options)
    assert (found.label_map == known.label_map).all()
    assert found.label_map.dtype == known.label_map.dtype == np.uint8
    assert (found.provenance == known.provenance).all()
    assert combinations(found.agreement) == combinations(known.agreement)
    assert found.agreement.sources == ("A", "B", "C", "D")


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
def test_block_size_changes_nothing(block):
    sources = maps(count=6)
    rule = compile_general("majority", "ABCDEF", {"tie": "first"})
    expected, _, _ = evaluate_rule(rule, list(sources.values()), np)
    found, _, _ = evaluate_rule(rule, list(sources.values()), np, block=block)
    assert (found == expected).all()


def test_layout_and_type_change_nothing(monkeypatch):
    sources = maps()
    known = fuse(sources, rule="union").label_map
    without_table(monkeypatch)
    changed = {
        "A": np.asfortranarray(sources["A"]),
        "B": sources["B"].astype(">i2"),
        "C": sources["C"].astype(np.uint64),
        "D": np.repeat(sources["D"], 2, axis=2)[:, :, ::2],
    }
    changed["A"].flags.writeable = False
    before = {name: array.copy() for name, array in changed.items()}
    assert (fuse(changed, rule="union", tie="background").label_map == known).all()
    assert all((changed[name] == before[name]).all() for name in changed)


def test_seven_sources_of_fifteen_labels():
    rng = np.random.default_rng(1)
    sources = {f"M{number}": rng.integers(0, 15, (3, 4, 5), np.uint8) for number in range(7)}
    result = fuse(sources, rule="majority", agreement=True)
    assert result.provenance is None
    stacked = np.stack(list(sources.values())).reshape(7, -1)
    for held, label in zip(stacked.T.tolist(), result.label_map.ravel().tolist(), strict=True):
        ranked = sorted(set(held), key=lambda each: -held.count(each))
        level = len(ranked) > 1 and held.count(ranked[0]) == held.count(ranked[1])
        assert label == (0 if level else ranked[0])
    assert result.agreement.voxels.sum() == 60


def test_a_device_takes_whole_arrays(monkeypatch):
    """The code that CuPy arrays take, exercised with a module that is NumPy under another name."""
    module = ModuleType("device")
    vars(module).update({name: getattr(np, name) for name in dir(np) if not name.startswith("__")})
    sources = maps(count=6)
    rule = compile_general("majority", "ABCDEF", {"tie": "first"})
    expected = evaluate_rule(rule, list(sources.values()), np, agreement=True)
    found = evaluate_rule(rule, list(sources.values()), module, agreement=True)
    assert all((one == other).all() for one, other in zip(expected[:2], found[:2], strict=True))
    assert combinations(expected[2]) == combinations(found[2])


@pytest.mark.gpu
def test_a_vote_of_cupy_arrays_stays_on_the_device():
    cupy = pytest.importorskip("cupy")
    sources = maps(count=6)
    expected = fuse(sources, rule="majority", tie="first").label_map
    on_device = {name: cupy.asarray(array) for name, array in sources.items()}
    found = fuse(on_device, rule="majority", tie="first").label_map
    assert isinstance(found, cupy.ndarray)
    assert (cupy.asnumpy(found) == expected).all()


def test_empty_arrays_stay_empty(monkeypatch):
    without_table(monkeypatch)
    sources = dict.fromkeys("AB", np.zeros((0, 2, 2), np.uint8))
    result = fuse(sources, rule="majority", agreement=True)
    assert result.label_map.shape == (0, 2, 2)
    assert result.agreement.voxels.size == 0


@pytest.mark.parametrize("module", ["numpy", "device"])
def test_a_label_that_is_not_known_is_named(module):
    xp = np if module == "numpy" else ModuleType("device")
    vars(xp).setdefault("unique", np.unique)
    rule = compile_general("majority", "ABCDEF", {})
    arrays = [*[np.zeros((1, 2, 2), np.int16)] * 5, np.full((1, 2, 2), 15, np.int16)]
    with pytest.raises(ValueError, match="source F must hold only the labels 0 to 14, found 15"):
        evaluate_rule(rule, arrays, xp)


def test_more_combinations_than_a_number_can_tell_are_refused():
    arrays = [np.zeros((1, 1, 1), np.uint8)] * 17
    rule = compile_general("majority", [f"M{number}" for number in range(17)], {})
    assert evaluate_rule(rule, arrays, np)[0].tolist() == [[[0]]]
    with pytest.raises(ValueError, match="up to 16 sources with labels below 15, got 17"):
        evaluate_rule(rule, arrays, np, agreement=True)


def test_a_table_is_the_vote_on_its_grid():
    sources = tuple(Source(name=name, labels=(0, 2, 5)) for name in "ABC")
    rule = VoteRule(name="v", sources=sources, weights=((1.0, 2.0, 3.0),) * 3, undecided=9)
    table = vote_table(rule)
    for held in product((0, 2, 5), repeat=3):
        labels, _ = rule.evaluate([np.array([label]) for label in held], np)
        assert table[held] == labels[0]
    assert blockwise.evaluate_rule(rule, [np.array([[[5]]])] * 3, np)[0].tolist() == [[[5]]]
