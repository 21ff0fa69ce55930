"""nnU-Net's raw folders, as their makers leave them, on the way to the store."""

import json

import numpy as np
import pytest

from flare_io.dataset import read_dataset
from flare_io.errors import DatasetError, GeometryError, LabelError, UnreadableVolumeError
from flare_io.files import write_label_map, write_volume
from flare_io.geometry import Geometry
from flare_io.intensity import Intensity
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume
from flare_train.cases import build_store
from flare_train.errors import TrainingDataError
from flare_train.store import read_stored_case
from flare_train.training_case import training_cases

CT = Intensity(scheme="ct", mean=0.0, std=100.0, low=-500.0, high=500.0)
GRID = Geometry((3.0, 1.0, 1.0))
LABELS = {"background": 0, "liver": 1, "tumor": 2}


def write_raw(root, *, ending=".nii.gz", channels=1, cases=("a", "b"), **changes):
    """Write two cases of 6 x 8 x 10 voxels: a block of 1 and a voxel of 2."""
    (root / "imagesTr").mkdir(parents=True)
    (root / "labelsTr").mkdir()
    rng = np.random.default_rng(0)
    labels = np.zeros((6, 8, 10), np.uint8)
    labels[1:4, 2:6, 3:7], labels[2, 3, 4] = 1, 2
    for case in cases:
        for channel in range(channels):
            image = rng.integers(-300, 300, labels.shape).astype(np.int16)
            image[image == 0] = 1
            write_volume(Volume(image, GRID), root / "imagesTr" / f"{case}_{channel:04d}{ending}")
        write_label_map(Volume(labels, GRID), root / "labelsTr" / f"{case}{ending}")
    manifest = {
        "channel_names": {str(k): "CT" for k in range(channels)},
        "labels": LABELS,
        "numTraining": len(cases),
        "file_ending": ending,
        **changes,
    }
    kept = {name: value for name, value in manifest.items() if value is not None}
    (root / "dataset.json").write_text(json.dumps(kept))
    return root


def stored(root, store, *, channels=1):
    """Bring all cases to the store and return them."""
    dataset = read_dataset(root)
    grid = Preprocessing(spacing_mm=GRID.spacing_mm, intensities=(CT,) * channels)
    ids = build_store(training_cases(dataset), grid, store, table=dataset.table)
    return [read_stored_case(store, id) for id in ids]


@pytest.mark.parametrize("ending", [".nii.gz", ".nii", ".nrrd", ".mha"])
def test_every_ending_that_nnunet_takes(tmp_path, ending):
    found = stored(write_raw(tmp_path / "raw", ending=ending), tmp_path / "store")
    assert [case.id for case in found] == ["a", "b"]
    # Without a word about K every case is annotated for all labels.
    assert all(case.annotated == {1, 2} for case in found)
    labels = np.asarray(found[0].labels[...])
    assert [int((labels == k).sum()) for k in (0, 1, 2)] == [480 - 48, 47, 1]


def test_the_form_of_nnunet_v1(tmp_path):
    root = write_raw(
        tmp_path / "raw",
        channel_names=None,
        modality={"0": "CT"},
        labels={"0": "background", "1": "liver", "2": "tumor"},
    )
    assert read_dataset(root).channels == ("CT",)
    assert stored(root, tmp_path / "store")[1].annotated == {1, 2}


def test_cases_listed_by_path(tmp_path):
    root = write_raw(tmp_path / "raw")
    listed = {
        "second": {"images": ["imagesTr/b_0000.nii.gz"], "label": "labelsTr/b.nii.gz"},
    }
    manifest = json.loads((root / "dataset.json").read_text())
    (root / "dataset.json").write_text(json.dumps({**manifest, "dataset": listed}))
    assert [case.id for case in stored(root, tmp_path / "store")] == ["second"]


def test_several_channels(tmp_path):
    root = write_raw(tmp_path / "raw", channels=2)
    (case, _) = stored(root, tmp_path / "store", channels=2)
    assert np.asarray(case.image[...]).shape == (2, 6, 8, 10)


