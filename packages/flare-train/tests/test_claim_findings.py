import dataclasses
import json
import math

import pytest

from flare_train.claims.findings import adjusted, findings_of
from flare_train.claims.measures import CaseRow, case_rows, case_values, unlearned
from flare_train.claims.register import Arm, Claim, Comparison
from flare_train.claims.report import ClaimResult, write_report
from flare_train.claims.statistics import Spread
from flare_train.stages.work import StageResult


def row(arm, seed, case, label, dsc, *, predicted=5.0, reference=5.0, nsd=0.5, seconds=1.0):
    return CaseRow(
        claim="C0",
        arm=arm,
        seed=seed,
        case=case,
        label=label,
        name={1: "liver", 2: "spleen", 14: "tumor"}[label],
        dsc=dsc,
        nsd=nsd,
        prediction_ml=predicted,
        reference_ml=reference,
        seconds=seconds,
    )


def claim_of(*comparisons):
    arms = tuple(Arm(name=name, about=f"arm {name}", changes={}) for name in ("a", "b"))
    return Claim(
        id="C0",
        title="b beats a",
        published="+1 (one run)",
        about="",
        arms=arms,
        comparisons=comparisons,
        most_seeds=0,
        spreads={},
        document={},
    )


def compare(measure, expect="higher", **more):
    return Comparison(first="a", second="b", measure=measure, expect=expect, **more)


def test_values_of_every_measure():
    rows = [
        row("a", 0, "x", 1, 0.5),
        row("a", 0, "x", 2, 0.7, nsd=0.1),
        row("a", 0, "x", 14, 0.3),
        row("a", 0, "y", 1, math.nan),
        row("a", 0, "y", 2, 0.9),
        row("a", 0, "y", 14, 0.0, reference=0.0, predicted=2.5),
    ]
    wanted = {
        "organ_dsc": {(0, "x"): 0.6, (0, "y"): 0.9},
        "organ_nsd": {(0, "x"): 0.3, (0, "y"): 0.5},
        "tumor_dsc": {(0, "x"): 0.3},
        "tumor_nsd": {(0, "x"): 0.5},
        "healthy_ml": {(0, "y"): 2.5},
        "seconds": {(0, "x"): 1.0, (0, "y"): 1.0},
    }
    for measure, values in wanted.items():
        got = case_values(rows, compare(measure), organs=(1, 2), tumor=14)
        assert got == pytest.approx(values), measure
    only = case_values(rows, compare("organ_dsc", labels=(2,)), organs=(1, 2), tumor=14)
    assert only == {(0, "x"): 0.7, (0, "y"): 0.9}


def test_classes_that_never_appeared_are_told():
    rows = [
        row("a", 0, "x", 1, 0.0),
        row("a", 0, "y", 1, 0.0),
        row("a", 1, "x", 1, 0.4),
        row("a", 0, "x", 2, 0.0, reference=0.0),
    ]
    assert unlearned(rows, (1, 2)) == (("liver", 0),)


def paired_rows(gain, *, seeds=2, cases=6):
    rows = []
    for seed in range(seeds):
        for case in range(cases):
            base = 0.4 + 0.02 * case + 0.01 * seed
            rows.append(row("a", seed, f"c{case}", 1, base))
            rows.append(row("b", seed, f"c{case}", 1, base + gain))
    return rows


@pytest.mark.parametrize(
    ("gain", "expect", "verdict"),
    [
        (0.06, "higher", "reproduced"),
        (-0.06, "higher", "reversed"),
        (-0.06, "lower", "reproduced"),
        (0.0, "higher", "undecided"),
        (0.0, "same", "same within what can be seen"),
        (0.06, "same", "differs"),
        (0.02, "higher", "too small to tell"),
        (-0.02, "lower", "too small to tell"),
    ],
)
def test_verdicts(gain, expect, verdict):
    claim = claim_of(compare("organ_dsc", expect))
    (finding,) = findings_of(claim, paired_rows(gain), organs=(1,), tumor=14)
    assert finding.verdict == verdict
    assert finding.effect == pytest.approx(gain)
    assert (finding.low, finding.high) == pytest.approx((gain, gain))
    assert (finding.seeds, finding.pairs) == (2, 12)
    assert finding.second_mean - finding.first_mean == pytest.approx(gain)


