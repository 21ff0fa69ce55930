import gzip

import numpy as np
import pytest

from flare_io.check import check
from flare_io.files import write_volume
from flare_io.geometry import Geometry
from flare_io.phantom import write_phantom_dataset
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

from .conftest import ct_array, nifti_bytes


def kinds(problems):
    return [(problem.severity, problem.kind) for problem in problems]


def test_a_perfect_file_has_no_problem(make):
    assert check(make.nifti()) == []


def test_all_problems_at_once(make):
    # One slice, no orientation, a missing voxel: three rules, none hides another.
    data = gzip.compress(nifti_bytes(ct_array((1, 10, 11)), sform_code=0, bitpix=8)[:-2])
    problems = check(make.raw(data, "case.nii"))
    assert kinds(problems) == [
        ("error", "thin"),
        ("error", "orientation"),
        ("error", "truncated"),
        ("note", "note"),
        ("note", "note"),
    ]
    assert all(problem.source.endswith("case.nii") for problem in problems)


def test_grid_and_values_are_told_together(make):
    array = ct_array().astype(np.float32)
    array[0, 0, 0] = np.nan
    path = make.nifti(
        array,
        srow=(0.7, 0.4, 0, 0, 0, 0.8, 0, 0, 0, 0, 2, 0),
        pixdim=(1, 0.7, 0.8944272, 2, 0, 0, 0, 0),
    )
    assert kinds(check(path)) == [("error", "shear"), ("error", "nan")]
    allowed = check(path, policy=ReadPolicy(nan_value=-1024))
    assert kinds(allowed) == [("error", "shear"), ("note", "note")]


@pytest.mark.parametrize(
    ("content", "expected"), [("image", []), ("labels", [("error", "labels")])]
)
def test_what_a_file_is_to_hold_counts(make, content, expected):
    assert kinds(check(make.nifti(), content=content)) == expected


def test_no_volume_at_all(make, tmp_path):
    assert kinds(check(make.raw(b"text", "a.nii"))) == [("error", "format")]
    assert kinds(check(tmp_path / "gone.nii")) == [("error", "missing")]


def test_other_formats(tmp_path):
    path = tmp_path / "case.mha"
    write_volume(Volume(ct_array(), Geometry((2.0, 0.8, 0.7))), path)
    assert check(path) == []
    path.write_bytes(path.read_bytes()[:-4])
    assert kinds(check(path)) == [("error", "truncated")]


def test_folders_are_datasets_or_series(tmp_path):
    write_phantom_dataset(tmp_path / "set", preset="unit", cases=1)
    assert [p for p in check(tmp_path / "set") if p.severity == "error"] == []
    image = next((tmp_path / "set" / "imagesTr").iterdir())
    image.write_bytes(image.read_bytes()[:500])
    assert kinds(check(tmp_path / "set")) == [("error", "truncated")]
    assert kinds(check(tmp_path / "set", voxels=False)) == []
    (tmp_path / "series").mkdir()
    assert [problem.severity for problem in check(tmp_path / "series")] == ["error"]


def test_a_real_series_has_no_error(real_ct):
    assert [p for p in check(real_ct / "abdomen_dicom") if p.severity == "error"] == []
