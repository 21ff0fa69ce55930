from pathlib import Path

import numpy as np
import pytest

from flare_io._values import (
    check_thickness,
    describe_not_hu,
    image_values,
    label_values,
    narrowed,
    smallest_unsigned,
)
from flare_io.errors import LabelError, UnreadableVolumeError
from flare_io.files import read_label_map, read_volume
from flare_io.policy import ReadPolicy

from .conftest import ct_array

CASE = Path("case.nii")


@pytest.mark.parametrize("shape", [(1, 10, 11), (9, 1, 11), (9, 10, 1)])
def test_b22_a_single_slice_is_asked_for(make, shape):
    path = make.nifti(ct_array(shape))
    with pytest.raises(UnreadableVolumeError, match="--allow-thin"):
        read_volume(path)
    assert read_volume(path, policy=ReadPolicy(allow_thin=True)).shape == shape


def test_b23_few_slices_are_noted(make):
    assert read_volume(make.nifti(ct_array((7, 10, 11)))).notes == ("only 7 voxels along z",)
    assert read_volume(make.nifti(ct_array((8, 10, 11)))).notes == ()
    assert check_thickness((9, 3, 8), path=CASE, policy=ReadPolicy()) == ("only 3 voxels along y",)


@pytest.mark.parametrize("name", ["b24.nii", "b24.nii.gz"])
def test_b24_four_axes_with_one_volume(make, name):
    assert read_volume(make.nifti(ct_array((1, 9, 10, 11)), name)).shape == (9, 10, 11)


def test_b28_64_bit_integers_that_fit(make):
    array = ct_array().astype(np.int64)
    found = read_volume(make.nifti(array)).array
    assert found.dtype == np.int32 and np.array_equal(found, array)
    array[2, 3, 4] = 2**31
    with pytest.raises(
        UnreadableVolumeError, match=r"64-bit values must fit 32 bits, found -.* to 2147483648"
    ):
        read_volume(make.nifti(array))
    assert narrowed(array.astype(np.float64), path=CASE).dtype == np.float64


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_b29_few_nan_are_asked_for(make, value, kind):
    array = ct_array().astype(kind)
    array[2, 3, 4] = array[5, 0, 0] = value
    path = make.nifti(array)
    with pytest.raises(UnreadableVolumeError) as caught:
        read_volume(path)
    assert "2 of 990 NaN or infinite, the first at (2, 3, 4)" in caught.value.found
    assert "--nan=-1024" in caught.value.remedy
    volume = read_volume(path, policy=ReadPolicy(nan_value=-1024))
    assert volume.array[2, 3, 4] == volume.array[5, 0, 0] == -1024
    assert np.count_nonzero(volume.array != ct_array()) == 2
    assert "replaced by -1024 as asked" in volume.notes[0]


@pytest.mark.parametrize("policy", [ReadPolicy(), ReadPolicy(nan_value=-1024)])
def test_b30_all_nan_is_refused(make, policy):
    with pytest.raises(UnreadableVolumeError, match="990 of 990"):
        read_volume(make.nifti(np.full((9, 10, 11), np.nan, np.float32)), policy=policy)


def test_large_finite_values_are_no_nan():
    # Their sum overflows; none of them is infinite.
    array = np.full((4, 4, 4), 3e38, np.float32)
    assert image_values(array, path=CASE, policy=ReadPolicy())[0] is array


HU_FAULTS = {
    "b35-unshifted": (ct_array().astype(np.int32) + 1024, "look unshifted"),
    "b36-all-negative": (-1 - np.abs(ct_array()), "below water"),
    "b37-8-bit": (np.abs(ct_array()) % 256, "8-bit gray"),
    "b37-normalized": (np.abs(ct_array()) / 1000 % 1, "normalized"),
}


@pytest.mark.parametrize("fault", HU_FAULTS)
def test_values_that_are_no_hu_are_noted_or_refused(make, fault):
    array, text = HU_FAULTS[fault]
    path = make.nifti(array.astype(np.float32))
    volume = read_volume(path)
    assert any(text in note for note in volume.notes)
    with pytest.raises(UnreadableVolumeError, match=text) as caught:
        read_volume(path, policy=ReadPolicy(hu_check=True))
    assert "--assume-hu" in caught.value.remedy
    assert ("--hu-offset -1024" in caught.value.remedy) == fault.startswith("b35")


def test_b35_an_offset_makes_hu(make):
    stored = (np.maximum(ct_array(), -1000).astype(np.int32) + 1024).astype(np.uint16)
    path = make.nifti(stored)
    volume = read_volume(path, policy=ReadPolicy(hu_check=True, hu_offset=-1024))
    assert volume.array.dtype == np.int16 and np.array_equal(volume.array, ct_array())
    assert "-1024 added to all values as asked" in volume.notes


@pytest.mark.parametrize(
    ("array", "offset", "kind"),
    [
        (np.array([[[0, 65535]]], np.uint16), -1024, np.int32),
        (np.array([[[0, 9]]], np.uint8), 0.5, np.float32),
        (np.array([[[0.0, 9.0]]], np.float64), -1024, np.float64),
    ],
)
def test_offsets_keep_every_value(array, offset, kind):
    found, _ = image_values(array, path=CASE, policy=ReadPolicy(hu_offset=offset))
    assert found.dtype == kind
    assert np.array_equal(found.astype(float), array + float(offset))


def test_ct_is_hu():
    assert describe_not_hu(ct_array()) is None
    # Soft tissue only, cropped tightly.
    assert describe_not_hu(np.array([-120, 400])) is None


@pytest.mark.parametrize(
    ("top", "kind"), [(0, np.uint8), (255, np.uint8), (256, np.uint16), (65535, np.uint16)]
)
@pytest.mark.parametrize("stored", [np.int32, np.float32, np.int64, np.uint16])
def test_labels_come_in_the_smallest_type(make, top, kind, stored):
    array = np.zeros((8, 9, 10), stored)
    array[1, 2, 3] = top
    labels = read_label_map(make.nifti(array)).array
    assert labels.dtype == kind and labels[1, 2, 3] == top


def test_b54_floats_near_whole_numbers_are_rounded(make):
    array = np.zeros((8, 9, 10), np.float32)
    array[1], array[2] = 0.99999, 13.0005
    labels = read_label_map(make.nifti(array)).array
    assert labels.dtype == np.uint8 and np.unique(labels).tolist() == [0, 1, 13]


@pytest.mark.parametrize("value", [0.5, 1.0011, np.nan, np.inf])
def test_b54_other_floats_are_refused_with_their_counts(make, value):
    array = np.zeros((8, 9, 10), np.float32)
    array[1, 0, :3] = value
    with pytest.raises(LabelError, match=r"whole numbers within 0.001.*\(3 voxels\)"):
        read_label_map(make.nifti(array))


@pytest.mark.parametrize("value", [-1, 65536])
def test_b55_values_outside_are_refused_with_their_counts(make, value):
    array = np.zeros((8, 9, 10), np.int32)
    array[1, 0, :3] = value
    with pytest.raises(LabelError, match=rf"0..65535, found {value} \(3 voxels\)"):
        read_label_map(make.nifti(array))


def test_an_image_is_no_label_map():
    with pytest.raises(LabelError, match=r"\.\.\.; is it an image"):
        label_values(ct_array(), path=CASE)


def test_masks_are_labels():
    assert smallest_unsigned(np.array([True, False])).tolist() == [1, 0]
