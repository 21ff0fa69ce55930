"""Comparisons worked out by hand: pairing, intervals, tests, and what is said beside them."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_metrics.bootstrap import mean_interval
from flare_metrics.cli import main
from flare_metrics.compare import compare_scores
from flare_metrics.paired_tests import sign_flip_test
from flare_metrics.score_table import ScoreTable

NAN, INF = math.nan, math.inf
RULES = {"protocol": "sound", "settings": {"tie": "relative"}, "tolerances": {"Liver": 5.0}}


def table(name, values, *, labels=("Liver", "Tumor"), cases=None, metric="dsc", rules=RULES):
    array = np.array(values, float).reshape(len(values), -1)
    names = tuple(cases or (f"c{row}" for row in range(len(array))))
    return ScoreTable(
        name=name,
        path=Path(f"/{name}/cases.csv"),
        cases=names,
        labels=labels[: array.shape[1]],
        values={metric: array},
        scored=np.ones(len(array), bool),
        lesions=("Tumor",),
        rules=rules,
    )


def by_label(comparison):
    return {difference.label: difference for difference in comparison.differences}


FIRST = table("old", [[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4], [0.5, NAN], [0.4, 0.5]])
SECOND = table("new", [[0.91, 0.1], [0.82, 0.2], [0.73, 0], [0.64, NAN], [0.55, 0.5], [0.46, 0.6]])


def test_differences_are_second_minus_first():
    found = by_label(compare_scores([FIRST, SECOND], metrics=["dsc"]))
    assert list(found) == ["Liver", "Tumor", "organs"]
    liver = found["Liver"]
    assert (liver.first, liver.second, liver.pairs) == ("old", "new", 6)
    assert (liver.first_mean, liver.second_mean) == pytest.approx((0.65, 0.685))
    assert liver.mean_difference == pytest.approx(0.035)
    changes = [0.01, 0.02, 0.03, 0.04, 0.05, 0.06]
    assert liver.ci95 == pytest.approx(mean_interval(changes))
    # All six go up: 2 / 2^6; and the same for the organs, of which the liver is the only one.
    assert liver.p == found["organs"].p == 0.03125
    assert liver.rank_biserial == 1
    # Holm: 3 tests, the smallest two 0.03125.
    assert liver.p_holm == pytest.approx(3 * 0.03125)
    assert liver.better == "" and liver.note == ""


def test_pairs_without_both_scores_are_counted():
    tumor = by_label(compare_scores([FIRST, SECOND], metrics=["dsc"]))["Tumor"]
    assert (tumor.pairs, tumor.only_first, tumor.only_second) == (4, 1, 1)
    # Changes 0, 0, -0.3, 0.1: sizes rank 1.5, 1.5, 4, 3; subsets of (4, 3) with sum <= 3: 2 of 4.
    assert tumor.p == 1
    assert tumor.mean_difference == pytest.approx(-0.05)
    assert tumor.rank_biserial == pytest.approx(-1 / 7)
    assert (
        tumor.note == "n = 4, of which 2 differ: no test can be significant below 6 differing cases"
    )


def test_cases_are_paired_by_name_in_any_order():
    reversed_second = table(
        "new", SECOND.values["dsc"][::-1], cases=[f"c{row}" for row in range(5, -1, -1)]
    )
    expected = compare_scores([FIRST, SECOND], metrics=["dsc"]).differences
    assert repr(compare_scores([FIRST, reversed_second], metrics=["dsc"]).differences) == repr(
        expected
    )


def test_cases_in_one_only_are_listed():
    short = table("short", [[0.9, 0.1], [0.8, 0.2]], cases=["c1", "d"])
    comparison = compare_scores([FIRST, SECOND, short], metrics=["dsc"])
    assert comparison.cases == ("c1",)
    assert comparison.elsewhere["short"] == ("d",)
    assert comparison.elsewhere["old"] == ("c0", "c2", "c3", "c4", "c5")
    pairs = {(d.first, d.second): d.pairs for d in comparison.differences if d.label == "Liver"}
    # Each two methods are compared on all that they share.
    assert pairs == {("old", "new"): 6, ("old", "short"): 1, ("new", "short"): 1}
    one = next(d for d in comparison.differences if d.second == "short" and d.label == "Liver")
    assert one.ci95 is None and one.p == 1
    assert one.note.startswith("n = 1: no test can be significant")


def many(shift, n=40, seed=0):
    generator = np.random.default_rng(seed)
    base = np.random.default_rng(99).uniform(0.3, 0.8, n)
    return np.clip(base + shift + generator.normal(0, 0.02, n), 0, 1)


def test_the_better_method_is_named_after_holm():
    tables = [
        table(name, many(shift, seed=k))
        for k, (name, shift) in enumerate([("a", 0.0), ("b", 0.05), ("c", 0.0)])
    ]
    liver = [d for d in compare_scores(tables, metrics=["dsc"]).differences if d.label == "Liver"]
    assert [(d.first, d.second, d.better) for d in liver] == [
        *(("a", "b", "b"), ("a", "c", ""), ("b", "c", "b"))
    ]
    assert all(d.p_holm >= d.p for d in liver)


def test_distances_are_better_when_small_and_infinities_rank_last():
    near = [1.0 + k / 10 for k in range(12)]
    # Shorter where finite, but five lost organs.
    lost = [value - 0.05 if k < 7 else INF for k, value in enumerate(near)]
    tables = [table("near", near, metric="hd95_mm"), table("lost", lost, metric="hd95_mm")]
    for order in (tables, tables[::-1]):
        liver = by_label(compare_scores(order, metrics=["hd95_mm"]))["Liver"]
        assert liver.infinite == 5 and liver.pairs == 12
        assert abs(liver.mean_difference) == pytest.approx(0.05)
        # Ranks 8 to 12 share 10: 50 against 28 of the seven smallest, which share 4.
        assert abs(liver.rank_biserial) == pytest.approx(22 / 78)
        assert math.isnan(liver.first_mean if order[0].name == "lost" else liver.second_mean)
    far = [table("near", near * 3, metric="hd95_mm"), table("none", [INF] * 36, metric="hd95_mm")]
    liver = by_label(compare_scores(far, metrics=["hd95_mm"]))["Liver"]
    assert liver.better == "near" and math.isnan(liver.mean_difference) and liver.ci95 is None
    both = by_label(
        compare_scores([far[1], table("x", [INF] * 36, metric="hd95_mm")], metrics=["hd95_mm"])
    )
    assert both["Liver"].p == 1 and both["Liver"].infinite == 36
    flips = by_label(compare_scores(far, metrics=["hd95_mm"], test="sign-flip"))["Liver"]
    assert math.isnan(flips.p) and flips.note == "no case has this score in both"


def test_fewer_labels_leave_more_power():
    comparison = compare_scores([FIRST, SECOND], metrics=["dsc"])
    # Six cases give 0.031 at least, three tests need 0.017.
    assert comparison.notes == (
        "no difference can be significant: the smallest p that these cases can give is 0.031, and "
        "3 tests need 0.017; compare more cases, or fewer labels and metrics",
    )
    alone = compare_scores([FIRST, SECOND], metrics=["dsc"], labels=["organs"])
    assert [each.label for each in alone.differences] == ["organs"]
    assert alone.notes == () and alone.differences[0].better == "new"
    with pytest.raises(ValueError, match="columns of all tables, or organs, got \\['Lever'\\]"):
        compare_scores([FIRST, SECOND], metrics=["dsc"], labels=["Liver", "Lever"])


def test_sign_flips_are_an_option():
    liver = by_label(compare_scores([FIRST, SECOND], metrics=["dsc"], test="sign-flip"))["Liver"]
    assert liver.p == sign_flip_test([0.01, 0.02, 0.03, 0.04, 0.05, 0.06]) == 0.03125


def test_float_noise_makes_no_order_among_equal_changes():
    # 0.3 - 0.2 and 0.8 - 0.7 differ in their last digits; both are 0.1.
    first, second = [0.2, 0.7, 0.5, 0.4], [0.3, 0.8, 0.4, 0.4]
    found = by_label(compare_scores([table("a", first), table("b", second)], metrics=["dsc"]))
    # Three equal sizes: rank biserial (2 - 1) / 3.
    assert found["Liver"].rank_biserial == pytest.approx(1 / 3)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=2, max_size=9))
def test_turning_the_methods_turns_the_signs(pairs):
    tables = [table("a", [one for one, _ in pairs]), table("b", [other for _, other in pairs])]
    forth = by_label(compare_scores(tables, metrics=["dsc"]))["Liver"]
    back = by_label(compare_scores(tables[::-1], metrics=["dsc"]))["Liver"]
    assert back.mean_difference == -forth.mean_difference
    assert back.p == pytest.approx(forth.p)
    assert back.p_holm == pytest.approx(forth.p_holm)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="at least two methods"):
        compare_scores([FIRST])
    with pytest.raises(ValueError, match="that all tables have, dsc, got 'nsd'"):
        compare_scores([FIRST, SECOND])
    with pytest.raises(ValueError, match="test must be signed-rank or sign-flip"):
        compare_scores([FIRST, SECOND], metrics=["dsc"], test="t")
    other = table("x", [[0.5, 0.5]], cases=["z"])
    with pytest.raises(ValueError, match="old and x with 0 common cases and 2 common labels"):
        compare_scores([FIRST, other], metrics=["dsc"])


def test_other_rules_are_refused_unless_asked_for():
    for change, text in (
        ({"protocol": "flare23"}, "protocol sound and flare23"),
        ({"settings": {"tie": "strict"}}, "tie relative and strict"),
        ({"tolerances": {"Liver": 2.0}}, "tolerance of Liver 5 mm and 2 mm"),
    ):
        other = table("other", SECOND.values["dsc"], rules={**RULES, **change})
        with pytest.raises(ValueError, match=f"by the same rules, got {text}; .*--mixed-rules"):
            compare_scores([FIRST, other], metrics=["dsc"])
        mixed = compare_scores([FIRST, other], metrics=["dsc"], mixed_rules=True)
        assert mixed.notes[0] == f"old and other are scored differently: {text}"
    unknown = table("unknown", SECOND.values["dsc"], rules=None)
    notes = compare_scores([FIRST, unknown], metrics=["dsc"]).notes
    assert notes[0] == "rules of scoring unknown, so not compared: unknown"


def test_labels_of_one_only_are_said():
    liver = table("liver only", FIRST.values["dsc"][:, :1])
    comparison = compare_scores([FIRST, liver], metrics=["dsc"])
    assert list(by_label(comparison)) == ["Liver", "organs"]
    assert comparison.notes[0] == "liver only lacks Tumor"


CASES = ["Name,Liver_DSC,Tumor_DSC,Liver_NSD,Tumor_NSD"]


def official(folder, name, liver, tumor):
    rows = [
        f"case{k}.nii.gz,{a},{b},{a},{b}" for k, (a, b) in enumerate(zip(liver, tumor, strict=True))
    ]
    path = folder / f"DSC_NSD_{name}.csv"
    path.write_text("\n".join([*CASES, *rows]) + "\n")
    return str(path)


def test_the_command_prints_and_writes(tmp_path, capsys):
    good = official(tmp_path, "good", np.round(many(0.05), 4), [""] * 40)
    poor = official(tmp_path, "poor", np.round(many(0.0, seed=3), 4), [""] * 40)
    assert main(["compare", poor, good, "-o", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr()
    assert "dsc: good minus poor" in printed.out and "<0.0001" in printed.out
    assert "none: no case has this score in both" in printed.out and "few:" not in printed.out
    assert "adjusted for 4 tests; 40 cases in all methods" in printed.out
    assert "rules of scoring unknown" in printed.err
    with (tmp_path / "out" / "comparison.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6 and rows[0]["better"] == "good" and rows[1]["p"] == ""
    assert float(rows[0]["ci95_low"]) > 0
    assert main(["compare", poor, good, "--json", "--metric", "nsd"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["adjusted"] == "Holm, over 2 tests"
    assert record["differences"][1]["p"] is None
    assert [row["metric"] for row in record["differences"]] == ["nsd"] * 3


def test_the_command_says_what_is_left_out(tmp_path, capsys):
    first = official(tmp_path, "a", [0.5, 0.6, 0.7], [0.1, "", 0.3])
    second = official(tmp_path, "b", [0.5, 0.6], [0.1, 0.2])
    assert main(["compare", first, second, "--metric", "dsc", "--test", "sign-flip"]) == 0
    printed = capsys.readouterr()
    assert "a: cases that not all have: case2" in printed.err
    assert "dsc of Tumor: cases scored in one only, left out: 0 and 1" in printed.err
    assert "few: fewer than 6 cases differ, no test can be significant" in printed.out
    assert "no difference can be significant: the smallest p" in printed.err


def test_wrong_use_of_the_command_is_one_line(tmp_path, capsys):
    first = official(tmp_path, "a", [0.5], [0.1])
    assert main(["compare", first]) == 2
    assert "at least two methods must be given, got 1" in capsys.readouterr().err
    assert main(["compare", first, str(tmp_path / "gone.csv")]) == 3
    assert main(["compare", first, first]) == 2
    assert "given once" in capsys.readouterr().err
