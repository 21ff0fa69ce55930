"""A real compressed CT series and an organ map whose rows run the other way."""

from __future__ import annotations

from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from flare_io.dicom import list_series, read_series
from flare_io.geometry import Geometry, describe_grid_difference
from flare_io.volume import Volume, to_canonical

DATA = Path(__file__).parents[3].parent / "shared" / "data"
LIVER, SPLEEN, AORTA, IVC = 1, 3, 5, 6
MEAN_HU = {LIVER: 89, SPLEEN: 80, AORTA: 177, IVC: 90}

pytestmark = pytest.mark.skipif(
    not (DATA / "abdomen_dicom").is_dir(), reason="needs ../shared/data/abdomen_dicom"
)


@pytest.fixture(scope="module")
def ct():
    return read_series(DATA / "abdomen_dicom")


@pytest.fixture(scope="module")
def organs():
    image = nibabel.load(DATA / "abdomen_dicom_organs.nii.gz")
    # From (x, y, z) in RAS to (z, y, x) in LPS, written as (S, P, L).
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ image.affine
    matrix = affine[:3, :3][::-1, ::-1]
    spacing = np.linalg.norm(matrix, axis=0)
    geometry = Geometry(
        tuple(spacing), tuple(affine[:3, 3][::-1]), tuple(map(tuple, matrix / spacing))
    )
    return Volume(np.asarray(image.dataobj).T, geometry)


def test_series_equals_simpleitk(ct):
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(DATA / "abdomen_dicom")))
    image = reader.Execute()
    assert ct.array.dtype == np.int16
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(image), ct.array)
    np.testing.assert_allclose(image.GetSpacing()[::-1], ct.geometry.spacing_mm)
    np.testing.assert_allclose(image.GetOrigin()[::-1], ct.geometry.origin)


def test_series_with_an_empty_uid_is_one_series():
    (summary,) = list_series(DATA / "abdomen_dicom")
    assert summary.uid == ""
    assert summary.slices == 20


def test_organs_meet_the_series_in_the_patient(ct, organs):
    assert ct.geometry.axis_codes == "SPL"
    assert organs.geometry.axis_codes == "SAL"
    assert "axes SPL against SAL" in str(
        describe_grid_difference(ct.geometry, ct.shape, organs.geometry, organs.shape)
    )
    image, labels = to_canonical(ct)[0], to_canonical(organs)[0]
    assert (
        describe_grid_difference(image.geometry, image.shape, labels.geometry, labels.shape) is None
    )
    for organ, mean_hu in MEAN_HU.items():
        assert image.array[labels.array == organ].mean() == pytest.approx(mean_hu, abs=1), organ


def test_array_order_alone_would_give_air_for_liver(ct, organs):
    assert ct.array[organs.array == LIVER].mean() == pytest.approx(-75, abs=1)
