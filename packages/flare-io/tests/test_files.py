import os

import numpy as np
import pytest
import SimpleITK

from flare_io.errors import GeometryError, LabelError, UnreadableVolumeError
from flare_io.files import (
    read_header,
    read_label_map,
    read_volume,
    require_same_grid,
    write_label_map,
    write_volume,
)
from flare_io.geometry import Geometry
from flare_io.labels import label_table
from flare_io.volume import Volume

from .conftest import ct_array

GRID = Geometry((2.0, 0.8, 0.7), (30.0, 20.0, 10.0))
SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha"]


def test_b01_a_missing_file(tmp_path):
    for read in (read_volume, read_header, read_label_map):
        with pytest.raises(UnreadableVolumeError, match=r"gone.nii.gz: does not exist"):
            read(tmp_path / "gone.nii.gz")


def test_b02_a_folder_named_like_a_file(tmp_path):
    (tmp_path / "case.nii.gz").mkdir()
    for read in (read_volume, read_header, read_label_map):
        with pytest.raises(UnreadableVolumeError, match="is a folder"):
            read(tmp_path / "case.nii.gz")


def test_b02_a_folder_without_slices(tmp_path):
    with pytest.raises(UnreadableVolumeError):
        read_volume(tmp_path)
    with pytest.raises(UnreadableVolumeError, match="a label map is a file"):
        read_label_map(tmp_path)


def test_b03_no_permission(make, monkeypatch):
    path = make.nifti()
    if os.geteuid() == 0:  # Root may read everything.
        monkeypatch.setattr("builtins.open", _refuse)
    else:
        path.chmod(0)
    with pytest.raises(UnreadableVolumeError, match="cannot be read: Permission denied"):
        read_volume(path)


def _refuse(*arguments, **options):
    raise PermissionError(13, "Permission denied")


def test_j05_a_disk_that_fails_while_reading(make, monkeypatch):
    path = make.nifti()

    class Failing:
        def __getattr__(self, name):
            raise OSError(5, "Input/output error")

    monkeypatch.setattr("flare_io._stream._PlainStream.read_into", lambda *_: Failing().read)
    monkeypatch.setattr("flare_io._stream._GzipStream.read_into", lambda *_: Failing().read)
    with pytest.raises(UnreadableVolumeError, match="cannot be read: Input/output error"):
        read_volume(path)


@pytest.mark.parametrize("suffix", SUFFIXES, ids=lambda suffix: f"b51{suffix}")
@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.uint16, np.int32, np.float32, np.float64])
def test_every_format_comes_back(tmp_path, suffix, kind):
    array = (ct_array() % 200).astype(kind)
    direction = ((0, 1, 0), (-1, 0, 0), (0, 0, 1))
    volume = Volume(array, Geometry((2.0, 0.8, 0.7), (30.0, -20.0, 10.0), direction))
    path = tmp_path / f"case{suffix}"
    write_volume(volume, path)
    back = read_volume(path)
    assert back.array.dtype == kind and np.array_equal(back.array, array)
    np.testing.assert_allclose(back.geometry.affine, volume.geometry.affine, atol=1e-5)
    header = read_header(path)
    assert (header.shape, header.dtype) == (volume.shape, np.dtype(kind))
    assert header.geometry == back.geometry
    # SimpleITK, which wrote none of the NIfTI files, sees the same.
    image = SimpleITK.ReadImage(str(path))
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), array)
    assert image.GetOrigin() == pytest.approx((10.0, -20.0, 30.0))
    assert image.GetSpacing() == pytest.approx((0.7, 0.8, 2.0))


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("given", "stored"),
    [(np.int64, np.int32), (np.bool_, np.uint8), (np.float16, np.float32)],
)
def test_types_without_a_place_are_widened_or_narrowed(tmp_path, suffix, given, stored):
    array = ct_array().astype(given)
    write_volume(Volume(array, GRID), tmp_path / f"case{suffix}")
    back = read_volume(tmp_path / f"case{suffix}").array
    assert back.dtype == stored and np.array_equal(back, array)


def test_64_bit_values_that_do_not_fit_are_wrong_arguments(tmp_path):
    with pytest.raises(ValueError, match="must fit 32 bits"):
        write_volume(Volume(np.full((2, 2, 2), 2**40), GRID), tmp_path / "a.nii")


