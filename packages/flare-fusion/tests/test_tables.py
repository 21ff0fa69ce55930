"""The compiled tables against the published rules, over the whole grid."""

from itertools import product

import numpy as np
import pytest

from flare_fusion.general import majority_table
from flare_fusion.rules import Origin, Rule, fusion_rule
from flare_fusion.tables import compile_table

S1_OPTIONS = [
    {},
    {"trust_partial": True},
    {"tie": "A"},
    {"tie": "B"},
    {"tumor_inside_mask": True},
    {"trust_partial": True, "tie": "B", "tumor_inside_mask": True},
]


# The published rules once more, voxel by voxel with plain ifs, as oracle.

ORGANS = range(1, 14)
TUMOR = 14


def organ_step(a, b, r, *, annotated, trust_partial=False, gt_first=False, tie="background"):
    if a == 0 and b == 0:
        return r if trust_partial and r in ORGANS else 0
    if a == b:
        return r if gt_first and r in annotated and r in ORGANS else a
    if a == 0 or b == 0:
        return a + b
    if r in (a, b):
        return r
    if r == 0:
        return {"background": 0, "A": a, "B": b}[tie]
    return 0


def s1_labeled(a, b, p, *, annotated=frozenset(), tumor_inside_mask=False, **options):
    tumor = p == TUMOR and not (tumor_inside_mask and a == 0 and b == 0)
    if tumor:
        return TUMOR
    return organ_step(a, b, p, annotated=annotated, **options)


def s1_unlabeled(a, b, t1, t2, t3, *, tumor_inside_mask=False, **options):
    votes = (t1 == TUMOR) + (t2 == TUMOR) + (t3 == TUMOR)
    if votes >= 2 and not (tumor_inside_mask and a == 0 and b == 0):
        return TUMOR
    return organ_step(a, b, t1, annotated=frozenset(), **options)


def s2(p, q, *, annotated, erase):
    if p != 0:
        return p
    if erase and q in annotated:
        return 0
    return q


def majority(*labels, tie="background"):
    counts = {label: labels.count(label) for label in labels}
    most = max(counts.values())
    leaders = [label for label in labels if counts[label] == most]
    if len(set(leaders)) == 1:
        return leaders[0]
    return leaders[0] if tie == "first" else 0


@pytest.mark.parametrize("options", S1_OPTIONS, ids=str)
def test_s1_labeled_equals_the_published_table_on_the_whole_grid(options):
    table = compile_table(fusion_rule("s1-labeled"), options=options)
    assert table.labels.shape == (14, 14, 15)
    assert table.labels.dtype == np.uint8
    for a, b, p in product(range(14), range(14), range(15)):
        assert table.labels[a, b, p] == s1_labeled(a, b, p, **options), (a, b, p)


@pytest.mark.parametrize("annotated", [set(), {1, 5}, set(range(1, 15))], ids=str)
def test_gt_first_lets_annotated_classes_only_overrule_agreement(annotated):
    rule = fusion_rule("s1-labeled")
    table = compile_table(rule, options={"gt_first": True}, annotated=annotated)
    for a, b, p in product(range(14), range(14), range(15)):
        expected = s1_labeled(a, b, p, annotated=annotated, gt_first=True)
        assert table.labels[a, b, p] == expected, (a, b, p)


@pytest.mark.parametrize("options", S1_OPTIONS, ids=str)
def test_s1_unlabeled_equals_the_published_table_on_the_whole_grid(options):
    table = compile_table(fusion_rule("s1-unlabeled"), options=options)
    # Of T2 and T3 only "tumor or not" matters.
    assert table.labels.shape == (14, 14, 15, 2, 2)
    for a, b, t1, t2, t3 in product(range(14), range(14), range(15), (0, 1), (0, 1)):
        expected = s1_unlabeled(a, b, t1, 14 * t2, 14 * t3, **options)
        assert table.labels[a, b, t1, t2, t3] == expected, (a, b, t1, t2, t3)


