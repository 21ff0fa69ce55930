"""Rules of any sources against counting, in exact fractions, voxel by voxel."""

from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_fusion import FusionTable, Origin, fuse, majority_table
from flare_fusion.case_rule import check_rule
from flare_fusion.general import GENERAL_RULES, check_general_options, compile_general
from flare_fusion.votes import VoteRule

FEW = settings(max_examples=60, deadline=None)
VOTES = ("majority", "union", "intersection", "agreement")


def counted(held, weights, *, tie="background", background_counts=True):
    """Return the label of one voxel; weights are fractions by source and label."""
    votes = {}
    for source, label in enumerate(held):
        if label or background_counts:
            votes[label] = votes.get(label, Fraction(0)) + weights[source][label]
    most = max(votes.values(), default=Fraction(0))
    leaders = [label for label in held if most and votes.get(label) == most]
    if not leaders:
        return 0 if tie in ("background", "first") or not any(held) else tie
    if len(set(leaders)) == 1 or tie == "first":
        return leaders[0]
    return 0 if tie == "background" else tie


def ones(count, labels=5):
    return [[Fraction(1)] * labels] * count


@pytest.mark.parametrize("tie", ["background", "first", 9])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_majority_and_union_equal_counting(tie, count):
    for name, background_counts in (("majority", True), ("union", False)):
        table = compile_general(name, "ABCD"[:count], {"labels": "0-4", "tie": tie})
        for held in product(range(5), repeat=count):
            known = counted(held, ones(count), tie=tie, background_counts=background_counts)
            assert table[held] == known, (name, held)


def test_intersection_and_agreement_take_what_all_hold():
    both = compile_general("intersection", "ABC", {"labels": "0-3"})
    ignoring = compile_general("agreement", "ABC", {"labels": "0-3", "otherwise": 300})
    for held in product(range(4), repeat=3):
        equal = len(set(held)) == 1
        assert both[held] == (held[0] if equal else 0)
        assert ignoring[held] == (held[0] if equal else 300)
    assert ignoring.labels.dtype == np.uint16


@pytest.mark.parametrize(
    ("weights", "held", "label"),
    [
        # In binary fractions 0.1 + 0.2 is more than 0.3.
        ((0.1, 0.2, 0.3), (1, 1, 2), 0),
        ((0.1, 0.2, 0.30001), (1, 1, 2), 2),
        ((1 / 3, 1 / 3, 2 / 3), (1, 1, 2), 0),
        ((1e-12, 2e-12, 3e-12), (1, 1, 2), 0),
        ((1e-12, 2e-12, 4e-12), (1, 1, 2), 2),
        ((2, 1, 1), (1, 2, 2), 0),
        ((200, 100, 101), (1, 2, 2), 2),
        ((0, 1, 1), (1, 0, 0), 0),
        ((3, 2, 2), (1, 2, 0), 1),
    ],
    ids=str,
)
def test_weights_decide_and_level_sums_tie(weights, held, label):
    table = compile_general("weighted", "ABC", {"weights": dict(zip("ABC", weights, strict=True))})
    assert table[held] == label
    if label == 0 and 0 not in held:
        assert table.origins[held] == Origin.TIE


@FEW
@given(
    st.lists(st.integers(0, 30), min_size=3, max_size=3).filter(any),
    st.sampled_from([1, 3, 7, 10]),
    st.sampled_from(["background", "first", 9]),
)
def test_weighted_votes_equal_exact_fractions(numerators, denominator, tie):
    exact = [[Fraction(number, denominator)] * 4 for number in numerators]
    weights = {name: number / denominator for name, number in zip("ABC", numerators, strict=True)}
    table = compile_general("weighted", "ABC", {"weights": weights, "tie": tie, "labels": "0-3"})
    for held in product(range(4), repeat=3):
        assert table[held] == counted(held, exact, tie=tie), held


@FEW
@given(st.lists(st.lists(st.integers(1, 9), min_size=4, max_size=4), min_size=3, max_size=3))
def test_each_label_of_a_source_may_weigh_differently(numbers):
    by_label = [dict(enumerate(weights)) for weights in numbers]
    exact = [[Fraction(number) for number in weights] for weights in numbers]
    options = {"weights": dict(zip("ABC", by_label, strict=True)), "labels": "0-3"}
    table = compile_general("weighted", "ABC", options)
    for held in product(range(4), repeat=3):
        assert table[held] == counted(held, exact), held


@pytest.mark.parametrize("name", VOTES)
def test_the_order_of_sources_does_not_matter_without_a_preferred_one(name):
    labels = compile_general(name, "ABC", {"labels": "0-4"}).labels
    assert all((labels == labels.transpose(order)).all() for order in permutations(range(3)))


