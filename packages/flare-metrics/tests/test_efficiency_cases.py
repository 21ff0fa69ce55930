"""Programs and containers run once for each case."""

import csv
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from flare_metrics.efficiency import CaseOptions, ContainerOptions, measure_cases, read_measurement
from flare_metrics.efficiency.case_run import _filled
from flare_metrics.efficiency.container import Container
from flare_metrics.errors import UnreadableFileError

linux = pytest.mark.skipif(not os.path.exists("/proc/self/stat"), reason="needs Linux's /proc")
OPTIONS = CaseOptions(team="us", gpu="none", interval_s=0.02)
# Copies its image; what else it does depends on the name of the case.
ENTRY = """
import os, shutil, sys, time
from pathlib import Path
inputs, outputs, case = sys.argv[1:]
assert os.listdir(inputs) == [case + "_0000.nii.gz"] and os.listdir(outputs) == []
time.sleep(0.06)
if case == "bad":
    print("no such organ\\n\\n  in here  ")
    raise SystemExit(9)
if case == "slow":
    time.sleep(60)
if case == "dead":
    os.kill(os.getpid(), 11)
if case == "link":
    os.symlink("/etc/hostname", Path(outputs) / "link.nii.gz")
elif case != "none":
    shutil.copy(Path(inputs) / f"{case}_0000.nii.gz", Path(outputs) / f"{case}.nii.gz")
(Path(inputs) / "left behind").write_text("")
"""
COMMAND = [sys.executable, "-c", ENTRY, "{input}", "{output}", "{case}"]