def test_labels_that_do_not_matter_are_read_as_background():
    table = compile_table(fusion_rule("s1-unlabeled"))
    assert table[1, 2, 0, 5, 9] == table[1, 2, 0, 0, 0] == 0
    assert table[1, 2, 0, 14, 14] == 14
    with pytest.raises(ValueError, match="A must hold one of"):
        table[14, 0, 0, 0, 0]


@pytest.mark.parametrize("name", ["s2-replace", "s2-overlay"])
@pytest.mark.parametrize("annotated", [set(), {1, 2, 14}, set(range(1, 15))], ids=str)
def test_s2_equals_the_published_table(name, annotated):
    table = compile_table(fusion_rule(name), annotated=annotated)
    for p, q in product(range(15), range(14)):
        expected = s2(p, q, annotated=annotated, erase=name == "s2-replace")
        assert table.labels[p, q] == expected, (p, q)


@pytest.mark.parametrize("tie", ["background", "first"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_majority_equals_counting(tie, count):
    table = majority_table("ABCD"[:count], labels=range(5), tie=tie)
    for labels in product(range(5), repeat=count):
        assert table.labels[labels] == majority(*labels, tie=tie), labels


def test_majority_works_with_labels_that_are_not_counted_up():
    table = majority_table("ABC", labels=(2, 7), tie="first")
    assert table[7, 7, 2] == 7
    assert table[2, 7, 0] == 2


def test_s1_is_symmetric_in_a_and_b_unless_an_option_prefers_one():
    rule = fusion_rule("s1-labeled")
    labels = compile_table(rule).labels
    assert (labels == labels.transpose(1, 0, 2)).all()
    ours, theirs = (compile_table(rule, options={"tie": tie}).labels for tie in "AB")
    assert (ours == theirs.transpose(1, 0, 2)).all()


def test_origins_name_the_row_that_decided():
    table = compile_table(fusion_rule("s1-labeled"))
    expected = {
        (0, 0, 0): Origin.BACKGROUND,
        (3, 3, 1): Origin.AGREEMENT,
        (3, 0, 1): Origin.A_ONLY,
        (0, 3, 1): Origin.B_ONLY,
        (3, 4, 3): Origin.VOTE,
        (3, 4, 5): Origin.TIE,
        (3, 4, 14): Origin.TUMOR,
    }
    for cell, origin in expected.items():
        assert table.origins[cell] == origin
    votes = majority_table("ABC", labels=range(4)).origins
    assert [votes[1, 1, 1], votes[1, 1, 2], votes[1, 2, 3], votes[0, 0, 2]] == [
        Origin.AGREEMENT,
        Origin.VOTE,
        Origin.TIE,
        Origin.BACKGROUND,
    ]


def test_tables_are_kept_and_cannot_be_changed():
    rule = fusion_rule("s1-labeled")
    table = compile_table(rule)
    assert compile_table(fusion_rule("s1-labeled"), annotated={1}) is table
    with pytest.raises(ValueError, match="read-only"):
        table.labels[0, 0, 0] = 1


def test_a_rule_that_asks_for_k_must_get_it():
    with pytest.raises(
        ValueError, match=r"s2-replace must know the annotated classes .* annotated="
    ):
        compile_table(fusion_rule("s2-replace"))
    with pytest.raises(ValueError, match="must know the annotated classes"):
        compile_table(fusion_rule("s1-labeled"), options={"gt_first": True})


def test_a_rule_with_a_gap_is_refused():
    rule = fusion_rule("s2-overlay")
    gap = Rule(
        name="gap",
        title="",
        organs=rule.organs,
        tumor=14,
        sources=rule.sources,
        rows=rule.rows[:-1],
    )
    with pytest.raises(ValueError, match="rule gap has no row for partial = 0, pseudo = 0"):
        compile_table(gap)


def test_majority_refuses_what_it_cannot_hold():
    with pytest.raises(ValueError, match="2 to 5 sources"):
        majority_table("ABCDEFG", labels=range(15))
    with pytest.raises(ValueError, match="tie must be background, first or a label, got 'last'"):
        majority_table("AB", labels=range(3), tie="last")
