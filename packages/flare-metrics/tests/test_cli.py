"""The command: tables, exit codes, one line an error."""

import json
import subprocess
import sys
from importlib.metadata import version
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest

from flare_metrics import file_pair
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


def arguments_of(folder):
    return ["score", "-p", str(folder / "p"), "-r", str(folder / "r")]


def score(folder, *more):
    return main([*arguments_of(folder), "-o", str(folder / "o"), *more])


def test_scoring_prints_a_table_and_writes_its_files(folders, capsys):
    assert score(folders) == 0
    out = capsys.readouterr().out
    assert "liver                        2  1.0000  1.0000" in out
    assert "cases: 2 scored" in out
    assert {path.name for path in (folders / "o").iterdir()} >= {
        *("cases.csv", "labels.csv", "summary.json")
    }


def test_no_report_leaves_the_page_out(folders):
    assert score(folders, "--no-report") == 0
    assert not (folders / "o" / "report.html").exists()


def test_a_failed_page_never_loses_the_tables(folders, capsys, monkeypatch):
    def explode(*args, **options):
        raise RuntimeError("no pictures\ntoday")

    monkeypatch.setitem(
        sys.modules,
        "flare_metrics.report",
        SimpleNamespace(write_report=explode, __spec__=object()),
    )
    assert score(folders) == 1
    error = capsys.readouterr().err
    assert "report.html could not be written: no pictures today; the tables are whole" in error
    assert (folders / "o" / "cases.csv").is_file()
    assert (folders / "o" / "summary.json").is_file()


def test_the_page_gets_images_and_efficiency(folders, capsys, monkeypatch):
    given = []
    stub = SimpleNamespace(
        write_report=lambda path, result, **more: given.append((path, more)), __spec__=object()
    )
    monkeypatch.setitem(sys.modules, "flare_metrics.report", stub)
    more = {"images": folders / "scans", "efficiency": folders / "team.csv"}
    arguments = ["--images", str(more["images"]), "--efficiency", str(more["efficiency"])]
    assert score(folders, *arguments) == 2
    assert "--images must exist, got " in capsys.readouterr().err
    more["images"].mkdir()
    more["efficiency"].touch()
    assert score(folders, *arguments) == 0
    assert given == [(folders / "o" / "report.html", more)]


def test_tables_never_land_among_the_inputs(folders, capsys):
    for role in "pr":
        output = str(folders / role / ".." / role)
        assert main([*arguments_of(folders), "-o", output]) == 2
        assert "output must be a folder of its own" in capsys.readouterr().err
    pair = ["-p", str(folders / "p" / "a.nii.gz"), "-r", str(folders / "r" / "a.nii.gz")]
    assert main(["score", *pair, "-o", str(folders / "r")]) == 2
    assert sorted(path.name for path in (folders / "r").iterdir()) == ["a.nii.gz", "b.nii.gz"]


def test_rules_are_changed_one_by_one(folders, capsys):
    array = np.zeros((8, 8, 8), np.uint8)
    array[2:6, 2:6, 2:6] = 5
    nib.save(nib.Nifti1Image(array, np.eye(4)), folders / "r" / "a.nii.gz")
    # 16 voxels a slice, on slices 2 to 5; the prediction ends at 4.
    array[:, :, 5] = 0
    nib.save(nib.Nifti1Image(array, np.eye(4)), folders / "p" / "a.nii.gz")
    means = []
    for more in (
        [],
        ["--set", "z_crop=inclusive"],
        ["--set", "z_crop=none", "--set", "decimals=2"],
    ):
        assert score(folders, "--json", "--protocol", "flare22", *more) == 0
        summary = json.loads(capsys.readouterr().out)
        means.append(summary["labels"]["Aorta"]["dsc"]["mean"])
    # Absent in b, which counts 1; 2 * 48 / (48 + 64) = 0.857.
    assert means == [1, 0.9286, 0.93]
    assert score(folders, "--set", "zcrop=none") == 2
    assert "unknown field 'zcrop'; did you mean z_crop?" in capsys.readouterr().err


