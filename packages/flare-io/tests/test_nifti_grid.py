import nibabel
import numpy as np
import pytest

from flare_io._nifti_grid import affine_ras, quaternion_of
from flare_io.errors import GeometryError
from flare_io.files import read_header, read_volume
from flare_io.policy import ReadPolicy

from .conftest import ct_array

# The builder's sform: x to R at 0.7 mm, y to A at 0.8 mm, z to S at 2 mm.
QFORM = {"qform_code": 1, "quatern": (0.0, 0.0, 0.0), "qoffset": (-10.0, -20.0, 30.0)}


def refusal(path, **policy):
    with pytest.raises(GeometryError) as caught:
        read_header(path, policy=ReadPolicy(**policy))
    with pytest.raises(GeometryError):
        read_volume(path, policy=ReadPolicy(**policy))
    return caught.value


def test_the_plain_file_is_where_its_header_says(make):
    geometry = read_header(make.nifti(**QFORM)).geometry
    assert geometry.spacing_mm == pytest.approx((2.0, 0.8, 0.7), rel=1e-6)
    assert geometry.axis_codes == "SAR"
    # LPS: x and y change sign.
    assert geometry.origin == (30.0, 20.0, 10.0)


@pytest.mark.parametrize(
    "value", [0.0, np.nan, np.inf], ids=["b39-spacing-0", "b40-spacing-nan", "b40-spacing-inf"]
)
@pytest.mark.parametrize("forms", [{}, {"sform_code": 0, **QFORM}, {"sform_code": 0}])
def test_impossible_spacing_is_refused(make, value, forms):
    error = refusal(make.nifti(pixdim=(1.0, 0.7, value, 2.0, 0, 0, 0, 0), **forms))
    assert error.kind == "spacing" and "pixdim" in error.found


@pytest.mark.parametrize("forms", [{}, {"sform_code": 0, **QFORM}], ids=["sform", "qform"])
def test_b41_negative_pixdim_is_a_length(make, forms):
    path = make.nifti(pixdim=(1.0, 0.7, -0.8, 2.0, 0, 0, 0, 0), **forms)
    header = read_header(path)
    assert header.geometry.spacing_mm == pytest.approx((2.0, 0.8, 0.7), rel=1e-6)
    assert header.geometry.axis_codes == "SAR"
    assert "negative pixdim" in header.notes[0]
    assert refusal(path, strict=True).kind == "spacing"


@pytest.mark.parametrize(
    ("unit", "factor"),
    [(1, 1e-3), (3, 1e3), (0, 1.0)],
    ids=["b42-meters", "b42-microns", "unknown"],
)
def test_units_are_converted(make, unit, factor):
    sform = np.array([[0.7, 0, 0, -10], [0, 0.8, 0, -20], [0, 0, 2, 30]]) * factor
    path = make.nifti(
        xyzt_units=unit,
        pixdim=(1.0, 0.7 * factor, 0.8 * factor, 2.0 * factor, 0, 0, 0, 0),
        srow=tuple(sform.ravel().tolist()),
    )
    header = read_header(path)
    assert header.geometry.spacing_mm == pytest.approx((2.0, 0.8, 0.7), rel=1e-6)
    assert header.geometry.origin == pytest.approx((30, 20, 10), rel=1e-6)
    assert any("converted to mm" in note for note in header.notes) == (unit != 0)


@pytest.mark.parametrize(
    ("unit", "factor"), [(2, 1e-3), (1, 1.0), (2, 100)], ids=["b42-0.0008-mm", "b42-0.8-m", "80-mm"]
)
def test_implausible_spacing_is_refused(make, unit, factor):
    path = make.nifti(
        xyzt_units=unit,
        pixdim=(1.0, 0.7 * factor, 0.8 * factor, 2.0 * factor, 0, 0, 0, 0),
        srow=(0.7 * factor, 0, 0, 0, 0, 0.8 * factor, 0, 0, 0, 0, 2.0 * factor, 0),
    )
    assert "between 0.2 and 25.0 mm" in refusal(path).rule
    assert read_header(path, policy=ReadPolicy(any_spacing=True)).shape == (9, 10, 11)


def test_unknown_unit_is_refused(make):
    assert refusal(make.nifti(xyzt_units=5)).kind == "units"


def test_b43_no_orientation_is_asked_for_never_guessed(make):
    path = make.nifti(sform_code=0)
    assert "--assume-orientation LPS" in refusal(path).remedy
    header = read_header(path, policy=ReadPolicy(assume_orientation="LPS"))
    assert header.geometry.axis_codes == "SPL"
    assert header.geometry.spacing_mm == pytest.approx((2.0, 0.8, 0.7), rel=1e-6)
    assert header.geometry.origin == (0.0, 0.0, 0.0)
    assert "LPS assumed" in header.notes[0]
    # x runs to anterior, y to inferior, z to right.
    turned = read_header(path, policy=ReadPolicy(assume_orientation="AIR")).geometry
    assert turned.axis_codes == "RIA"


def test_b44_transforms_that_disagree_by_a_flip(make):
    path = make.nifti(**{**QFORM, "quatern": (0.0, 0.0, 1.0)})  # Half a turn around z.
    error = refusal(path)
    assert error.found == "qform LPS, sform RAS"
    assert "nibabel and SimpleITK would take the sform" in error.remedy
    assert "qform" in error.remedy.split("take the sform")[1]
    nibabels = "".join(nibabel.aff2axcodes(nibabel.load(path).affine))
    assert nibabels == "RAS"
    for name, codes in (("sform", "SAR"), ("qform", "SPL")):
        header = read_header(path, policy=ReadPolicy(use_transform=name))
        assert header.geometry.axis_codes == codes
        assert f"took the {name} as asked" in header.notes


