"""Rules as data: reading, options, and what a wrong file is told."""

import pytest

from flare_fusion.rules import Origin, fusion_rule, rule_names

SMALL = """
title = "first of two"
organs = [1, 2]
tumor = 3
[[sources]]
name = "P"
labels = "all"
[[sources]]
name = "Q"
labels = [1, 2]
[options.strict]
default = false
[[rows]]
if = { strict = true }
when = { P = "j", Q = "k" }
take = "0"
origin = "tie"
[[rows]]
when = { P = "k" }
take = "k"
origin = "vote"
[[rows]]
take = "0"
when = {}
origin = "background"
"""


def written(folder, text):
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def test_the_built_in_rules_are_listed_and_readable():
    assert rule_names() == (
        "s1-labeled",
        "s1-unlabeled",
        "s2-overlay",
        "s2-overlay-tumor",
        "s2-replace",
        "s2-replace-tumor",
        "s3-merge",
        "s4-overlay",
    )
    for name in rule_names():
        rule = fusion_rule(name)
        assert rule.name == name
        assert rule.organs == tuple(range(1, 14))
        assert rule.tumor == 14


def test_the_rows_of_s1_carry_the_numbers_of_the_published_table():
    for name in ("s1-labeled", "s1-unlabeled"):
        assert {row.number for row in fusion_rule(name).rows} == set(range(10))


def test_a_rule_of_ones_own_is_a_file(tmp_path):
    rule = fusion_rule(written(tmp_path, SMALL))
    assert rule.name == "mine"
    assert [source.labels for source in rule.sources] == [(0, 1, 2, 3), (0, 1, 2)]
    assert rule.resolved_options({}) == {"strict": False}
    assert len(rule.active_rows({"strict": False})) == 2
    assert rule.rows[1].origin is Origin.VOTE


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('take = "k"', 'take = "z"', "take must be 0, tumor or a letter"),
        ('P = "k"', 'P = "kk"', "'kk' is no pattern"),
        ('P = "k"', 'P = "0 annotated"', "is no pattern"),
        ('P = "k"', 'R = "k"', "no source 'R'"),
        ("strict = true }", "loose = true }", "no option loose = True"),
        ("title =", "titel =", "unknown key 'titel'; did you mean title"),
        (
            'origin = "vote"',
            'origin = "guess"',
            "row 2 of the file: origin must be one of background, .*'guess'",
        ),
        ('origin = "vote"', 'origin = "vot"', "got 'vot'; did you mean vote?"),
        ('take = "k"\n', "", "row 2 of the file lacks the key 'take'"),
        ('labels = "all"', 'labels = "al"', "organs, all or a list of labels, got 'al'; did you"),
        ("labels = [1, 2]", "labels = [1, -2]", "source Q: a label must be .* got -2"),
        ("labels = [1, 2]", "labels = 2", "source Q must be a list, got 2"),
        ("labels = [1, 2]", "labels = [1]\nmatters = [3]", "matters must be labels of it"),
        ("organs = [1, 2]", "organs = [1, 3]", "organs and tumor must be different labels > 0"),
        ("default = false", 'default = "no"', "option strict: default must be one of its choices"),
        ("when = {}", "when = 3", "row 3 of the file must be a table of keys, got 3"),
        ('P = "k"', 'P = "k annotatd"', "'k annotatd' is no pattern; .* annotated or unannotated"),
        ('name = "Q"', 'name = "P"', "unique names"),
        ("organs", "organs =", "not a fusion rule"),
    ],
    ids=lambda value: value[:12],
)
def test_a_wrong_file_is_told_what_is_wrong(tmp_path, old, new, message):
    path = written(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        fusion_rule(path)


def test_unknown_options_and_values_are_named():
    rule = fusion_rule("s1-labeled")
    with pytest.raises(
        ValueError, match="no option 'ties'; its options are: trust_partial, gt_first"
    ):
        rule.resolved_options({"ties": "A"})
    with pytest.raises(ValueError, match="tie must be one of background, A, B, got 'C'"):
        rule.resolved_options({"tie": "C"})


def test_a_slip_of_the_pen_is_told_what_was_meant():
    with pytest.raises(ValueError, match=r"got 's3-merg'; did you mean s3-merge\?"):
        fusion_rule("s3-merg")
    with pytest.raises(ValueError, match=r"option 'gt_frist'; .*; did you mean gt_first\?"):
        fusion_rule("s1-labeled").resolved_options({"gt_frist": True})
    with pytest.raises(ValueError, match=r"fill must be one of A, B, agree, got 'agre'; did you m"):
        fusion_rule("s3-merge").resolved_options({"fill": "agre"})


@pytest.mark.parametrize("name", rule_names())
def test_a_built_in_rule_asks_for_k_only_where_a_row_needs_it(name):
    rule = fusion_rule(name)
    asks = rule.asks_annotated(rule.resolved_options({}))
    assert asks == (name in ("s2-replace", "s2-replace-tumor", "s2-overlay-tumor", "s3-merge"))


def test_gt_first_asks_for_k():
    rule = fusion_rule("s1-labeled")
    assert rule.asks_annotated(rule.resolved_options({"gt_first": True}))