def test_the_effect_weighs_seeds_equally_and_takes_pairs_alone():
    rows = [row(arm, 0, f"c{k}", 1, 0.5 + 0.1 * (arm == "b")) for arm in "ab" for k in range(9)]
    rows += [row("a", 1, "c0", 1, 0.5), row("b", 1, "c0", 1, 0.8), row("b", 1, "c1", 1, 1.0)]
    claim = claim_of(compare("organ_dsc"))
    (finding,) = findings_of(claim, rows, organs=(1,), tumor=14)
    # (0.1 + 0.3) / 2; case c1 of seed 1 has no partner.
    assert finding.effect == pytest.approx(0.2)
    assert finding.pairs == 10
    assert (finding.positive, finding.negative) == (10, 0)
    assert finding.p == pytest.approx(2 / 2**10)
    assert finding.planned == pytest.approx(1.96 * math.sqrt(0.03**2 / 2 + 0.06**2 / 10))


def test_a_claim_may_bring_its_own_spreads():
    claim = claim_of(compare("organ_dsc"))
    claim = dataclasses.replace(
        claim, spreads={"organ_dsc": Spread(between_seeds=0.0, between_cases=0.03)}
    )
    (finding,) = findings_of(claim, paired_rows(0.02), organs=(1,), tumor=14)
    assert finding.planned == pytest.approx(1.96 * 0.03 / math.sqrt(12))
    assert finding.verdict == "reproduced"


def test_a_comparison_without_pairs_is_left_out():
    claim = claim_of(compare("tumor_dsc"), compare("organ_dsc"))
    findings = findings_of(claim, paired_rows(0.1), organs=(1,), tumor=14)
    assert [each.comparison.measure for each in findings] == ["organ_dsc"]


def test_holm_over_all_comparisons():
    claim = claim_of(compare("organ_dsc"), compare("organ_nsd"))
    findings = adjusted(findings_of(claim, paired_rows(0.1), organs=(1,), tumor=14))
    # p = 2 / 2^12 with two tests, and 1 where nothing differs.
    assert findings[0].p_holm == pytest.approx(2 * 2 / 2**12)
    assert findings[1].p_holm == 1


def test_pages(tmp_path):
    claim = claim_of(compare("organ_dsc", primary=True), compare("tumor_dsc"))
    rows = paired_rows(0.06)
    rows.append(row("a", 0, "c0", 14, math.nan, reference=0.0, predicted=1.0))
    result = ClaimResult(
        claim=claim,
        organs=(1,),
        tumor=14,
        rows=tuple(rows),
        training_seconds={"a": 10.0, "b": 12.0},
        findings=findings_of(claim, rows, organs=(1,), tumor=14),
    )
    write_report(tmp_path, [result], scale="unit", seeds=2, jobs=1)
    page = (tmp_path / "claims.md").read_text(encoding="utf-8")
    assert "| **C0** | a → b: organs DSC | +6.0 | +6.0 to +6.0 |" in page
    assert "**reproduced**" in page
    assert "Published: +1 (one run)." in page
    assert "| a: arm a | 45.5 | 50.0 |  | 1.0 | 0 | 10 |" in page
    record = json.loads((tmp_path / "claims.json").read_text())
    assert record["claims"][0]["findings"][0]["effect"] == pytest.approx(0.06)
    assert record["claims"][0]["arms"][0]["healthy_ml"] == 1.0
    lines = (tmp_path / "cases.csv").read_text().splitlines()
    assert len(lines) == 1 + len(rows)
    assert lines[1] == "C0,a,0,c0,1,liver,0.4,0.5,5.0,5.0,1.0"
    assert lines[-1] == "C0,a,0,c0,14,tumor,,0.5,1.0,0.0,1.0"


def test_rows_are_read_from_what_stages_left(tmp_path):
    scored, predicted = (
        StageResult(name=n, kind=n, key=n, folder=tmp_path / n, values={}, seconds=1)
        for n in ("scored", "predicted")
    )
    (scored.folder / "scores").mkdir(parents=True)
    (scored.folder / "scores" / "labels.csv").write_text(
        "Name,Label,Structure,Presence,DSC,NSD,Prediction_ml,Reference_ml,Reason\n"
        "x.nii.gz,1,liver,both,0.9,0.8,10.0,11.0,\n"
        "y.nii.gz,14,tumor,neither,,,0.0,0.0,absent in both\n"
    )
    (predicted.folder / "records").mkdir(parents=True)
    (predicted.folder / "records" / "x.json").write_text('{"seconds": 0.25}')
    first, second = case_rows("C1", "a", 3, scored=scored, predicted=predicted)
    assert (first.case, first.label, first.dsc, first.seconds) == ("x", 1, 0.9, 0.25)
    assert (second.claim, second.arm, second.seed) == ("C1", "a", 3)
    assert math.isnan(second.dsc)
    assert math.isnan(second.seconds)
