"""A run in which files are read and written while the network works."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from flare_infer import case_input
from flare_infer.cli import main
from flare_infer.label_writer import LabelWriter
from flare_infer.model import write_model
from flare_infer.predictor import Predictor
from flare_infer.run import run_cases
from flare_infer.spec import Components
from flare_io import atomic
from flare_io.command import ExitCode
from flare_io.files import read_volume, write_label_map, write_volume
from flare_io.geometry import Geometry

from .conftest import random_weights

# Runs the command and kills it when the first slab of case b has been written.
KILLED_COMMAND = """
import os, signal, sys, time
from flare_infer.cli import main
from flare_infer.label_writer import LabelWriter
from flare_io import atomic

def kill(operation):
    if operation == "write":
        os.kill(os.getpid(), signal.SIGKILL)

put = LabelWriter.put

def put_and_wait(self, place, labels):
    if self._path.name == "b.nii.gz":
        atomic.failpoint = kill
    put(self, place, labels)
    while self._path.name == "b.nii.gz":
        time.sleep(1)

LabelWriter.put = put_and_wait
main()
"""


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


@pytest.fixture
def reads(monkeypatch):
    """Names of what is read, in order, each with whether it was read ahead."""
    found, whole = [], case_input.read_channels

    def read_channels(paths, *arguments):
        ahead = threading.current_thread() is not threading.main_thread()
        found.append((paths[0].name[0], ahead))
        return whole(paths, *arguments)

    monkeypatch.setattr(case_input, "read_channels", read_channels)
    return found


def states(report):
    return [record.state for record in report.cases.values()]


def threads_left():
    return [each.name for each in threading.enumerate() if each.name.startswith("flare-infer")]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".mha"])
def test_labels_are_written_as_if_they_had_been_whole(predictor, scans, tmp_path, suffix):
    image = read_volume(scans / "a.nii.gz")
    write_label_map(predictor.predict(image), tmp_path / f"whole{suffix}")
    _, code = run_cases(predictor, scans / "a.nii.gz", tmp_path / f"labels{suffix}")
    assert code is ExitCode.DONE
    written = (tmp_path / f"labels{suffix}").read_bytes()
    assert written == (tmp_path / f"whole{suffix}").read_bytes()
    assert run_cases(predictor, scans / "a.nii.gz", tmp_path / f"labels{suffix}")[0].cases["a"].kept


@pytest.mark.parametrize("kind", ["upside down", "components", "cropped"])
def test_labels_in_another_order_are_written_the_same(spec, ct, tmp_path, kind, monkeypatch):
    if kind == "components":
        spec = replace(spec, components=Components(min_share=0.5, min_mm3=5000.0))
    if kind == "cropped":
        spec = replace(spec, preprocessing=replace(spec.preprocessing, crop="nonzero"))
        array = ct.array.copy()
        array[:3], array[:, 25:], array[:, :, :4] = 0, 0, 0
        ct = ct.with_array(array)
    if kind == "upside down":
        down = Geometry((5.0, 1.5, 1.5), direction=((-1, 0, 0), (0, 1, 0), (0, 0, 1)))
        ct = replace(ct, geometry=down)
    along = []
    put = LabelWriter.put

    def seen(self, place, labels):
        along.append(self._along)
        put(self, place, labels)

    monkeypatch.setattr(LabelWriter, "put", seen)
    write_model(tmp_path / "other", spec, [random_weights(spec.net)])
    predictor = Predictor.load(tmp_path / "other", device="cpu")
    write_volume(ct, tmp_path / "a.nii.gz")
    write_label_map(predictor.predict(ct), tmp_path / "whole.nii.gz")
    _, code = run_cases(predictor, tmp_path / "a.nii.gz", tmp_path / "labels.nii.gz")
    assert code is ExitCode.DONE
    assert (tmp_path / "labels.nii.gz").read_bytes() == (tmp_path / "whole.nii.gz").read_bytes()
    assert set(along) == {kind != "upside down"}


def test_the_next_case_is_read_while_one_is_predicted(predictor, scans, tmp_path, reads):
    assert run_cases(predictor, scans, tmp_path / "out")[1] is ExitCode.DONE
    assert reads == [("a", False), ("b", True), ("c", True)]
    assert threads_left() == []


def test_a_budget_for_one_volume_reads_one_by_one_to_the_same_labels(
    predictor, scans, tmp_path, reads
):
    run_cases(predictor, scans, tmp_path / "free")
    image = read_volume(scans / "a.nii.gz")
    plan = predictor.explain(image.shape, spacing_mm=image.geometry.spacing_mm, measure=False)
    reads.clear()
    tight = replace(predictor, memory_mib=plan.peak_mib)
    _, code = run_cases(tight, scans, tmp_path / "tight")
    assert code is ExitCode.DONE
    assert reads == [("a", False), ("b", False), ("c", False)]
    for name in ("a.nii.gz", "b.nii.gz", "c.nii.gz"):
        assert (tmp_path / "tight" / name).read_bytes() == (tmp_path / "free" / name).read_bytes()
    reads.clear()
    run_cases(replace(predictor, memory_mib=plan.peak_mib + 1), scans, tmp_path / "roomy")
    assert reads == [("a", False), ("b", True), ("c", True)]


def test_a_broken_next_case_costs_only_itself(predictor, scans, tmp_path, reads):
    data = (scans / "b.nii.gz").read_bytes()
    (scans / "b.nii.gz").write_bytes(data[: len(data) // 2])
    report, code = run_cases(predictor, scans, tmp_path / "out")
    assert code is ExitCode.SOME_FAILED
    assert states(report) == ["done", "failed", "done"]
    assert report.cases["b"].error["kind"] == "truncated"
    assert report.cases["b"].error["source"] == str(scans / "b.nii.gz")
    # Tried again in its turn; behind it there is no case to read beside.
    assert reads == [("a", False), ("b", True), ("b", False), ("c", False)]


def test_memory_that_lacks_beside_another_case_only_is_no_error(
    predictor, scans, tmp_path, monkeypatch
):
    whole = case_input.read_channels

    def read_channels(paths, *arguments):
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("not for two")
        return whole(paths, *arguments)

    monkeypatch.setattr(case_input, "read_channels", read_channels)
    assert run_cases(predictor, scans, tmp_path / "out")[1] is ExitCode.DONE


def act_at_slab(monkeypatch, name, act):
    """Do something as soon as the file of a case is being written."""
    put = LabelWriter.put

    def put_and_act(self, place, labels):
        put(self, place, labels)
        if self._path.name == name:
            while not list(self._path.parent.glob(f".*.partial.{name}")):
                time.sleep(0.01)
            act()

    monkeypatch.setattr(LabelWriter, "put", put_and_act)


def fail():
    raise ZeroDivisionError("division by zero")


def test_a_fault_of_the_network_leaves_no_half_file(predictor, scans, tmp_path, monkeypatch):
    act_at_slab(monkeypatch, "b.nii.gz", fail)
    report, code = run_cases(predictor, scans, tmp_path / "out")
    assert code is ExitCode.SOME_FAILED
    assert states(report) == ["done", "failed", "done"]
    assert report.cases["b"].error["kind"] == "bug"
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a.nii.gz", "c.nii.gz", "report.json"]
    assert threads_left() == []


def test_a_signal_while_labels_are_written_leaves_no_half_file(
    predictor, scans, tmp_path, monkeypatch
):
    image = read_volume(scans / "b.nii.gz")
    # Long, so that windows come behind the first slab.
    long = replace(image, array=np.concatenate([image.array] * 3))
    write_volume(long, scans / "b.nii.gz")
    act_at_slab(monkeypatch, "b.nii.gz", lambda: os.kill(os.getpid(), signal.SIGTERM))
    report, code = run_cases(predictor, scans, tmp_path / "out")
    assert code is ExitCode.STOPPED
    assert states(report) == ["done", "not started", "not started"]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a.nii.gz", "report.json"]
    assert threads_left() == []


def test_a_full_disk_found_by_the_writer_ends_the_run(predictor, scans, tmp_path, monkeypatch):
    writing = threading.local()
    write = LabelWriter._write

    def marked(self):
        writing.labels = self._path.name == "b.nii.gz"
        return write(self)

    def full(operation):
        if operation == "write" and getattr(writing, "labels", False):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(LabelWriter, "_write", marked)
    monkeypatch.setattr(atomic, "failpoint", full)
    report, code = run_cases(predictor, scans, tmp_path / "out")
    assert code is ExitCode.RESOURCES
    assert states(report) == ["done", "failed", "not started"]
    assert "No space left" in report.cases["b"].error["rule"]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a.nii.gz", "report.json"]


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
def test_a_kill_while_labels_are_written_leaves_no_half_file(model_folder, scans, tmp_path):
    out = tmp_path / "out"
    arguments = ["run", "-m", str(model_folder), "-i", str(scans), "-o", str(out)]
    arguments += ["--device", "cpu"]
    done = subprocess.run([sys.executable, "-c", KILLED_COMMAND, *arguments], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    names = sorted(path.name for path in out.iterdir() if ".partial." not in path.name)
    assert names == ["a.nii.gz", "report.json"]
    assert main(arguments) == 0
    records = json.loads((out / "report.json").read_text())["cases"]
    assert [record["kept"] for record in records] == [True, False, False]
    names = sorted(path.name for path in out.iterdir())
    assert names == ["a.nii.gz", "b.nii.gz", "c.nii.gz", "report.json"]
