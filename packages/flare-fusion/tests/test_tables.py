"""Compiled tables: their axes and cells, what is kept of them, and what they refuse."""

import numpy as np
import pytest

from flare_fusion.rules import Origin, Row, Rule, Source, fusion_rule
from flare_fusion.tables import compile_table


def test_labels_that_do_not_matter_are_read_as_background():
    table = compile_table(fusion_rule("s1-unlabeled"))
    assert table[1, 2, 0, 5, 9] == table[1, 2, 0, 0, 0] == 0
    assert table[1, 2, 0, 14, 14] == 14
    with pytest.raises(ValueError, match="A must hold one of"):
        table[14, 0, 0, 0, 0]


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


def test_axes_are_the_classes_that_matter_in_the_smallest_type():
    table = compile_table(fusion_rule("s1-unlabeled"))
    # Of T2 and T3 only "tumor or not" matters.
    assert table.labels.shape == table.origins.shape == (14, 14, 15, 2, 2)
    assert table.labels.dtype == table.origins.dtype == np.uint8


def test_a_table_of_large_labels_takes_a_larger_type():
    sources = (Source(name="P", labels=(0, 300)),)
    rows = (Row(when=(("P", "k"),), take="k", origin=Origin.ONE_ONLY),)
    rest = Row(when=(), take="0", origin=Origin.BACKGROUND)
    rule = Rule(
        name="large", title="", organs=(300,), tumor=301, sources=sources, rows=(*rows, rest)
    )
    table = compile_table(rule)
    assert table.labels.tolist() == [0, 300]
    assert table.labels.dtype == np.uint16


@pytest.mark.parametrize(("asks", "labels"), [("annotated", [0, 1, 0]), ("unannotated", [0, 0, 2])])
def test_a_pattern_may_ask_for_k_or_for_the_rest(asks, labels):
    rows = (
        Row(when=(("P", f"k {asks}"),), take="k", origin=Origin.ONE_ONLY),
        Row(when=(), take="0", origin=Origin.BACKGROUND),
    )
    sources = (Source(name="P", labels=(0, 1, 2)),)
    rule = Rule(name="asks", title="", organs=(1, 2), tumor=3, sources=sources, rows=rows)
    assert compile_table(rule, annotated={1}).labels.tolist() == labels
    with pytest.raises(ValueError, match="rule asks must know the annotated classes"):
        compile_table(rule)