@pytest.mark.parametrize(
    ("name", "hint"), [("a.mhd", ".mha"), ("a.hdr", ".nii"), ("a.nhdr", ".nrrd"), ("a.png", "")]
)
def test_other_endings_are_refused(tmp_path, name, hint):
    with pytest.raises(ValueError, match=f"must end in .*got '{name}'.*{hint}"):
        write_volume(Volume(ct_array(), GRID), tmp_path / name)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_labels_are_written_small(tmp_path, suffix):
    labels = np.zeros((8, 9, 10), np.int64)
    labels[3] = 13
    path = tmp_path / f"case{suffix}"
    write_label_map(Volume(labels, GRID), path, table=label_table("flare23"))
    assert read_header(path).dtype == np.uint8
    back = read_label_map(path, table=label_table("flare23"))
    assert np.array_equal(back.array, labels)
    write_label_map(Volume(labels > 0, GRID), path)
    assert np.unique(read_label_map(path).array).tolist() == [0, 1]


def test_b53_labels_outside_the_table_are_refused_both_ways(tmp_path):
    labels = np.zeros((8, 9, 10), np.uint8)
    labels[3, 0, :4] = 77
    path = tmp_path / "case.nii.gz"
    with pytest.raises(LabelError, match="77"):
        write_label_map(Volume(labels, GRID), path, table=label_table("flare23"))
    assert not path.exists()
    write_label_map(Volume(labels, GRID), path)
    with pytest.raises(LabelError, match="77") as caught:
        read_label_map(path, table=label_table("flare23"))
    assert str(path) in str(caught.value)


def test_labels_that_are_no_labels_are_not_written(tmp_path):
    with pytest.raises(LabelError, match="whole numbers"):
        write_label_map(Volume(np.full((2, 2, 2), 0.5), GRID), tmp_path / "a.nii")
    with pytest.raises(ValueError, match="sidecars need a table"):
        write_label_map(Volume(np.zeros((2, 2, 2)), GRID), tmp_path / "a.nii", sidecars=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("shape", "grid", "found"),
    [
        ((8, 9, 11), GRID, "shape"),
        ((8, 9, 10), Geometry((2.0, 0.8, 0.7), (32.0, 20.0, 10.0)), "2 mm apart"),
        (
            (8, 9, 10),
            Geometry((2.0, 0.8, 0.7), (30.0, 26.4, 10.0), ((1, 0, 0), (0, -1, 0), (0, 0, 1))),
            "6.4 mm apart, axes SAL against SPL",
        ),
        ((8, 9, 10), Geometry((2.5, 0.8, 0.7), (30.0, 20.0, 10.0)), "3.5 mm apart"),
    ],
    ids=["b52-shape", "b52-origin-by-1-voxel", "b52-direction", "b52-spacing"],
)
def test_a_label_map_on_another_grid_is_refused_in_mm(tmp_path, shape, grid, found):
    write_volume(Volume(ct_array((8, 9, 10)), GRID), tmp_path / "ct.nii.gz")
    write_label_map(Volume(np.zeros(shape, np.uint8), grid), tmp_path / "labels.nii.gz")
    with pytest.raises(GeometryError, match=r"labels.nii.gz: must lie on the grid of ct") as caught:
        require_same_grid(tmp_path / "labels.nii.gz", tmp_path / "ct.nii.gz")
    assert found in caught.value.found


def test_b52_the_same_grid_in_another_format_passes(tmp_path):
    write_volume(Volume(ct_array((8, 9, 10)), GRID), tmp_path / "ct.nii.gz")
    write_label_map(Volume(np.zeros((8, 9, 10), np.uint8), GRID), tmp_path / "labels.nrrd")
    require_same_grid(tmp_path / "labels.nrrd", tmp_path / "ct.nii.gz")


@pytest.mark.parametrize("name", ["b56 leber säuli.nii.gz", "b56-肝.NII.GZ", "b56 x.mha"])
def test_spaces_and_unicode_in_names(tmp_path, name):
    write_volume(Volume(ct_array(), GRID), tmp_path / name)
    assert np.array_equal(read_volume(tmp_path / name).array, ct_array())


def test_one_slice_of_dicom_hints_at_its_folder(make):
    path = make.raw(bytes(128) + b"DICM" + bytes(100), "IM0001.dcm")
    with pytest.raises(UnreadableVolumeError, match="one DICOM slice; name the folder"):
        read_volume(path)


def test_real_ct_reads_and_the_organs_lie_on_it(real_ct):
    ct = read_volume(real_ct / "torso_ct.nii.gz")
    assert (ct.shape, ct.array.dtype, ct.geometry.axis_codes) == ((112, 101, 122), np.int16, "SAR")
    require_same_grid(real_ct / "torso_organs.nii.gz", real_ct / "torso_ct.nii.gz")
    organs = read_label_map(real_ct / "torso_organs.nii.gz", table=label_table("flare23"))
    liver = ct.array[organs.array == 1]
    assert 40 < np.median(liver) < 150
    header = read_header(real_ct / "abdomen_dicom")
    assert header.shape == (20, 512, 512) and header.format == "DICOM series"