@FEW
@given(st.sampled_from([*VOTES, "weighted"]), st.integers(2, 7), st.integers(0, 2**32))
def test_equal_inputs_come_back_and_no_class_from_nowhere(name, count, seed):
    rng = np.random.default_rng(seed)
    maps = {f"M{number}": rng.integers(0, 5, (2, 3, 4), np.uint8) for number in range(count)}
    weighs = {each: int(rng.integers(1, 4)) for each in maps}
    options = {"weights": weighs} if name == "weighted" else {}
    fused = fuse(maps, rule=name, **options).label_map
    held = np.logical_or.reduce([fused == each for each in maps.values()])
    assert (held | (fused == 0)).all()
    same = fuse(dict.fromkeys(maps, maps["M0"]), rule=name, **options)
    assert (same.label_map == maps["M0"]).all()


def test_origins_of_a_majority():
    table = majority_table("ABC", labels=range(4))
    cells = {
        (0, 0, 0): Origin.BACKGROUND,
        (1, 1, 1): Origin.AGREEMENT,
        (1, 1, 2): Origin.VOTE,
        (1, 2, 3): Origin.TIE,
        (0, 0, 2): Origin.BACKGROUND,
    }
    assert {cell: Origin(int(table.origins[cell])) for cell in cells} == cells


def test_union_names_the_source_that_alone_sees_an_organ():
    table = compile_general("union", ("A", "B", "mine"), {"labels": "0-2"})
    cells = {
        (1, 0, 0): Origin.A_ONLY,
        (0, 1, 0): Origin.B_ONLY,
        (0, 0, 1): Origin.ONE_ONLY,
        (1, 1, 0): Origin.VOTE,
        (1, 2, 0): Origin.TIE,
        (2, 2, 2): Origin.AGREEMENT,
        (0, 0, 0): Origin.BACKGROUND,
    }
    assert {cell: Origin(int(table.origins[cell])) for cell in cells} == cells


def test_intersection_marks_what_it_left_open():
    origins = compile_general("intersection", "AB", {"labels": "0-2"}).origins
    assert origins[1, 0] == origins[1, 2] == Origin.TIE
    assert origins[0, 0] == Origin.BACKGROUND
    assert origins[2, 2] == Origin.AGREEMENT


def test_labels_need_not_be_counted_up():
    table = majority_table("ABC", labels=(2, 7), tie="first")
    assert table[7, 7, 2] == 7
    assert table[2, 7, 0] == 2


def test_a_vote_is_a_table_where_that_stays_small():
    assert isinstance(compile_general("majority", "ABCDE", {}), FusionTable)
    assert isinstance(compile_general("majority", "ABCDEF", {}), VoteRule)
    again = compile_general("weighted", "AB", {"weights": "A:1,B:2"})
    assert compile_general("weighted", "AB", {"weights": {"A": 1.0, "B": 2}}) is again


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("majority", {"ties": 0}, r"rule majority has no option 'ties'; .*; did you mean tie\?"),
        ("union", {"weights": {}}, "rule union has no option 'weights'; its options are: tie, lab"),
        ("majority", {"tie": "frist"}, r"background, first or a label, .*; did you mean first\?"),
        ("majority", {"tie": 3}, "must be 0 or a label that no source may hold, got 3; take 255"),
        ("majority", {"tie": 1.5}, "option tie must be a label 0 to 65535, got 1.5"),
        ("agreement", {"otherwise": -1}, "option otherwise must be a label .* got -1"),
        ("weighted", {}, "needs the option weights"),
        ("staple", {"undecided": 70000}, "option undecided must be a label"),
        ("staple", {"per_label": "yes"}, "per_label must be true or false, got 'yes'"),
        ("staple", {"max_iterations": 0}, "max_iterations must be a whole number > 0, got 0"),
    ],
    ids=str,
)
def test_wrong_options_are_named(name, options, message):
    with pytest.raises(ValueError, match=message):
        compile_general(name, "AB", options)
    with pytest.raises(ValueError, match=message):
        check_general_options(name, options)


def test_a_single_source_or_a_name_twice_is_refused():
    with pytest.raises(ValueError, match="needs two or more sources of different names, got A"):
        compile_general("majority", "A", {})
    with pytest.raises(ValueError, match="of different names, got A, A"):
        compile_general("union", "AA", {})
    with pytest.raises(ValueError, match="got none"):
        fuse({}, rule="staple")
    with pytest.raises(ValueError, match="2 to 5 sources of 15 labels, got 7 of 15"):
        majority_table("ABCDEFG", labels=range(15))


def test_weights_may_name_sources_that_are_not_known_yet():
    check_general_options("weighted", {"weights": "A:1,mine:2"})
    check_rule("weighted", options={"weights": "A:1,B:2,C:1"}, folders=["C"])


@pytest.mark.parametrize("name", GENERAL_RULES)
def test_each_rule_tells_its_options(name):
    rule = GENERAL_RULES[name]
    assert rule.name == name
    assert rule.title
    assert "labels" in rule.options


def test_an_unknown_rule_is_told_which_there_are():
    with pytest.raises(
        ValueError, match=r"weighted, .*, staple or a .toml file, got 'majorty'; di"
    ):
        fuse({}, rule="majorty")
