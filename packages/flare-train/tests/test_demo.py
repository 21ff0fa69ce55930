import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flare_io.files import read_label_map, read_volume, write_label_map, write_volume
from flare_io.geometry import Geometry
from flare_io.volume import Volume
from flare_train.cli import main
from flare_train.demo.inputs import find_ct, looks_like_labels
from flare_train.demo.run import SMALLEST_DSC


@pytest.fixture(scope="module")
def ct_folder(tmp_path_factory):
    """Return a folder with one CT in unusual axes, and things that are none."""
    folder = tmp_path_factory.mktemp("ct")
    rng = np.random.default_rng(0)
    hu = rng.normal(0, 100, (30, 40, 35)).astype(np.int16)
    grid = Geometry((5.0, 4.0, 4.5), direction=((0, 1, 0), (-1, 0, 0), (0, 0, 1)))
    write_volume(Volume(hu, grid), folder / "patient_7.nii.gz")
    labels = Volume((hu > 100).astype(np.uint8), grid)
    write_label_map(labels, folder / "patient_7_organs.nii.gz")
    write_label_map(labels, folder / "something.nii.gz")
    (folder / "damaged.nii.gz").write_bytes(b"\x1f\x8b nothing")
    (folder / "notes.txt").write_text("not a volume")
    (folder / "empty").mkdir()
    return folder


@pytest.fixture(scope="module")
def demo(tmp_path_factory, ct_folder):
    folder = tmp_path_factory.mktemp("demo")
    words = ["demo", "-o", str(folder), "--scale", "unit", "--ct", str(ct_folder)]
    assert main(words) == 0
    return folder


def stage_file(folder, stage, name):
    """Return a file of a stage, whatever its key."""
    (found,) = folder.glob(f"stages/{stage}/*/{name}")
    return found


def test_report_and_scores(demo):
    report = json.loads((demo / "report.json").read_text())
    assert report["scale"] == "unit"
    assert 0 < report["mean_organ_dsc"] <= 1
    assert set(report["heldout"]["labels"]) == {"liver", "kidneys", "spleen", "stomach", "tumor"}
    with open(stage_file(demo, "scored", "scores/cases.csv"), newline="") as file:
        assert len(list(csv.reader(file))) >= 1 + 2
    text = (demo / "report.txt").read_text()
    places = [line.split()[-1] for line in text.split("here lie")[1].splitlines() if line]
    assert len(places) == 8
    assert all(Path(place).exists() for place in places)


def test_label_maps_lie_on_the_input_grid(demo, ct_folder):
    predicted = read_label_map(demo / "predictions" / "ct" / "patient_7.nii.gz")
    image = read_volume(ct_folder / "patient_7.nii.gz")
    assert predicted.shape == image.shape
    np.testing.assert_allclose(
        predicted.geometry.world_from_index((3, 4, 5)), image.geometry.world_from_index((3, 4, 5))
    )


def test_every_case_has_a_picture(demo):
    names = sorted(path.name for path in (demo / "pictures").rglob("*.png"))
    assert names == ["heldout_0000.png", "heldout_0001.png", "patient_7.png"]
    for path in (demo / "pictures").rglob("*.png"):
        with Image.open(path) as picture:
            assert min(picture.size) > 200


def test_what_is_no_ct_is_listed_with_its_reason(demo, ct_folder):
    refused = json.loads((demo / "report.json").read_text())["refused"]
    reasons = {name.rpartition("/")[2]: reason for name, reason in refused.items()}
    assert set(reasons) == {
        "patient_7_organs.nii.gz",
        "something.nii.gz",
        "damaged.nii.gz",
        "empty",
    }
    assert reasons["patient_7_organs.nii.gz"] == "label map, by its name"
    assert reasons["something.nii.gz"] == "label map: few small whole numbers"
    assert "DICOM" in reasons["empty"]


def times_of(folder):
    return {
        path: path.stat().st_mtime_ns
        for path in folder.rglob("*")
        if path.suffix in (".gz", ".png", ".safetensors", ".b2nd") and path.is_file()
    }


def test_second_call_does_nothing_again(demo, ct_folder, capsys):
    before = times_of(demo)
    words = ["demo", "-o", str(demo), "--scale", "unit", "--ct", str(ct_folder), "--json"]
    assert main(words) == 0
    assert times_of(demo) == before
    assert json.loads(capsys.readouterr().out)["scale"] == "unit"


def test_second_call_makes_what_is_missing(demo, ct_folder, tmp_path):
    folder = tmp_path / "demo"
    shutil.copytree(demo, folder)
    gone = [folder / "pictures/ct/patient_7.png", folder / "model/model.json"]
    # A stage whose last file is missing is not done.
    result = stage_file(folder, "predicted", "stage.json")
    gone.append(stage_file(folder, "predicted", "labels/heldout_0001.nii.gz"))
    contents = [path.read_bytes() for path in gone]
    for path in (*gone, result):
        path.unlink()
    assert main(["demo", "-o", str(folder), "--scale", "unit", "--ct", str(ct_folder)]) == 0
    assert [path.read_bytes() for path in gone] == contents
    assert result.exists()


def test_another_demo_does_not_overwrite_this_one(demo, capsys):
    assert main(["demo", "-o", str(demo), "--scale", "unit", "--seed", "5"]) == 2
    assert "holds a demo of scale unit and seed 0" in capsys.readouterr().err


def test_missing_ct_folder_is_refused_before_any_work(tmp_path, capsys):
    words = ["demo", "-o", str(tmp_path / "d"), "--scale", "unit", "--ct", str(tmp_path / "no")]
    assert main(words) == 2
    assert "--ct must name a folder" in capsys.readouterr().err
    assert not (tmp_path / "d").exists()


def test_too_low_a_dsc_is_a_failure(demo, monkeypatch, capsys):
    monkeypatch.setitem(SMALLEST_DSC, "unit", 0.999)
    assert main(["demo", "-o", str(demo), "--scale", "unit"]) == 4
    error = capsys.readouterr().err
    assert "mean organ DSC on the held-out phantoms must be > 0.999, found 0." in error


def test_ct_in_a_folder(ct_folder):
    assert find_ct(ct_folder).ct == {"patient_7": ct_folder / "patient_7.nii.gz"}


@pytest.mark.parametrize(
    ("array", "labels"),
    [
        (np.zeros((2, 2, 2)), True),
        (np.arange(8).reshape(2, 2, 2), True),
        (np.arange(8).reshape(2, 2, 2) / 2, False),
        (np.arange(64).reshape(4, 4, 4), False),
        (np.arange(8).reshape(2, 2, 2) + 1, False),
        (np.arange(8).reshape(2, 2, 2) - 4, False),
    ],
    ids=["empty", "organs", "fractions", "many", "no background", "negative"],
)
def test_content_of_label_maps(array, labels):
    assert looks_like_labels(Volume(array, Geometry((1.0, 1.0, 1.0)))) is labels
