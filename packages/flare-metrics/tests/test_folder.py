"""Folders: every reference is a row, one bad case costs one case, tables hold what was scored."""

import csv
import json
import math
import os

import nibabel as nib
import numpy as np
import pytest

from flare_metrics import file_pair, workers
from flare_metrics.errors import GridError, LabelError, UnreadableFileError
from flare_metrics.folder import score_files, score_folder
from flare_metrics.pairs import Pair
from flare_metrics.protocols import protocol

AFFINE = np.diag([-0.8, -0.8, 2.5, 1.0])


def write(folder, name, array, affine=AFFINE):
    folder.mkdir(exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), folder / name)
    return folder / name


def organ(shift=0, label=1):
    array = np.zeros((20, 20, 10), np.uint8)
    array[5 + shift : 10 + shift, 5:10, 3:7] = label
    return array


@pytest.fixture
def folders(tmp_path):
    """Return folders with one case of each fate."""
    predictions, references = tmp_path / "p", tmp_path / "r"
    for case in ("good", "missing", "cut", "moved", "twice", "alien"):
        write(references, f"{case}.nii.gz", organ())
        if case != "missing":
            write(predictions, f"{case}.nii.gz", organ(shift=1))
    cut = predictions / "cut.nii.gz"
    cut.write_bytes(cut.read_bytes()[:-6])
    elsewhere = AFFINE.copy()
    elsewhere[2, 3] = 5
    write(predictions, "moved.nii.gz", organ(), elsewhere)
    write(predictions, "twice.nii", organ())
    write(predictions, "alien.nii.gz", organ(label=77))
    write(predictions, "stranger.nii.gz", organ())
    (references / "broken.nii.gz").write_bytes(b"nothing")
    write(predictions, "broken.nii.gz", organ())
    (references / "README.txt").write_text("not a case")
    return predictions, references


EXPECTED = {
    "alien": ("prediction refused", "only labels of protocol sound, found 77"),
    "broken": ("failed", "not NIfTI"),
    "cut": ("prediction refused", "gzip stream ends early"),
    "good": ("scored", ""),
    "missing": ("no prediction", "no prediction of this name"),
    "moved": ("prediction refused", "lies 5 mm apart; resample it"),
    "stranger": ("no reference", "no reference of this name"),
    "twice": ("prediction refused", "one file, found twice.nii, twice.nii.gz"),
}


@pytest.mark.parametrize("jobs", [1, 2])
def test_every_case_has_its_row_and_reason(folders, jobs):
    result = score_folder(*folders, jobs=jobs)
    assert {case.case for case in result.cases} == set(EXPECTED)
    for case, (status, reason) in EXPECTED.items():
        assert result[case].status == status
        assert reason in result[case].reason
    # One voxel of five is off: 2 * 4 / 10.
    assert result["good"].score[1].dsc == 0.8
    assert result["missing"].score[1].dsc == result["moved"].score[1].dsc == 0
    assert result["broken"].score is None
    assert len(result.faulty) == 7
    with pytest.raises(KeyError, match="no case 'x'"):
        result["x"]


def test_other_cases_are_the_same_without_the_bad_ones(folders, tmp_path):
    predictions, references = folders
    whole = score_folder(predictions, references)["good"]
    for path in references.iterdir():
        if path.name != "good.nii.gz":
            path.unlink()
    assert repr(score_folder(predictions, references)["good"]) == repr(whole)


def test_the_summary_counts_and_averages(folders):
    summary = score_folder(*folders).summary()
    assert summary["cases"]["scored"] == 1
    assert sum(summary["cases"].values()) == len(EXPECTED)
    assert {row["case"] for row in summary["faulty"]} == set(EXPECTED) - {"good"}
    liver = summary["labels"]["Liver"]
    # good 0.8; missing, cut, moved, twice, alien 0.
    assert liver["scored"] == 6
    assert liver["missed"] == 5
    assert (liver["dsc"]["mean"], liver["dsc"]["median"]) == (pytest.approx(0.8 / 6), 0)
    assert summary["organs"]["mean_dsc"] == pytest.approx(0.8 / 6)
    kidney = summary["labels"]["RK"]["dsc"]
    assert (kidney["mean"], kidney["median"], kidney["n"]) == (None, None, 0)


def test_the_official_protocol_lists_faulty_cases_outside_the_mean(folders):
    result = score_folder(*folders, protocol="flare23")
    assert math.isnan(result["missing"].score[1].dsc)
    # The script ignores labels that it does not know, so "alien" has a liver of DSC 0; it does not
    # look at the place in the patient, so "moved" has 1; of "twice" it takes twice.nii.gz, 0.8.
    assert {case.case for case in result.cases if case.status == "scored"} == {
        *("alien", "good", "moved", "twice")
    }
    assert result.summary()["labels"]["Liver"]["dsc"]["mean"] == 0.65
    assert result.summary()["labels"]["RK"]["dsc"]["mean"] == 1