@pytest.mark.parametrize("forms", [QFORM, {}], ids=["b45-qform-and-sform", "b45-sform-and-pixdim"])
def test_transforms_that_disagree_by_spacing(make, forms):
    error = refusal(make.nifti(pixdim=(1.0, 0.7, 0.8, 2.5, 0, 0, 0, 0), **forms))
    assert error.kind == "spacing"
    assert error.found == "sform (0.7, 0.8, 2), pixdim (0.7, 0.8, 2.5) (x, y, z)"
    path = make.nifti(pixdim=(1.0, 0.7, 0.8, 2.5, 0, 0, 0, 0), **forms)
    spacing = read_header(path, policy=ReadPolicy(use_transform="sform")).geometry.spacing_mm
    assert spacing == pytest.approx((2.0, 0.8, 0.7), rel=1e-6)


def test_transforms_that_disagree_by_a_shift(make):
    error = refusal(make.nifti(**{**QFORM, "qoffset": (-10.0, -20.0, 33.0)}))
    assert "corners up to 3 mm apart" in error.found
    # A twentieth of a voxel is rounding.
    read_header(make.nifti(**{**QFORM, "qoffset": (-10.0, -20.0, 30.03)}))


def sheared(make, shear, **changes):
    # y leans toward x by the shear; its length stays 0.8.
    lean, up = np.array([shear, 1.0]) / np.hypot(shear, 1.0) * 0.8
    return make.nifti(srow=(0.7, lean, 0, -10, 0, up, 0, -20, 0, 0, 2, 30), **changes)


@pytest.mark.parametrize("shear", [1e-5, 1e-3, 5e-3], ids=["b46-1e-5", "b47-1e-3", "5e-3"])
def test_small_shear_is_straightened_and_told(make, shear):
    header = read_header(sheared(make, shear))
    direction = header.geometry.direction_matrix
    np.testing.assert_allclose(direction.T @ direction, np.eye(3), atol=1e-12)
    assert header.geometry.spacing_mm == pytest.approx((2.0, 0.8, 0.7), rel=1e-6)
    assert f"shear of {np.degrees(shear):.2g} degrees straightened" in header.notes[0]


@pytest.mark.parametrize("shear", [0.01, 0.1, 0.35], ids=["0.57-degrees", "b48-0.1", "0.35"])
@pytest.mark.parametrize("forms", [{}, QFORM], ids=["sform", "both"])
def test_shear_is_refused(make, shear, forms):
    error = refusal(sheared(make, shear, **forms))
    if error.kind == "shear":
        assert f"{np.degrees(np.arctan(shear)):.3g} degrees" in error.found
    else:  # With the two forms apart, that is said first.
        assert error.kind == "orientation" and forms


def test_rounding_is_no_shear(make):
    assert read_header(sheared(make, 1e-7)).notes == ()


@pytest.mark.parametrize(
    "srow",
    [(0.7, 0.8, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0), (0.0,) * 12, (np.nan,) * 12],
    ids=["b49-parallel", "b49-zero", "nan"],
)
def test_singular_transforms_are_refused(make, srow):
    assert refusal(make.nifti(srow=srow)).kind in ("singular", "spacing", "orientation")
    if np.isfinite(srow).all() and any(srow):
        assert "singular" in refusal(make.nifti(srow=srow)).rule


@pytest.mark.parametrize("quatern", [(0.9, 0.9, 0.9), (np.nan, 0, 0)])
def test_impossible_quaternions_are_refused(make, quatern):
    forms = {**QFORM, "quatern": quatern, "sform_code": 0}
    assert "unit quaternion" in refusal(make.nifti(**forms)).rule


@pytest.mark.parametrize("seed", range(20))
def test_quaternions_are_those_of_nibabel(make, seed):
    rng = np.random.default_rng(seed)
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation[:, 2] *= np.linalg.det(rotation)
    expected = nibabel.quaternions.mat2quat(rotation)
    found = quaternion_of(rotation)
    # q and -q turn alike; the standard wants a >= 0.
    np.testing.assert_allclose(found, expected[1:] * (1 if expected[0] >= 0 else -1), atol=1e-9)
    offset = (1.0, 2.0, 3.0)
    forms = {"sform_code": 0, "qform_code": 1, "quatern": tuple(found), "qoffset": offset}
    sign = 1.0 if seed % 2 else -1.0
    path = make.nifti(pixdim=(sign, 0.7, 0.8, 2.0, 0, 0, 0, 0), **forms)
    np.testing.assert_allclose(
        affine_ras(read_header(path).geometry), nibabel.load(path).affine, atol=1e-5
    )


@pytest.mark.parametrize("axis", range(3))
def test_half_turns_have_quaternions(axis):
    rotation = np.diag([1.0 if k == axis else -1.0 for k in range(3)])
    assert np.abs(quaternion_of(rotation)).tolist() == [float(k == axis) for k in range(3)]


def test_values_are_read_in_whatever_grid(make):
    assert np.array_equal(read_volume(make.nifti(**QFORM)).array, ct_array())