@pytest.fixture
def images(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()

    def make(*cases):
        for case in cases:
            (folder / f"{case}_0000.nii.gz").write_bytes(f"image of {case}".encode())
        return folder

    return make


def rows(folder, team="us"):
    with (folder / f"{team}_Efficiency.csv").open(newline="") as file:
        return {row["Name"]: row for row in csv.DictReader(file)}


def test_each_case_leaves_its_files(tmp_path, images):
    out = tmp_path / "out"
    source = images("b", "a")
    (source / "notes.txt").write_text("left out")
    results = measure_cases(source, out, program=COMMAND, options=OPTIONS)
    assert [(result.case, result.status, result.reason) for result in results] == [
        ("a", "measured", ""),
        ("b", "measured", ""),
    ]
    expected = {
        f"{case}{suffix}" for case in "ab" for suffix in (".nii.gz", ".json", ".svg", ".log")
    }
    assert {path.name for path in out.iterdir()} == {
        *expected,
        "us_Efficiency.csv",
        "measurements.json",
    }
    assert (out / "a.nii.gz").read_bytes() == b"image of a"
    assert read_measurement(out / "a.json") == results[0].measurement
    assert (out / "a.svg").read_text().startswith("<svg")


def test_the_table_has_the_names_of_the_challenge(tmp_path, images):
    out = tmp_path / "out"
    results = measure_cases(images("a"), out, program=COMMAND, options=OPTIONS)
    head = (out / "us_Efficiency.csv").read_text().splitlines()[0]
    assert head == (
        "Name,Time,MaxGPU_Mem,AUC_GPU_Time,MaxCPU_Utilization,AUC_CPU_Time,MaxRAM,AUC_RAM_Time"
    )
    row = rows(out)["a_0000.nii.gz"]
    official = results[0].measurement.official
    assert float(row["Time"]) == official.time_s
    assert float(row["MaxRAM"]) == official.max_ram_mib
    assert row["MaxGPU_Mem"] == row["AUC_GPU_Time"] == ""


def test_one_bad_case_costs_one_case(tmp_path, images):
    out = tmp_path / "out"
    options = CaseOptions(team="us", gpu="none", interval_s=0.02, timeout_s=1.0)
    source = images("a", "bad", "dead", "link", "none", "slow", "z")
    results = measure_cases(source, out, program=COMMAND, options=options)
    assert {result.case: (result.status, result.reason) for result in results} == {
        "a": ("measured", ""),
        "bad": ("failed", "exit code 9: in here"),
        "dead": ("failed", "killed by signal 11"),
        "link": ("failed", "no file link.nii.gz in the outputs"),
        "none": ("failed", "no file none.nii.gz in the outputs"),
        "slow": ("timed out", "stopped after 1 s"),
        "z": ("measured", ""),
    }
    assert sorted(path.name for path in out.glob("*.nii.gz")) == ["a.nii.gz", "z.nii.gz"]
    table = rows(out)
    assert len(table) == 7
    # The time of a run that failed is none to be ranked by.
    assert set(table["bad_0000.nii.gz"].values()) == {"bad_0000.nii.gz", ""}
    record = json.loads((out / "measurements.json").read_text())
    assert record["counts"] == {"measured": 2, "failed": 4, "timed out": 1}
    assert record["summary"]["time_s"]["n"] == 2
    assert record["summary"]["max_gpu_mib"] == {"n": 0, "mean": None, "median": None, "max": None}
    slow = next(row for row in record["cases"] if row["case"] == "slow")
    assert slow["measurement"]["time_s"] >= 1
    assert "samples" not in slow["measurement"]


def changed(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.glob("*.json")}


def test_a_rerun_skips_what_is_done(tmp_path, images):
    out = tmp_path / "out"
    source = images("a", "bad")
    first = measure_cases(source, out, program=COMMAND, options=OPTIONS)
    before = changed(out)
    second = measure_cases(source, out, program=COMMAND, options=OPTIONS)
    after = changed(out)
    assert second[0] == first[0]
    assert after["a.json"] == before["a.json"]
    assert after["bad.json"] != before["bad.json"]


@pytest.mark.parametrize("what", ["image", "segmentation", "record", "command", "again"])
def test_a_rerun_does_again_what_has_changed(tmp_path, images, what):
    out = tmp_path / "out"
    source = images("a")
    measure_cases(source, out, program=COMMAND, options=OPTIONS)
    before = changed(out)["a.json"]
    command, options = COMMAND, OPTIONS
    if what == "image":
        (source / "a_0000.nii.gz").write_bytes(b"another image")
    elif what == "segmentation":
        (out / "a.nii.gz").unlink()
    elif what == "record":
        (out / "a.json").write_text('{"status": "measured"}')
    elif what == "command":
        command = [COMMAND[0], "-X", "utf8", *COMMAND[1:]]
    else:
        options = CaseOptions(team="us", gpu="none", interval_s=0.02, again=True)
    results = measure_cases(source, out, program=command, options=options)
    assert results[0].status == "measured"
    assert changed(out)["a.json"] != before
    assert (out / "a.nii.gz").read_bytes() == (source / "a_0000.nii.gz").read_bytes()


def test_a_failing_rerun_does_not_keep_the_old_segmentation(tmp_path, images):
    out = tmp_path / "out"
    source = images("a")
    measure_cases(source, out, program=COMMAND, options=OPTIONS)
    failing = [sys.executable, "-c", "raise SystemExit(1)", "{input}{output}"]
    results = measure_cases(source, out, program=failing, options=OPTIONS)
    assert results[0].status == "failed"
    assert not (out / "a.nii.gz").exists()


def test_an_image_that_cannot_be_read_costs_its_case(tmp_path, images):
    source = images("a")
    (source / "b_0000.nii.gz").symlink_to(tmp_path / "gone")
    results = measure_cases(source, tmp_path / "out", program=COMMAND, options=OPTIONS)
    assert [result.status for result in results] == ["measured", "failed"]
    assert "b_0000.nii.gz: No such file" in results[1].reason
    assert rows(tmp_path / "out")["b_0000.nii.gz"]["Time"] == ""


def test_an_interruption_leaves_tables_and_no_working_folder(tmp_path, images):
    out = tmp_path / "out"
    source = images("a", "slow", "z")

    def interrupt():
        while not (out / "slow.log").exists():
            time.sleep(0.01)
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        measure_cases(source, out, program=COMMAND, options=OPTIONS)
    thread.join()
    cases = json.loads((out / "measurements.json").read_text())["cases"]
    assert [row["status"] for row in cases] == ["measured", "interrupted", "not started"]
    assert len(rows(out)) == 3
    assert not [path for path in out.iterdir() if path.name.startswith(".measure-")]


def test_arguments_are_checked(tmp_path, images):
    source = images("a")
    with pytest.raises(ValueError, match=r"command must hold \{input\} and \{output\}"):
        measure_cases(source, tmp_path / "o", program=["x", "{case}"], options=OPTIONS)
    with pytest.raises(ValueError, match="team must be a name without slashes, got 'a/b'"):
        CaseOptions(team="a/b")
    with pytest.raises(ValueError, match="image must be the name of an image, got '-v'"):
        ContainerOptions(image="-v")
    with pytest.raises(FileNotFoundError):
        measure_cases(tmp_path / "gone", tmp_path / "o", program=COMMAND, options=OPTIONS)
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / "a.nii.gz").write_text("")
    with pytest.raises(UnreadableFileError, match=r"named <case>_0000\.nii\.gz, found 1 other"):
        measure_cases(empty, tmp_path / "o", program=COMMAND, options=OPTIONS)
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        program = ["no-such-program", "{input}", "{output}"]
        measure_cases(source, tmp_path / "o", program=program, options=OPTIONS)
    with pytest.raises(ValueError, match="output must be another folder than that of the images"):
        measure_cases(source, source, program=COMMAND, options=OPTIONS)
    with pytest.raises(ValueError, match="no case can have the name 'measurements'"):
        measure_cases(images("measurements"), tmp_path / "o", program=COMMAND, options=OPTIONS)


