"""Whatever is wrong with a case: an error or a listed row, never a traceback, never a gap."""

import csv
import json
import os
import struct

import nibabel as nib
import numpy as np
import pytest

from flare_metrics.cli import main

AFFINE = np.diag([-0.8, -0.8, 2.5, 1.0])


def organ(shape=(20, 20, 10), label=1, dtype=np.uint8):
    array = np.zeros(shape, dtype)
    array[5:10, 5:10, 3:7] = label
    return array


def save(array, path, affine=AFFINE):
    nib.save(nib.Nifti1Image(array, affine), path)


def cut(path):
    save(organ(), path)
    path.write_bytes(path.read_bytes()[:-9])


def cut_in_the_middle(path):
    save(organ(), path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def checksum_wrong(path):
    save(organ(), path)
    data = bytearray(path.read_bytes())
    data[-8] ^= 1
    path.write_bytes(data)


def header_huge(path):
    save(organ(), path.with_suffix(""))
    data = bytearray(path.with_suffix("").read_bytes())
    struct.pack_into("<3h", data, 42, 32000, 32000, 32000)
    path.with_suffix("").unlink()
    path.write_bytes(data)


def no_spacing(path):
    save(organ(), path.with_suffix(""))
    data = bytearray(path.with_suffix("").read_bytes())
    struct.pack_into("<f", data, 80, 0.0)
    path.with_suffix("").unlink()
    path.write_bytes(data)


def probabilities(path):
    save(organ(dtype=np.float32) * np.float32(0.37), path)


def elsewhere(path):
    affine = AFFINE.copy()
    affine[0, 3] = 40
    save(organ(), path, affine)


BAD = {
    # name: (writer of the prediction, reason in `sound`, whether flare23 scores it)
    "other-shape": (lambda path: save(organ((20, 20, 11)), path), "shape (11, 20, 20)", False),
    "other-grid": (elsewhere, "lies 40 mm apart", True),
    "other-spacing": (lambda path: save(organ(), path, np.eye(4)), "mm apart", True),
    "float-labels": (probabilities, "labels must be integers, found 100 other values", True),
    "label-77": (lambda path: save(organ(label=77), path), "found 77", True),
    "negative": (lambda path: save(organ(label=-1, dtype=np.int16), path), "found -1", True),
    "four-axes": (lambda path: save(np.stack([organ()] * 2, -1), path), "three axes", False),
    "truncated": (cut, "gzip stream ends early", False),
    "half": (cut_in_the_middle, "gzip stream ends early", False),
    "checksum": (checksum_wrong, "gzip data is damaged", False),
    "empty-file": (lambda path: path.write_bytes(b""), "not NIfTI", False),
    "text": (lambda path: path.write_text("no such page\n" * 99), "not NIfTI", False),
    "header-huge": (header_huge, "more than 16 GiB", False),
    "no-spacing": (no_spacing, "spacing must be positive", False),
    "a-folder": (lambda path: path.mkdir(), "cannot be read", False),
    "dangling": (lambda path: os.symlink("gone", path), "cannot be read", False),
    "missing": (lambda path: None, "no prediction of this name", False),
}


@pytest.fixture
def folders(tmp_path):
    for role in "pr":
        (tmp_path / role).mkdir()
        save(organ(), tmp_path / role / "good.nii.gz")
    for name, (write, _, _) in BAD.items():
        save(organ(), tmp_path / "r" / f"{name}.nii.gz")
        write(tmp_path / "p" / f"{name}.nii.gz")
    save(organ(), tmp_path / "p" / "stranger.nii.gz")
    return tmp_path


def score(folder, *more):
    arguments = ["score", "-p", str(folder / "p"), "-r", str(folder / "r"), "-o", str(folder / "o")]
    code = main([*arguments, "--no-report", *more])
    with (folder / "o" / "cases.csv").open(newline="") as file:
        return code, {row["Name"].removesuffix(".nii.gz"): row for row in csv.DictReader(file)}


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_sound_scores_bad_predictions_as_worst_and_says_why(folders, capfd, jobs):
    code, rows = score(folders, "--jobs", jobs)
    assert code == 4
    assert set(rows) == {"good", "stranger", *BAD}
    assert (rows["good"]["Status"], rows["good"]["Liver_DSC"]) == ("scored", "1.0")
    for name, (_, reason, _) in BAD.items():
        status = "no prediction" if name == "missing" else "prediction refused"
        assert (rows[name]["Status"], rows[name]["Liver_DSC"]) == (status, "0.0"), name
        assert reason in rows[name]["Reason"], name
    assert (rows["stranger"]["Status"], rows["stranger"]["Liver_DSC"]) == ("no reference", "")
    error = capfd.readouterr().err
    assert "Traceback" not in error
    assert all(f"flare-metrics: {name}: " in error for name in BAD)


def test_flare23_scores_what_its_script_would_and_leaves_the_rest_out(folders, capfd):
    code, rows = score(folders, "--protocol", "flare23")
    assert code == 4
    assert set(rows) == {"good", "stranger", *BAD}
    for name, (_, _, scored) in BAD.items():
        row = rows[name]
        assert (row["Status"] == "scored") == scored, name
        assert (row["Liver_DSC"] == "") == (not scored), name
        assert bool(row["Reason"]) == (not scored), name
    assert "Traceback" not in capfd.readouterr().err
    summary = json.loads((folders / "o" / "summary.json").read_text())
    # good 1, other-grid 1, other-spacing 1, float-labels 0 (cut to 0), label-77 0, negative 0.
    assert summary["labels"]["Liver"]["dsc"]["mean"] == 0.5


@pytest.mark.parametrize("name", BAD)
def test_one_pair_is_one_line_and_an_exit_code(folders, capfd, name):
    pair = [str(folders / role / f"{name}.nii.gz") for role in "pr"]
    assert main(["score", "-p", pair[0], "-r", pair[1]]) == 3
    error = capfd.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("flare-metrics: ")
    assert "Traceback" not in error
    assert f"{name}.nii.gz" in error


@pytest.mark.parametrize("name", sorted(set(BAD) - {"missing"}))
def test_a_bad_reference_fails_its_case_only(folders, name):
    for path in (folders / "p").iterdir():
        if path.name != "good.nii.gz" and not path.is_dir():
            path.unlink()
    write = BAD[name][0]
    for path in (folders / "r").iterdir():
        if path.name != "good.nii.gz":
            path.unlink()
    write(folders / "r" / "bad.nii.gz")
    save(organ(), folders / "p" / "bad.nii.gz")
    _, rows = score(folders)
    assert rows["good"]["Status"] == "scored"
    if name in ("other-shape", "other-grid", "other-spacing"):
        # There is nothing wrong with it but the prediction's grid.
        assert rows["bad"]["Status"] == "prediction refused"
    else:
        assert (rows["bad"]["Status"], rows["bad"]["Liver_DSC"]) == ("failed", "")
        assert rows["bad"]["Reason"]


def test_two_files_of_one_case_are_named(folders):
    save(organ(), folders / "p" / "good.nii")
    _, rows = score(folders)
    assert rows["good"]["Status"] == "prediction refused"
    assert "one file, found good.nii, good.nii.gz; remove the others" in rows["good"]["Reason"]
    (folders / "p" / "good.nii").unlink()
    save(organ(), folders / "r" / "good.nii")
    _, rows = score(folders)
    assert rows["good.nii"]["Status"] == "failed"


def test_empty_folders(tmp_path, capfd):
    for name in ("p", "r", "full"):
        (tmp_path / name).mkdir()
    save(organ(), tmp_path / "full" / "a.nii.gz")
    out = ["-o", str(tmp_path / "o"), "--no-report"]
    assert main(["score", "-p", str(tmp_path / "full"), "-r", str(tmp_path / "r"), *out]) == 3
    assert "references must hold label maps, found none" in capfd.readouterr().err
    assert main(["score", "-p", str(tmp_path / "p"), "-r", str(tmp_path / "full"), *out]) == 3
    assert "a: no prediction: no prediction of this name" in capfd.readouterr().err
    assert main(["score", "-p", str(tmp_path / "gone"), "-r", str(tmp_path / "full"), *out]) == 3
    assert "predictions must be a folder" in capfd.readouterr().err


def test_hostile_names_stay_one_line(tmp_path, capfd):
    name = "a\nb;$(touch x)<script>"
    for role in "pr":
        (tmp_path / role).mkdir()
    save(organ(), tmp_path / "r" / f"{name}.nii.gz")
    _, rows = score(tmp_path)
    assert rows[name]["Status"] == "no prediction"
    error = capfd.readouterr().err
    assert [line.split(":")[0] for line in error.splitlines()] == [
        "case 1/1 a b;$(touch x)<script>",
        "flare-metrics",
    ]
