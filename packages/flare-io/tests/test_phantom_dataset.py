"""The phantom as a folder: complete, honest about K, resumable, and no other's."""

import json

import numpy as np
import pytest

from flare_io.dataset import check_dataset, read_dataset
from flare_io.errors import DatasetError
from flare_io.files import read_label_map, read_volume
from flare_io.phantom import ErrorModel, draw_phantom, write_phantom_dataset


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("sets") / "phantom"
    return write_phantom_dataset(root, preset="unit", cases=5, test_cases=2, seed=1)


def stamps(root):
    return {path: path.stat().st_mtime_ns for path in root.rglob("*.nii.gz")}


def test_folder_is_a_perfect_dataset(folder):
    errors = [p.describe() for p in check_dataset(folder) if p.severity == "error"]
    assert errors == []
    dataset = read_dataset(folder)
    assert [case.id for case in dataset.train] == [f"phantom_{k:04d}" for k in range(5)]
    assert [case.id for case in dataset.test] == ["heldout_0000", "heldout_0001"]
    assert dataset.table.ids == (1, 2, 3, 11, 14)
    assert dataset.table.name_of(2) == "kidneys"


def test_cases_state_k_and_source(folder):
    dataset = read_dataset(folder)
    assert dataset.case("phantom_0000").annotated == {1, 2, 3, 11}
    assert dataset.case("phantom_0002").annotated == {1, 14}
    assert dataset.case("phantom_0002").source == "C1"
    assert dataset.case("heldout_0000").annotated == {1, 2, 3, 11, 14}
    unlabeled = dataset.case("phantom_0001")
    assert unlabeled.label is None
    assert unlabeled.annotated is None
    assert set(unlabeled.pseudo_labels) == {"A", "B"}


def test_files_hold_what_is_drawn(folder):
    case = read_dataset(folder).case("phantom_0002")
    drawn = draw_phantom(seed=1, index=2, preset="unit")
    image = read_volume(case.image[0])
    np.testing.assert_array_equal(image.array, drawn.image.array)
    assert image.array.dtype == np.int16
    np.testing.assert_allclose(image.geometry.affine, drawn.image.geometry.affine, atol=1e-4)
    pairs = {case.label: drawn.partial, case.reference: drawn.truth}
    pairs |= {case.pseudo_labels[name]: drawn.pseudo[name] for name in "AB"}
    for path, volume in pairs.items():
        np.testing.assert_array_equal(read_label_map(path).array, volume.array)


def test_held_out_labels_are_the_truth(folder):
    case = read_dataset(folder).case("heldout_0001")
    drawn = draw_phantom(seed=1, index=1_000_001, preset="unit")
    np.testing.assert_array_equal(read_label_map(case.label).array, drawn.truth.array)


def test_manifest_keeps_the_log(folder):
    manifest = json.loads((folder / "dataset.json").read_text())
    row = manifest["flare"]["cases"]["phantom_0003"]
    assert {"K", "K_truth", "spacing_mm", "tumors", "phase", "errors", "source"} <= set(row)
    assert set(row["errors"]) == {"A", "B"}
    assert manifest["flare"]["phantom"]["preset"] == "unit"
    assert manifest["numTraining"] == 3


def test_complete_cases_are_not_drawn_again(folder):
    before = stamps(folder)
    manifest = (folder / "dataset.json").read_bytes()
    done = []
    write_phantom_dataset(
        folder,
        preset="unit",
        cases=5,
        test_cases=2,
        seed=1,
        progress=lambda case, k, n: done.append((case, k, n)),
    )
    assert stamps(folder) == before
    assert (folder / "dataset.json").read_bytes() == manifest
    assert done[0] == ("phantom_0000", 1, 7)
    assert done[-1] == ("heldout_0001", 7, 7)


def test_stopped_run_goes_on(tmp_path):
    def stop(case, done, total):
        if done == 2:
            raise KeyboardInterrupt

    settings = {"preset": "unit", "cases": 3, "test_cases": 1, "seed": 2}
    with pytest.raises(KeyboardInterrupt):
        write_phantom_dataset(tmp_path / "a", **settings, progress=stop)
    assert not (tmp_path / "a/dataset.json").exists()
    kept = stamps(tmp_path / "a")
    write_phantom_dataset(tmp_path / "a", **settings)
    whole = write_phantom_dataset(tmp_path / "b", **settings)
    assert kept.items() <= stamps(tmp_path / "a").items()
    files = [p.relative_to(whole) for p in whole.rglob("*") if p.is_file()]
    assert len(files) == len([p for p in (tmp_path / "a").rglob("*") if p.is_file()])
    for name in files:
        assert (tmp_path / "a" / name).read_bytes() == (whole / name).read_bytes()


def test_damaged_case_is_drawn_again(tmp_path):
    root = write_phantom_dataset(tmp_path / "a", preset="unit", cases=2, test_cases=0)
    path = root / "pseudoA/phantom_0001.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    write_phantom_dataset(root, preset="unit", cases=2, test_cases=0)
    assert path.read_bytes() == whole


def test_other_settings_replace_the_cases(tmp_path):
    root = write_phantom_dataset(tmp_path / "a", preset="unit", cases=3, test_cases=1, seed=0)
    image = (root / "imagesTr/phantom_0000_0000.nii.gz").read_bytes()
    write_phantom_dataset(root, preset="unit", cases=1, test_cases=1, seed=4)
    assert (root / "imagesTr/phantom_0000_0000.nii.gz").read_bytes() != image
    assert [case.id for case in read_dataset(root).train] == ["phantom_0000"]
    assert [p for p in check_dataset(root) if p.severity == "error"] == []


def test_processes_write_the_same_bytes(tmp_path):
    settings = {"preset": "unit", "cases": 2, "test_cases": 1, "errors": ErrorModel(omission=0.5)}
    one = write_phantom_dataset(tmp_path / "one", **settings)
    two = write_phantom_dataset(tmp_path / "two", **settings, jobs=2)
    for path in one.rglob("*.*"):
        assert path.read_bytes() == (two / path.relative_to(one)).read_bytes()


def test_foreign_folders_are_left_alone(tmp_path):
    (tmp_path / "imagesTr").mkdir()
    (tmp_path / "imagesTr/phantom_0000_0000.nii.gz").write_bytes(b"precious")
    with pytest.raises(DatasetError, match="holds a dataset that is no phantom; choose an empty"):
        write_phantom_dataset(tmp_path, preset="unit", cases=1)
    (tmp_path / "records").mkdir()
    (tmp_path / "dataset.json").write_text('{"labels": {"liver": 1}}')
    with pytest.raises(DatasetError, match="no phantom"):
        write_phantom_dataset(tmp_path, preset="unit", cases=1)
    assert (tmp_path / "imagesTr/phantom_0000_0000.nii.gz").read_bytes() == b"precious"


@pytest.mark.parametrize("wrong", [{"cases": -1}, {"test_cases": -1}, {"jobs": 0}])
def test_wrong_numbers(tmp_path, wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        write_phantom_dataset(tmp_path / "a", preset="unit", **wrong)
    assert not (tmp_path / "a").exists()


def test_held_out_cases_follow_the_training_cases(tmp_path):
    root = write_phantom_dataset(tmp_path / "a", preset="unit", cases=3)
    dataset = read_dataset(root)
    assert (len(dataset.train), len(dataset.test)) == (3, 1)