def test_a_prediction_on_another_grid_is_resampled_when_asked(folders, capsys):
    array = np.zeros((8, 8, 8), np.uint8)
    array[2:6, 2:6, 2:6] = 1
    # Turned about its first axis: the same voxels at the same places.
    turned = np.diag([1.0, -1, 1, 1])
    turned[1, 3] = 7
    nib.save(nib.Nifti1Image(array[:, ::-1], turned), folders / "p" / "a.nii.gz")
    assert score(folders) == 4
    assert "on the reference's grid" in capsys.readouterr().err
    assert score(folders, "--resample") == 0
    assert "a: scored: prediction resampled onto the reference's grid" in capsys.readouterr().err
    rows = (folders / "o" / "cases.csv").read_text().splitlines()
    assert rows[1].startswith("a.nii.gz,1.0,")
    assert "resampled onto the reference's grid by nearest neighbor: voxel" in rows[1]
    assert "resampled" not in rows[2]
    assert score(folders, "--resample", "--protocol", "flare23") == 2
    assert "resample must be off under protocol flare23" in capsys.readouterr().err


def test_distances_are_asked_for(folders, monkeypatch):
    asked = []

    def score_case(*arrays, distances=False, **options):
        asked.append(distances)
        return original(*arrays, **options)

    original = file_pair.score_case
    monkeypatch.setattr(file_pair, "score_case", score_case)
    assert score(folders, "--distances") == 0
    assert score(folders) == 0
    assert asked == [True, True, False, False]


def test_one_pair_with_an_output_is_a_folder_of_one_case(folders, capsys):
    pair = ["-p", str(folders / "p" / "a.nii.gz"), "-r", str(folders / "r" / "b.nii.gz")]
    assert main(["score", *pair, "-o", str(folders / "o")]) == 0
    assert "cases: 1 scored" in capsys.readouterr().out
    assert (folders / "o" / "cases.csv").read_text().splitlines()[1].startswith("b.nii.gz,1.0,")


def test_ctrl_c_leaves_the_tables_of_what_was_done(folders, capsys, monkeypatch):
    original = file_pair.score_case

    def score_case(*arrays, **options):
        if not calls:
            calls.append(1)
            return original(*arrays, **options)
        raise KeyboardInterrupt

    calls = []
    monkeypatch.setattr(file_pair, "score_case", score_case)
    assert score(folders) == 130
    assert "flare-metrics: interrupted: 1 of 2 cases are scored" in capsys.readouterr().err
    rows = (folders / "o" / "cases.csv").read_text().splitlines()
    assert rows[1].endswith(",scored,")
    assert rows[2].endswith(",failed,interrupted before")


def test_json_is_the_summary(folders, capsys):
    assert score(folders, "--json", "--protocol", "flare23", "--nsd-threshold", "none") == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((folders / "o" / "summary.json").read_text())
    assert [printed["organs"][f"mean_{metric}"] for metric in ("dsc", "nsd")] == [1, 1]


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
        (["-r", "{r}", "-o", "{r}/a.nii.gz"], 2, "-o/--output must be a folder, got the file"),
        (["-r", "{r}", "-o", "o", "--protocol", "x"], 2, "protocol must be flare22, flare23"),
        (["-r", "{r}", "-o", "o", "--jobs", "0"], 2, "jobs must be > 0, got 0"),
    ],
    ids=["folder", "output", "file", "protocol", "jobs"],
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
    assert "      z_crop                  half-open" in out
    assert "      z_crop_labels           5,6,10" in out
    assert main(["labels", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["z_crop"] == "inclusive"


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["--version"])
    assert capsys.readouterr().out == f"flare-metrics {version('flare-metrics')}\n"


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


def test_an_output_that_cannot_be_written_is_refused_before_scoring(folders, capsys, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "out")

    monkeypatch.setattr("flare_metrics.atomic.refuse_unwritable", refuse)
    monkeypatch.setattr("flare_metrics.folder.score_folder", None)
    assert score(folders) == 5
    assert capsys.readouterr().err == "flare-metrics: out: Permission denied\n"


def test_an_earlier_report_does_not_stay_beside_new_tables(folders):
    score(folders)
    assert (folders / "o" / "report.html").exists()
    score(folders, "--no-report")
    assert not (folders / "o" / "report.html").exists()