def test_an_ignore_label_marks_voxels_without_statement(tmp_path):
    root = write_raw(tmp_path / "raw", labels={"background": 0, "liver": 1, "ignore": 2})
    (case, _) = stored(root, tmp_path / "store")
    assert case.annotated == {1}
    assert int((np.asarray(case.labels[...]) == 255).sum()) == 1


def test_a_label_that_is_not_in_the_table(tmp_path):
    root = write_raw(tmp_path / "raw", labels={"background": 0, "liver": 1})
    with pytest.raises(
        LabelError, match=r"labelsTr/[ab]\.nii\.gz: labels must be 0 or in the table"
    ):
        stored(root, tmp_path / "store")


def test_image_and_label_on_different_grids(tmp_path):
    root = write_raw(tmp_path / "raw")
    coarse = Volume(np.ones((3, 8, 10), np.uint8), Geometry((6.0, 1.0, 1.0)))
    write_label_map(coarse, root / "labelsTr" / "b.nii.gz")
    with pytest.raises(GeometryError, match=r"labelsTr/b\.nii\.gz: must lie on the image's grid"):
        stored(root, tmp_path / "store")


def test_channels_on_different_grids(tmp_path):
    root = write_raw(tmp_path / "raw", channels=2)
    shifted = Volume(np.ones((6, 8, 10), np.int16), Geometry((3.0, 1.0, 1.0), origin=(9, 0, 0)))
    write_volume(shifted, root / "imagesTr" / "b_0001.nii.gz")
    with pytest.raises(GeometryError, match=r"b_0001\.nii\.gz: must lie on the image's grid"):
        stored(root, tmp_path / "store", channels=2)


def test_a_channel_that_lacks(tmp_path):
    root = write_raw(tmp_path / "raw", channels=2)
    (root / "imagesTr" / "b_0001.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"case 'b': lacks the image of channel 0001"):
        read_dataset(root)


def test_a_label_without_image_and_an_image_without_number(tmp_path):
    root = write_raw(tmp_path / "raw")
    (root / "imagesTr" / "b_0000.nii.gz").rename(root / "imagesTr" / "b.nii.gz")
    with pytest.raises(DatasetError, match=r"must end in the channel number _0000"):
        read_dataset(root)
    (root / "imagesTr" / "b.nii.gz").unlink()
    with pytest.raises(DatasetError, match=r"b\.nii\.gz: label has no image.*b_0000"):
        read_dataset(root)


def test_no_labels_at_all(tmp_path):
    root = write_raw(tmp_path / "raw")
    for path in (root / "labelsTr").iterdir():
        path.unlink()
    with pytest.raises(TrainingDataError, match="holds no label map of any training case"):
        training_cases(read_dataset(root))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "labels must map names to ids"),
        ({"labels": ["liver"]}, "labels must map names to ids"),
        ({"labels": {"background": 0, "liver": -1}}, "labels must map names to ids"),
    ],
)
def test_a_manifest_whose_labels_are_none(tmp_path, changes, message):
    root = write_raw(tmp_path / "raw", **changes)
    with pytest.raises(DatasetError, match=message):
        read_dataset(root)


def test_a_manifest_that_is_no_json(tmp_path):
    root = write_raw(tmp_path / "raw")
    (root / "dataset.json").write_text("{")
    with pytest.raises(DatasetError, match=r"dataset\.json: must be JSON"):
        read_dataset(root)


def test_voxels_that_are_no_numbers(tmp_path):
    root = write_raw(tmp_path / "raw")
    image = np.full((6, 8, 10), 40.0, np.float32)
    image[0, 0, 0] = np.nan
    write_volume(Volume(image, GRID), root / "imagesTr" / "a_0000.nii.gz")
    with pytest.raises(UnreadableVolumeError, match=r"a_0000\.nii\.gz: values must be finite"):
        stored(root, tmp_path / "store")