def test_lesions_of_healthy_and_diseased_cases_are_told_apart(tmp_path):
    predictions, references = tmp_path / "p", tmp_path / "r"
    fates = {"hit": (14, 14), "missed": (1, 14), "clean": (1, 1), "false": (14, 1)}
    for case, (predicted, true) in fates.items():
        write(predictions, f"{case}.nii.gz", organ(label=predicted))
        write(references, f"{case}.nii.gz", organ(label=true))
    tumor = score_folder(predictions, references).summary()["labels"]["Tumor"]
    assert tumor["diseased"]["cases"] == 2
    assert tumor["diseased"]["dsc"]["mean"] == 0.5
    assert tumor["healthy"] == {"cases": 2, "wrongly_predicted": 1}


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_tables_hold_what_was_scored(folders, tmp_path):
    result = score_folder(*folders, protocol="flare23")
    result.write(tmp_path / "out" / "deep")
    cases = {row["Name"]: row for row in rows_of(tmp_path / "out" / "deep" / "cases.csv")}
    header = list(cases["good.nii.gz"])
    assert header[:3] == ["Name", "Liver_DSC", "RK_DSC"]
    assert header[14:16] == ["Tumor_DSC", "Liver_NSD"]
    assert header[-2:] == ["Status", "Reason"]
    assert cases["good.nii.gz"]["Liver_DSC"] == "0.8"
    assert cases["missing.nii.gz"]["Liver_DSC"] == ""
    assert cases["missing.nii.gz"]["Status"] == "no prediction"
    labels = rows_of(tmp_path / "out" / "deep" / "labels.csv")
    assert len(labels) == 14 * sum(case.score is not None for case in result.cases)
    assert labels[0]["Presence"] in {"both", "reference only", "prediction only", "neither"}
    summary = json.loads((tmp_path / "out" / "deep" / "summary.json").read_text())
    assert summary == result.summary()


def test_z_is_the_patients_axis_whatever_the_order_of_the_file(tmp_path):
    # An aorta whose prediction goes on above the reference: outside the scored slices in every
    # axis order.
    reference = np.zeros((12, 10, 8), np.uint8)
    reference[5:7, 5:7, 2:5] = 5
    prediction = reference.copy()
    prediction[5:7, 5:7, 5:7] = 5
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("LPS"), nib.orientations.axcodes2ornt("SRA")
    )
    scores = []
    for name, turned in (("plain", False), ("turned", True)):
        pair = []
        for role, array in (("p", prediction), ("r", reference)):
            image = nib.Nifti1Image(array, AFFINE)
            image = image.as_reoriented(turn) if turned else image
            nib.save(image, tmp_path / f"{name}-{role}.nii.gz")
            pair.append(tmp_path / f"{name}-{role}.nii.gz")
        scores.append(score_files(*pair)[5].dsc)
    assert scores == [1, 1]
    assert score_files(*pair, protocol="flare23")[5].dsc < 1


def test_one_pair_raises_what_is_wrong(folders):
    predictions, references = folders
    good = references / "good.nii.gz"
    assert score_files(good, good)[1].dsc == 1
    for name, error in (("cut", UnreadableFileError), ("moved", GridError), ("alien", LabelError)):
        with pytest.raises(error, match=f"{name}.nii.gz"):
            score_files(predictions / f"{name}.nii.gz", references / f"{name}.nii.gz")


def test_wrong_folders_are_named(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnreadableFileError, match="references must be a folder"):
        score_folder(tmp_path / "empty", tmp_path / "gone")
    with pytest.raises(UnreadableFileError, match="references must hold label maps, found none"):
        score_folder(tmp_path / "empty", tmp_path / "empty")
    with pytest.raises(ValueError, match="jobs must be > 0"):
        score_folder(tmp_path, tmp_path, jobs=0)


def test_an_unforeseen_error_costs_one_case(folders, monkeypatch):
    def explode(*args):
        raise MemoryError

    monkeypatch.setattr(file_pair, "_score", explode)
    result = score_folder(*folders)
    assert result["good"].status == "failed"
    assert result["good"].error["kind"] == "resources"


def test_progress_is_plain_lines_where_no_terminal_is(folders, capsys):
    score_folder(*folders, progress=True)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "case 1/7 alien: prediction refused"
    assert len(lines) == 7


class Deadly:
    """Ends the process that unpickles it, as the kernel does when memory runs out."""

    def __reduce__(self):
        return os._exit, (9,)


def test_a_worker_that_dies_costs_its_own_case_only(folders):
    good = (folders[1] / "good.nii.gz",)
    options = file_pair.Options(protocol=protocol("sound"))
    pairs = [Pair(case=f"case{k}", predictions=good, references=good) for k in range(4)]
    # Unpickled in the worker, as part of the case's files.
    pairs[1] = Pair(case="dead", predictions=(Deadly(),), references=good)
    results = list(workers.score_pairs(pairs, options, jobs=2))
    assert [result.case for result in results] == ["case0", "dead", "case2", "case3"]
    assert [result.status for result in results] == ["scored", "failed", "scored", "scored"]
    assert "the worker died" in results[1].reason


def test_unknown_labels_in_the_reference_are_not_the_predictions_fault(tmp_path):
    write(tmp_path / "p", "a.nii.gz", organ())
    path = write(tmp_path / "r", "a.nii.gz", organ(label=15))
    result = score_folder(tmp_path / "p", tmp_path / "r")["a"]
    assert (result.status, result.score) == ("failed", None)
    assert result.error["source"] == str(path)
    assert "reference must hold only labels of protocol sound, found 15" in result.reason


def test_names_with_spaces_and_accents_work(tmp_path):
    for role in ("p", "r"):
        write(tmp_path / role, "Fall 1 für Ödem.nii.gz", organ())
    assert score_folder(tmp_path / "p", tmp_path / "r")["Fall 1 für Ödem"].status == "scored"