def test_placeholders_in_names_are_no_placeholders():
    values = {"{input}": "/{case}/i", "{output}": "/o", "{case}": "{output}"}
    assert _filled("{input}:{output}:{case}:{other}", values) == "/{case}/i:/o:{output}:{other}"


@pytest.fixture
def docker(tmp_path, monkeypatch):
    """Put a `docker` on PATH; return the folder of its state."""
    state, programs = tmp_path / "state", tmp_path / "bin"
    state.mkdir()
    programs.mkdir()
    fake = Path(__file__).with_name("fake_docker.py")
    (programs / "docker").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{fake}" "$@"\n')
    (programs / "docker").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAKE_DOCKER", str(state))
    return state


def calls(state):
    return [json.loads(line) for line in (state / "calls").read_text().splitlines()]


def test_the_command_is_that_of_the_organizers():
    run = Container(
        ContainerOptions(image="team:latest", gpu="GPU-1"), Path("/i"), Path("/o"), name="n"
    )
    assert run.command() == [
        *("docker", "container", "run", "--rm", "--name", "n"),
        *("--memory", "28G", "--shm-size", "28gb", "--gpus", "device=GPU-1"),
        *("--volume", "/i:/workspace/inputs/", "--volume", "/o:/workspace/outputs/"),
        *("team:latest", "/bin/bash", "-c", "sh predict.sh"),
    ]
    assert "--gpus" not in Container(ContainerOptions(image="x"), Path("i"), Path("o")).command()


@linux
def test_a_container_is_measured_by_its_own_processes(tmp_path, images, docker):
    options = ContainerOptions(image="team/copy:1", memory="8G", shared_memory="1g")
    out = tmp_path / "out"
    result = measure_cases(images("a"), out, program=options, options=OPTIONS)[0]
    assert (result.status, result.reason) == ("measured", "")
    assert (out / "a.nii.gz").read_bytes() == b"image of a"
    # The client alone holds some 10 MiB, the container a block of 80.
    assert result.measurement.tree_ram_mib.peak > 85
    started = calls(docker)[0]
    assert started[started.index("--memory") + 1] == "8G"
    assert started[started.index("--shm-size") + 1] == "1g"
    assert ["inspect", "--format", "{{.State.Pid}}", started[4]] in calls(docker)


def test_a_container_that_fails_says_why(tmp_path, images, docker):
    options = ContainerOptions(image="team/fail")
    result = measure_cases(images("a"), tmp_path / "out", program=options, options=OPTIONS)[0]
    assert (result.status, result.reason) == ("failed", "exit code 3: CUDA out of memory")


def test_a_container_over_its_time_is_killed_and_removed(tmp_path, images, docker):
    case_options = CaseOptions(team="us", gpu="none", timeout_s=1.5)
    options = ContainerOptions(image="sleep")
    result = measure_cases(images("a"), tmp_path / "out", program=options, options=case_options)[0]
    assert result.status == "timed out"
    assert "rm" in [call[0] for call in calls(docker)]


def test_a_container_that_cannot_be_seen_is_noted(tmp_path, images, docker, monkeypatch):
    monkeypatch.setattr(Container, "watch", lambda self, found: None)
    options = ContainerOptions(image="copy")
    result = measure_cases(images("a"), tmp_path / "out", program=options, options=OPTIONS)[0]
    assert result.measurement.tree_ram_mib is None
    assert "the processes of the container cannot be seen" in str(result.measurement.notes)


def test_without_docker_nothing_starts(tmp_path, images):
    options = ContainerOptions(image="x", docker="no-such-docker")
    with pytest.raises(FileNotFoundError, match="no-such-docker"):
        measure_cases(images("a"), tmp_path / "out", program=options, options=OPTIONS)
