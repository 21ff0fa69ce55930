import errno
import json
import os
import signal
from dataclasses import replace

import numpy as np
import pytest
import torch

from flare_infer import run as run_module
from flare_infer.model import write_model
from flare_infer.predictor import Predictor
from flare_infer.report import previous_records
from flare_infer.run import RunSettings, run_cases
from flare_io import atomic
from flare_io.command import ExitCode
from flare_io.files import read_label_map, read_volume, write_volume
from flare_io.policy import ReadPolicy

from .conftest import random_weights


class Wrapped:
    """A predictor in which a test replaces `predict`."""

    def __init__(self, predictor):
        self._predictor = predictor

    def __getattr__(self, name):
        return getattr(self._predictor, name)


@pytest.fixture
def predictor(model_folder):
    return Predictor.load(model_folder, device="cpu")


@pytest.fixture
def scans(tmp_path, ct):
    folder = tmp_path / "scans"
    folder.mkdir()
    for number, name in enumerate("abc"):
        write_volume(ct.with_array(ct.array + number), folder / f"{name}.nii.gz")
    return folder


def states(report):
    return {record.id: record.state for record in report.cases.values()}


def test_every_case_is_written_on_its_own_grid(predictor, scans, tmp_path):
    report, code = run_cases(predictor, scans, tmp_path / "out")
    assert code is ExitCode.DONE
    assert states(report) == {"a": "done", "b": "done", "c": "done"}
    found = read_label_map(tmp_path / "out" / "a.nii.gz")
    image = read_volume(scans / "a.nii.gz")
    assert found.geometry == image.geometry
    assert np.array_equal(found.array, predictor.predict(image).array)
    kept = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (kept["done"], kept["failed"], kept["not_started"]) == (3, 0, 0)
    assert kept["model"]["weights_sha256"] == predictor.model.weights_sha256
    assert kept["peak_memory_mib"] > 10
    steps = {"read", "prepare", "search", "network", "decide", "restore", "write"}
    assert set(kept["cases"][0]["seconds"]) == steps


