"""The command: lists, fusing a phantom dataset, exit codes."""

import json

import pytest

from flare_fusion import fuse
from flare_fusion.cli import main
from flare_fusion.rules import rule_names
from flare_io.files import read_label_map
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
    lacking = [*arguments, "--rule", "s4-overlay", "--no-report"]
    assert main(lacking) == 3
    assert "case phantom_0000: case has no source organs, found A, B;" in capsys.readouterr().err
    (source / first.name).unlink()
    assert main([*arguments, "--source", f"A={source}"]) == 3


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("majority", {"tie": "first"}),
        ("weighted", {"weights": "A:2,B:1"}),
        ("weighted", {"weights": "A:1,B:2,A/14:0.5", "tie": 0}),
        ("union", {}),
        ("intersection", {"labels": "0-14"}),
        ("agreement", {}),
        ("staple", {"per_label": True}),
    ],
    ids=str,
)
def test_rules_of_any_sources_fuse_a_dataset(phantoms, tmp_path, capsys, name, options):
    arguments = ["fuse", "--dataset", str(phantoms), "-o", str(tmp_path), "--rule", name]
    given = [f"--set={key}={value}" for key, value in options.items()]
    assert main([*arguments, *given, "--no-report"]) == 0
    assert capsys.readouterr().out.startswith("3 of 3 cases fused")
    for path in sorted((tmp_path / "labelsTr").iterdir()):
        maps = {each: read_label_map(phantoms / f"pseudo{each}" / path.name).array for each in "AB"}
        expected = fuse(maps, rule=name, **options).label_map
        assert (read_label_map(path).array == expected).all()
    assert json.loads((tmp_path / "report.json").read_text())["options"] == options


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["weighted"], 2, "rule weighted needs the option weights, a number for each source"),
        (["weighted", "--set=weights=A:2,B"], 2, "option weights must be like A:2,B:1"),
        (["weighted", "--set=weights=A:2,B:-1"], 2, "weight of source B must be a number >= 0"),
        (["weighted", "--set=weights=A:2,C:1"], 3, "option weights names 'C'; the sources are"),
        (["agreement", "--set=otherwise=255"], 3, "(1-3, 11, 14), found 255"),
        (["majority", "--set=labels=0-3"], 3, "source A must hold only the labels 0 to 3"),
    ],
    ids=str,
)
def test_wrong_options_of_such_rules_are_named(
    phantoms, tmp_path, capsys, arguments, code, message
):
    base = ["fuse", "--dataset", str(phantoms), "-o", str(tmp_path / "out"), "--no-report"]
    assert main([*base, "--rule", *arguments]) == code
    assert message in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("labelsTr/*"))


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
    for name in (*rule_names(), "majority"):
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


def test_a_list_of_selected_cases_is_what_fuse_takes(phantoms, tmp_path, capsys):
    listed = tmp_path / "cases.json"
    select = ["select", "--dataset", str(phantoms), "-o", str(listed), "--threshold", "0.1"]
    assert main([*select, "--first-labeled", "1", "--first-unlabeled", "1"]) == 0
    assert f"of 3 cases listed in {listed}" in capsys.readouterr().out
    record = json.loads(listed.read_text())
    assert record["by"] == "agreement"
    assert len(record["figures"]) == 3
    out = tmp_path / "out"
    fuse = ["fuse", "--dataset", str(phantoms), "-o", str(out), "--no-report", "--provenance"]
    assert main([*fuse, "--cases", str(listed)]) == 0
    for folder in ("labelsTr", "provenanceTr"):
        names = sorted(path.name.split(".")[0] for path in (out / folder).iterdir())
        assert names == record["cases"]
    assert not (out / "report.html").exists()


def test_the_least_stable_cases_are_left_out(phantoms, tmp_path, capsys):
    listed = tmp_path / "cases.txt"
    rounds = [f"--source=R{k}={phantoms / name}" for k, name in enumerate(("pseudoA", "pseudoB"))]
    select = ["select", "--dataset", str(phantoms), "-o", str(listed), "--by", "stability"]
    assert main([*select, *rounds, "--drop", "1", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    least = max(record["figures"], key=record["figures"].get)
    assert listed.read_text().split() == sorted(set(record["figures"]) - {least})


@pytest.mark.parametrize(
    ("more", "code", "message"),
    [
        (["--threshold", "85"], 2, "--threshold must be within 0..1, got 85.0"),
        (["--by", "stability"], 2, "--drop must say how many"),
        (["--by", "stability", "--drop", "1"], 2, "two or more --source NAME=DIR"),
        (["--threshold", "1"], 3, "no case was selected"),
        (["--jobs", "0"], 2, "--jobs must be > 0"),
        (["--source", "A=gone"], 3, "gone: source A must be a folder"),
        (["--source", "A=x", "--source", "A=y"], 2, "--source must name A once"),
    ],
    ids=["threshold", "drop", "rounds", "none", "jobs", "folder", "twice"],
)
def test_a_selection_that_cannot_be_is_one_line(phantoms, tmp_path, capsys, more, code, message):
    listed = tmp_path / "cases.json"
    assert main(["select", "--dataset", str(phantoms), "-o", str(listed), *more]) == code
    error = capsys.readouterr().err
    assert message in error.splitlines()[-1]
    assert not listed.exists()


def test_a_page_that_cannot_be_made_leaves_the_labels_whole(
    phantoms, tmp_path, capsys, monkeypatch
):
    def broken(*_arguments, **_options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("flare_fusion.report.write_report", broken)
    out = tmp_path / "out"
    assert main(["fuse", "--dataset", str(phantoms), "-o", str(out)]) == 5
    assert "report.html could not be written" in capsys.readouterr().err
    assert len(list((out / "labelsTr").iterdir())) == 3
    (tmp_path / "file").write_text("")
    assert main(["fuse", "--dataset", str(phantoms), "-o", str(tmp_path / "file")]) == 2
    assert "-o/--output must be a folder, got the file" in capsys.readouterr().err
