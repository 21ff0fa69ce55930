"""A folder of cases in four formats, three of them broken, by the command and through a kill."""

import json
import signal
import subprocess
import sys

import numpy as np
import pytest
import SimpleITK

from flare_infer import case_input
from flare_infer.backends.warm import WarmNets
from flare_infer.cli import main
from flare_infer.predictor import Predictor
from flare_io.files import read_label_map, read_volume, write_volume

KINDS = (".nii.gz", ".nii", ".mha", "")
CASES = tuple(f"case{number:02d}" for number in range(20))
BROKEN = ("case05", "case10", "case15")
KILLED = "case12"

# Runs the command and kills it while it is busy with one case.
KILLED_COMMAND = f"""
import os, signal, sys
from flare_infer import run
from flare_infer.cli import main
from flare_infer.predictor import Predictor
from flare_io import atomic

place, one_case, whole = sys.argv.pop(1), run.run_case, Predictor.predict
present = []

def run_case(record, *arguments):
    present[:] = [record.id]
    return one_case(record, *arguments)

def kill(operation="rename"):
    if operation == "rename":
        os.kill(os.getpid(), signal.SIGKILL)

def predict(self, image, **options):
    if present == [{KILLED!r}]:
        if place == "write":
            atomic.failpoint = kill
        else:
            options["on_window"] = kill
    return whole(self, image, **options)

Predictor.predict, run.run_case = predict, run_case
main()
"""


def write_series(volume, folder, *, without=()):
    """A DICOM series folder of a volume whose axes run as DICOM's do."""
    folder.mkdir()
    writer = SimpleITK.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    spacing_mm, origin = volume.geometry.spacing_mm, volume.geometry.origin
    for k, plane in enumerate(volume.array):
        if k in without:
            continue
        image = SimpleITK.GetImageFromArray(plane[None].astype(np.int16))
        image.SetSpacing(spacing_mm[::-1])
        position = (origin[2], origin[1], origin[0] + k * spacing_mm[0])
        tags = {
            "0008|0018": f"1.2.826.0.1.3680043.2.1125.{k + 1}",
            "0008|0060": "CT",
            "0020|000e": "1.2.826.0.1.3680043.2.1125",
            "0020|0013": str(k + 1),
            "0020|0032": "\\".join(map(str, position)),
            "0020|0037": "1\\0\\0\\0\\1\\0",
            "0028|1052": "0",
            "0028|1053": "1",
        }
        for tag, value in tags.items():
            image.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"{k:03d}.dcm"))
        writer.Execute(image)


@pytest.fixture
def folder(tmp_path, ct):
    """Twenty cases that differ, in turn in each format; three cannot be read."""
    root = tmp_path / "scans"
    root.mkdir()
    for number, name in enumerate(CASES):
        volume, kind = ct.with_array(ct.array + number), KINDS[number % 4]
        if kind:
            write_volume(volume, root / f"{name}{kind}")
        else:
            write_series(volume, root / name, without=(5,) if name in BROKEN else ())
    (root / "case05.nii").write_bytes(b"")
    (root / "case10.mha").write_bytes(b"<!DOCTYPE html><html>Not found</html>")
    return root


def command(model_folder, folder, out):
    return ["run", "-m", str(model_folder), "-i", str(folder), "-o", str(out), "--device", "cpu"]


def records(out):
    cases = json.loads((out / "report.json").read_text())["cases"]
    return {case["id"]: case for case in cases}


def names_in(out):
    return sorted(path.name for path in out.iterdir())


def test_one_command_and_one_load_give_seventeen_results(
    model_folder, folder, tmp_path, monkeypatch, capsys
):
    loads = []
    load = WarmNets._load

    def counted(*arguments):
        loads.append(arguments)
        return load(*arguments)

    monkeypatch.setattr(WarmNets, "_load", counted)
    out = tmp_path / "out"
    # 4: some cases failed.
    assert main(command(model_folder, folder, out)) == 4
    assert len(loads) == 1
    good = [name for name in CASES if name not in BROKEN]
    assert len(good) == 17
    assert names_in(out) == [*(f"{name}.nii.gz" for name in good), "report.json"]
    found = records(out)
    assert tuple(found) == CASES
    assert {name: case["state"] for name, case in found.items()} == {
        name: "failed" if name in BROKEN else "done" for name in CASES
    }
    printed, told = capsys.readouterr()
    assert "17 done, 3 failed, 0 not started" in printed
    errors = [line for line in told.splitlines() if line.startswith("flare-infer: ")]
    assert [any(name in line for line in errors) for name in BROKEN] == [True] * 3
    assert len(errors) == 3
    predictor = Predictor.load(model_folder, device="cpu")
    for name, kind in zip(CASES[:4], KINDS, strict=True):
        image = read_volume(folder / f"{name}{kind}")
        labels = read_label_map(out / f"{name}.nii.gz")
        assert labels.geometry == image.geometry
        assert np.array_equal(labels.array, predictor.predict(image).array)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="the system has no SIGKILL")
@pytest.mark.parametrize("place", ["network", "write"])
def test_after_a_kill_the_same_command_finishes_and_redoes_nothing(
    model_folder, folder, tmp_path, monkeypatch, place
):
    out, arguments = tmp_path / "out", command(model_folder, folder, tmp_path / "out")
    done = subprocess.run(
        [sys.executable, "-c", KILLED_COMMAND, place, *arguments], capture_output=True, text=True
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    first = [name for name in CASES if name < KILLED and name not in BROKEN]
    assert len(first) == 10
    states = {name: case["state"] for name, case in records(out).items()}
    assert [name for name in CASES if states[name] == "done"] == first
    assert [name for name in CASES if states[name] == "failed"] == ["case05", "case10"]
    finished = {name: (out / f"{name}.nii.gz").stat().st_mtime_ns for name in first}
    # A label map that was being written has no final name yet.
    leftovers = [name for name in names_in(out) if name.endswith(f".partial.{KILLED}.nii.gz")]
    assert len(leftovers) == (1 if place == "write" else 0)
    assert not (out / f"{KILLED}.nii.gz").exists()

    asked = set()
    whole = case_input.read_channels

    def read_channels(paths, *arguments):
        asked.add(paths[0].name[: len(KILLED)])
        return whole(paths, *arguments)

    monkeypatch.setattr(case_input, "read_channels", read_channels)
    assert main(arguments) == 4
    # What failed is tried again, in case it was mended.
    assert sorted(asked) == ["case05", "case10", *CASES[12:]]
    assert [name for name, case in records(out).items() if case["kept"]] == first
    assert {name: (out / f"{name}.nii.gz").stat().st_mtime_ns for name in first} == finished
    assert main(command(model_folder, folder, tmp_path / "whole")) == 4
    assert names_in(out) == names_in(tmp_path / "whole")
    for name in CASES:
        if name not in BROKEN:
            label_map = f"{name}.nii.gz"
            expected = (tmp_path / "whole" / label_map).read_bytes()
            assert (out / label_map).read_bytes() == expected