def test_b08_a_truncated_case_costs_one_case_and_changes_no_other(predictor, scans, tmp_path):
    run_cases(predictor, scans, tmp_path / "good")
    data = (scans / "b.nii.gz").read_bytes()
    (scans / "b.nii.gz").write_bytes(data[: len(data) // 2])
    report, code = run_cases(predictor, scans, tmp_path / "out")
    assert code is ExitCode.SOME_FAILED
    assert states(report) == {"a": "done", "b": "failed", "c": "done"}
    assert "b.nii.gz" in report.cases["b"].error["source"]
    assert not (tmp_path / "out" / "b.nii.gz").exists()
    for name in ("a.nii.gz", "c.nii.gz"):
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "good" / name).read_bytes()


def test_all_refused_is_its_own_code(predictor, tmp_path):
    bad = tmp_path / "bad.nii.gz"
    bad.write_bytes(b"<html>not found</html>")
    _, code = run_cases(predictor, bad, tmp_path / "out")
    assert code is ExitCode.REFUSED


def test_b29_the_policy_reaches_the_reader(predictor, ct, tmp_path):
    array = ct.array.astype(np.float32)
    array[3, 4, 5] = np.nan
    write_volume(ct.with_array(array), tmp_path / "nan.nii.gz")
    _, code = run_cases(predictor, tmp_path / "nan.nii.gz", tmp_path / "out")
    assert code is ExitCode.REFUSED
    settings = RunSettings(policy=ReadPolicy(nan_value=-1024.0))
    report, code = run_cases(
        predictor, tmp_path / "nan.nii.gz", tmp_path / "out", settings=settings
    )
    assert code is ExitCode.DONE
    assert report.cases["nan"].notes


def test_a_rerun_keeps_what_verifies_and_redoes_the_rest(predictor, scans, tmp_path, ct):
    out = tmp_path / "out"
    run_cases(predictor, scans, out)
    first = {name: (out / f"{name}.nii.gz").read_bytes() for name in "abc"}
    # a: the output is damaged; b: the input changes; c: nothing.
    (out / "a.nii.gz").write_bytes(b"torn")
    write_volume(ct.with_array(ct.array - 50), scans / "b.nii.gz")
    report, code = run_cases(predictor, scans, out)
    assert code is ExitCode.DONE
    assert [report.cases[name].kept for name in "abc"] == [False, False, True]
    assert (out / "a.nii.gz").read_bytes() == first["a"]
    assert (out / "b.nii.gz").read_bytes() != first["b"]
    changed, _ = run_cases(predictor, scans, out, settings=RunSettings(mode="exact"))
    assert not any(record.kept for record in changed.cases.values())


def test_a_rerun_with_other_preprocessing_and_the_same_weights_starts_anew(
    predictor, scans, tmp_path
):
    run_cases(predictor, scans, tmp_path / "out")
    spec = predictor.model.spec
    coarser = replace(spec, windows=replace(spec.windows, step=1.0))
    write_model(tmp_path / "other", coarser, [random_weights(spec.net)])
    other = Predictor.load(tmp_path / "other", device="cpu")
    assert other.model.weights_sha256 == predictor.model.weights_sha256
    report, _ = run_cases(other, scans, tmp_path / "out")
    assert not any(record.kept for record in report.cases.values())


def test_a_rerun_sees_voxels_that_lie_beside_their_header(predictor, ct, tmp_path):
    array = ct.array.astype("<i2")
    z, y, x = array.shape
    header = tmp_path / "a.mhd"
    header.write_text(
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nTransformMatrix = 1 0 0 0 1 0 0 0 1\n"
        f"Offset = 0 0 0\nElementSpacing = 1.5 1.5 5\nDimSize = {x} {y} {z}\n"
        "ElementType = MET_SHORT\nElementDataFile = voxels.raw\n"
    )
    for voxels, kept in ((array, False), (array, True), (array[::-1], False)):
        (tmp_path / "voxels.raw").write_bytes(voxels.tobytes())
        report, code = run_cases(predictor, header, tmp_path / "out")
        assert code is ExitCode.DONE
        assert report.cases["a"].kept is kept


def test_a_broken_report_is_no_reason_to_stop(predictor, scans, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "report.json").write_text('{"cases": [{"strange": 1}]}')
    assert previous_records(out / "report.json") == {}
    assert run_cases(predictor, scans, out)[1] is ExitCode.DONE


def test_one_case_may_name_its_output(predictor, scans, tmp_path):
    target = tmp_path / "new" / "labels.nii.gz"
    _, code = run_cases(predictor, scans / "a.nii.gz", target)
    assert code is ExitCode.DONE
    assert target.exists()
    assert (tmp_path / "new" / "labels.nii.gz.report.json").exists()
    with pytest.raises(ValueError, match="3 cases need a folder"):
        run_cases(predictor, scans, tmp_path / "labels.nii.gz")


def test_j03_a_full_disk_ends_the_run_and_tears_nothing(predictor, scans, tmp_path, monkeypatch):
    out = tmp_path / "out"
    run_cases(predictor, scans / "a.nii.gz", out)
    good = (out / "a.nii.gz").read_bytes()
    writing = {"labels": False}
    original = run_module.run_case

    def marked(*arguments):
        writing["labels"] = True
        try:
            return original(*arguments)
        finally:
            writing["labels"] = False

    def full(operation):
        if writing["labels"] and operation == "write":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(run_module, "run_case", marked)
    monkeypatch.setattr(atomic, "failpoint", full)
    report, code = run_cases(predictor, scans, out)
    assert code is ExitCode.RESOURCES
    assert states(report) == {"a": "not started", "b": "not started", "c": "not started"} | {
        name: "failed" if name == "b" else "done" if name == "a" else "not started"
        for name in "abc"
    }
    assert (out / "a.nii.gz").read_bytes() == good
    assert sorted(path.name for path in out.iterdir()) == ["a.nii.gz", "report.json"]


def test_a_signal_stops_with_a_whole_report_and_a_rerun_finishes(predictor, scans, tmp_path):
    calls = []

    class Interrupted(Wrapped):
        def predict(self, image, **options):
            calls.append(image)
            if len(calls) == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            return predictor.predict(image, **options)

    out = tmp_path / "out"
    before = signal.getsignal(signal.SIGTERM)
    report, code = run_cases(Interrupted(predictor), scans, out)
    assert code is ExitCode.STOPPED
    assert states(report) == {"a": "done", "b": "not started", "c": "not started"}
    assert signal.getsignal(signal.SIGTERM) is before
    finished, code = run_cases(predictor, scans, out)
    assert code is ExitCode.DONE
    assert [finished.cases[name].kept for name in "abc"] == [True, False, False]


def test_a_case_that_exceeds_the_budget_is_a_lack_of_resources(predictor, scans, tmp_path):
    small = replace(predictor, memory_mib=10)
    report, code = run_cases(small, scans, tmp_path / "out")
    assert code is ExitCode.RESOURCES
    assert "give at least" in report.cases["a"].error["rule"]


def test_an_output_that_would_replace_an_input_is_refused(predictor, scans):
    before = {path.name: path.read_bytes() for path in scans.iterdir()}
    for source, output in ((scans, scans), (scans / "a.nii.gz", scans / "a.nii.gz")):
        with pytest.raises(ValueError, match="would overwrite this input"):
            run_cases(predictor, source, output)
    assert {path.name: path.read_bytes() for path in scans.iterdir()} == before


def test_an_unforeseen_error_costs_one_case_and_is_recorded_as_a_bug(predictor, scans, tmp_path):
    calls = []

    class Faulty(Wrapped):
        def predict(self, image, **options):
            calls.append(image)
            if len(calls) == 2:
                raise ZeroDivisionError("division by zero")
            return predictor.predict(image, **options)

    report, code = run_cases(Faulty(predictor), scans, tmp_path / "out")
    assert code is ExitCode.SOME_FAILED
    assert states(report) == {"a": "done", "b": "failed", "c": "done"}
    assert report.cases["b"].error["kind"] == "bug"


class StopsAt(Wrapped):
    """A predictor during whose n-th case a signal arrives."""

    def __init__(self, predictor, case, number=signal.SIGTERM):
        super().__init__(predictor)
        self._left, self._number = case, number

    def predict(self, image, **options):
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), self._number)
        return self._predictor.predict(image, **options)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_j13_j14_a_stopped_rerun_forgets_nothing_that_was_done(predictor, scans, tmp_path, number):
    out = tmp_path / "out"
    run_cases(predictor, scans, out)
    first = {name: (out / f"{name}.nii.gz").read_bytes() for name in "abc"}
    (out / "a.nii.gz").write_bytes(b"torn")
    report, code = run_cases(StopsAt(predictor, 1, number), scans, out)
    assert code is ExitCode.STOPPED
    assert set(states(report).values()) == {"not started"}
    finished, code = run_cases(predictor, scans, out)
    assert code is ExitCode.DONE
    assert [finished.cases[name].kept for name in "abc"] == [False, True, True]
    assert finished.cases["b"].output == "b.nii.gz"
    assert {name: (out / f"{name}.nii.gz").read_bytes() for name in "abc"} == first


