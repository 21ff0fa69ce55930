import json

import pytest

from flare_train.claims import run_claims
from flare_train.cli import main


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """One small claim, its four arms trained for a few steps."""
    folder = tmp_path_factory.mktemp("claims")
    return folder, run_claims(folder, only=["C9"], seeds=1, scale="unit")


def test_a_claim_runs_from_patients_to_page(finished):
    folder, (result,) = finished
    assert {row.arm for row in result.rows} == {
        "one",
        "two seeds",
        "five snapshots",
        "two batches",
    }
    assert {row.seed for row in result.rows} == {0}
    # Four held-out patients in each arm.
    assert len({row.case for row in result.rows}) == 4
    # An ensemble costs the training of both its nets.
    assert result.training_seconds["two seeds"] > result.training_seconds["one"] > 0
    record = json.loads((folder / "claims.json").read_text())
    assert [each["claim"] for each in record["claims"]] == ["C9"]
    assert "## C9: " in (folder / "claims.md").read_text(encoding="utf-8")
    header, *lines = (folder / "cases.csv").read_text().splitlines()
    assert header.startswith("claim,arm,seed,case,label,name,dsc")
    assert len(lines) == len(result.rows)


def test_run_again_does_nothing_and_ends_the_same(finished, capsys, monkeypatch):
    folder, (result,) = finished
    monkeypatch.setattr("flare_train.stages.runner.run_stage", None)
    before = (folder / "claims.json").read_bytes()
    code = main(
        ["claims", "--only", "C9", "--seeds", "1", "--scale", "unit", "--jobs", "1",
         "--device", "cpu", "-o", str(folder), "--json"]
    )  # fmt: skip
    assert code == 0
    assert (folder / "claims.json").read_bytes() == before
    shown = json.loads(capsys.readouterr().out)
    assert shown["claims"][0]["title"] == result.claim.title


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"only": ["C1"]}, "there is no claim 'C1'"),
        ({"seeds": 0}, "seeds must be >= 1, got 0"),
        ({"scale": "large"}, "scale must be one of mini, unit"),
    ],
)
def test_wrong_requests(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        run_claims(tmp_path, **{"only": ["C9"], "scale": "unit", **arguments})
    assert not list(tmp_path.iterdir())
