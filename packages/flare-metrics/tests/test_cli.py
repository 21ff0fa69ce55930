"""The command: tables, exit codes, one line an error."""

import json
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from flare_metrics.cli import main


@pytest.fixture
def folders(tmp_path):
    array = np.zeros((8, 8, 8), np.uint8)
    array[2:6, 2:6, 2:6] = 1
    for role in ("p", "r"):
        (tmp_path / role).mkdir()
        for case in ("a", "b"):
            nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / role / f"{case}.nii.gz")
    return tmp_path


def score(folder, *more):
    arguments = ["score", "-p", str(folder / "p"), "-r", str(folder / "r"), "-o", str(folder / "o")]
    return main([*arguments, *more])


def test_scoring_prints_a_table_and_writes_three_files(folders, capsys):
    assert score(folders) == 0
    out = capsys.readouterr().out
    assert "liver                        2  1.0000  1.0000" in out
    assert "cases: 2 scored" in out
    assert {path.name for path in (folders / "o").iterdir()} == {
        "cases.csv",
        "labels.csv",
        "summary.json",
    }


def test_json_is_the_summary(folders, capsys):
    assert score(folders, "--json", "--protocol", "flare23", "--nsd-threshold", "none") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((folders / "o" / "summary.json").read_text())
    assert printed["organs"] == {"mean_dsc": 1.0, "mean_nsd": 1.0}


def test_some_faulty_cases_exit_4_and_only_faulty_ones_3(folders, capsys):
    (folders / "p" / "b.nii.gz").unlink()
    assert score(folders) == 4
    assert "flare-metrics: b: no prediction: " in capsys.readouterr().err
    (folders / "p" / "a.nii.gz").write_bytes(b"")
    assert score(folders) == 3


def test_one_pair_of_files(folders, capsys):
    pair = [str(folders / role / "a.nii.gz") for role in "pr"]
    assert main(["score", "-p", pair[0], "-r", pair[1]]) == 0
    assert "liver                     1.0000  1.0000" in capsys.readouterr().out
    assert main(["score", "-p", pair[0], "-r", pair[1], "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["labels"]
    assert (rows[0]["dsc"], rows[1]["dsc"]) == (1.0, None)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["-r", "gone", "-o", "o"], 3, "flare-metrics: gone: references must be a folder"),
        (["-r", "{r}"], 2, "flare-metrics: -o/--output must name a folder"),
        (["-r", "{r}", "-o", "o", "--protocol", "x"], 2, "protocol must be flare22, flare23"),
        (["-r", "{r}", "-o", "o", "--jobs", "0"], 2, "jobs must be > 0, got 0"),
    ],
    ids=["folder", "output", "protocol", "jobs"],
)
def test_an_error_is_one_line_with_its_exit_code(folders, capsys, arguments, code, message):
    filled = [text.format(r=folders / "r") for text in arguments]
    assert main(["score", "-p", str(folders / "p"), *filled]) == code
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_debug_shows_the_traceback_and_json_the_record(capsys):
    assert main(["labels", "--protocol", "x", "--debug", "--json"]) == 2
    printed = capsys.readouterr()
    assert "Traceback" in printed.err
    assert json.loads(printed.out)["error"]["kind"] == "usage"


def test_labels_are_listed(capsys):
    assert main(["labels", "--protocol", "flare23"]) == 0
    out = capsys.readouterr().out
    assert "  12  duodenum                Duodenum            7 mm" in out
    assert main(["labels", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["z_crop"] == "inclusive"


def test_usage_errors_exit_2(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["score"])
    assert "required" in capsys.readouterr().err


def test_a_closed_pipe_is_no_error():
    code = "from flare_metrics.cli import main; raise SystemExit(main(['labels']))"
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait() == 0
    assert error == b""