def test_a_failure_leaves_no_word_of_an_earlier_success(predictor, scans, tmp_path):
    run_cases(predictor, scans, tmp_path / "out")
    (scans / "a.nii.gz").write_bytes(b"torn")
    report, code = run_cases(predictor, scans, tmp_path / "out")
    assert code is ExitCode.SOME_FAILED
    failed = report.cases["a"]
    assert (failed.state, failed.output, failed.key, failed.notes) == ("failed", "", "", ())
    assert "a" not in previous_records(tmp_path / "out" / "report.json")


class RunsOut(Wrapped):
    def __init__(self, predictor, error):
        super().__init__(predictor)
        self._error = error

    def predict(self, image, **options):
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["device", "host"],
)
def test_j09_exhausted_memory_is_a_lack_of_resources(predictor, scans, tmp_path, error):
    report, code = run_cases(RunsOut(predictor, error), scans / "a.nii.gz", tmp_path / "out")
    assert code is ExitCode.RESOURCES
    record = report.cases["a"].error
    assert record["kind"] == "resources"
    assert "memory is exhausted" in record["rule"]


def test_torch_still_words_exhausted_host_memory_that_way():
    with pytest.raises(RuntimeError, match="DefaultCPUAllocator"):
        torch.empty(2**60, dtype=torch.uint8)


@pytest.mark.parametrize("output", ["out", "labels.nii.gz"])
@pytest.mark.parametrize("source", ["patients/one", "patients"])
def test_labels_are_not_written_into_a_dicom_input(predictor, tmp_path, source, output):
    folder = tmp_path / "patients" / "one"
    folder.mkdir(parents=True)
    (folder / "IMG1").write_bytes(b"DICM")
    with pytest.raises(ValueError, match="lies in the DICOM input"):
        run_cases(predictor, tmp_path / source, tmp_path / source / output)
    found = sorted(path.name for path in (tmp_path / "patients").rglob("*"))
    assert found == ["IMG1", "one"]
