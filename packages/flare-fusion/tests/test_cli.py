"""The command: lists, fusing a phantom dataset, exit codes."""

import json

import pytest

from flare_fusion.cli import main
from flare_io.phantom import write_phantom_dataset


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantoms") / "data"
    write_phantom_dataset(folder, preset="unit", cases=3, seed=1, test_cases=1)
    return folder


def test_fusing_phantoms_resumes_and_reports(phantoms, tmp_path, capsys):
    arguments = ["fuse", "--dataset", str(phantoms), "-o", str(tmp_path / "out"), "--rule", "s1"]
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "3 of 3 cases fused into" in printed.out
    assert printed.err.splitlines()[0].startswith("case 1/3 ")
    assert main([*arguments, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["cases"] == {"done": 0, "kept": 3, "failed": 0}
    assert len(list((tmp_path / "out" / "labelsTr").iterdir())) == 3


def test_failed_cases_are_named_and_exit_4_or_3(phantoms, tmp_path, capsys):
    source = tmp_path / "A"
    source.mkdir()
    first, *_ = sorted((phantoms / "pseudoA").iterdir())
    (source / first.name).write_bytes(first.read_bytes())
    arguments = ["fuse", "--dataset", str(phantoms), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--source", f"A={source}"]) == 4
    assert "source A has no label map of case" in capsys.readouterr().err
    (source / first.name).unlink()
    assert main([*arguments, "--source", f"A={source}"]) == 3


def test_options_reach_the_rule(phantoms, tmp_path, capsys):
    arguments = ["fuse", "--dataset", str(phantoms), "-o", str(tmp_path / "out")]
    assert main([*arguments, "--set", "tie=A", "--set", "trust_partial=true"]) == 0
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["options"] == {"tie": "A", "trust_partial": True}


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--set", "tie"], 2, "--set must be NAME=VALUE, got 'tie'"),
        (["--source", "=x"], 2, "--source must be NAME=VALUE"),
        (["--set", "tie=C"], 2, "tie must be one of background, A, B, got 'C'"),
        (["--rule", "s8"], 2, "rule must be s1-labeled"),
        (["--jobs", "0"], 2, "--jobs must be > 0, got 0"),
        (["--source", "A=gone"], 3, "gone: source A must be a folder"),
    ],
    ids=["set", "source", "value", "rule", "jobs", "folder"],
)
def test_an_error_is_one_line_with_its_exit_code(phantoms, tmp_path, capsys, more, code, message):
    arguments = ["fuse", "--dataset", str(phantoms), "-o", str(tmp_path / "out"), *more]
    assert main(arguments) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_rules_are_listed_with_options(capsys):
    assert main(["rules"]) == 0
    out = capsys.readouterr().out
    for name in ("s1-labeled", "s1-unlabeled", "s2-overlay", "s2-replace", "majority"):
        assert f"\n{name}\n" in "\n" + out
    assert "option tie = background | A | B (default background)" in out


def test_one_rule_is_printed_row_by_row(capsys):
    assert main(["rules", "s1-labeled"]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert [row.split() for row in rows if "->  j (vote)" in row] == [
        ["j", "k", "j", "->", "j", "(vote)"]
    ]
    assert main(["rules", "s1-labeled", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["rows"][2]["if"] == {"trust_partial": True}


def test_an_unknown_rule_is_a_usage_error(capsys):
    assert main(["rules", "s9", "--json"]) == 2
    printed = capsys.readouterr()
    assert json.loads(printed.out)["error"]["kind"] == "usage"
    assert printed.err.startswith("flare-fusion: rule must be")
