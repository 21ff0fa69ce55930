"""Reading label maps: verified to the last byte, integers only, grids as they are."""

import gzip
import io
import struct
import sys

import nibabel as nib
import numpy as np
import pytest

from flare_metrics.errors import GridError, LabelError, UnreadableFileError
from flare_metrics.files import case_name, read_label_map
from flare_metrics.grid import Grid, describe_difference

AFFINE = np.array([[-0.8, 0, 0, 100], [0, 0.8, 0, -50], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])


def labels(shape=(7, 6, 5), seed=0):
    return np.random.default_rng(seed).integers(0, 15, shape, dtype=np.uint8)


def written(folder, array, *, name="case.nii.gz", affine=AFFINE, kind=nib.Nifti1Image):
    path = folder / name
    nib.save(kind(array, affine), path)
    return path


@pytest.mark.parametrize("name", ["case.nii.gz", "case.nii"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", ">i2", "float32"])
def test_arrays_come_out_in_z_y_x_with_their_grid(tmp_path, name, kind, dtype):
    array = labels().astype(dtype)
    found = read_label_map(written(tmp_path, array, name=name, kind=kind))
    assert (found.array == array.T).all()
    assert found.array.dtype.kind in "iu"
    assert found.array.dtype.isnative
    assert found.grid.shape == (5, 6, 7)
    assert found.grid.spacing_mm == pytest.approx((2.5, 0.8, 0.8))
    # Voxel (z, y, x) = (1, 2, 3) lies where the file's (3, 2, 1) lies.
    world = found.grid.affine @ (1, 2, 3, 1)
    assert world[:3] == pytest.approx((AFFINE @ (3, 2, 1, 1))[:3], rel=1e-6)


def test_what_the_bytes_say_counts_not_the_name(tmp_path):
    plain = written(tmp_path, labels(), name="plain.nii")
    misnamed = tmp_path / "misnamed.nii.gz"
    misnamed.write_bytes(plain.read_bytes())
    packed = tmp_path / "packed.nii"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    for path in (misnamed, packed):
        assert (read_label_map(path).array == labels().T).all()


def test_several_gzip_members_are_one_file(tmp_path):
    plain = written(tmp_path, labels(), name="plain.nii").read_bytes()
    path = tmp_path / "members.nii.gz"
    path.write_bytes(gzip.compress(plain[:400]) + gzip.compress(plain[400:]))
    assert (read_label_map(path).array == labels().T).all()


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99, -4, -1])
def test_a_cut_gzip_file_is_refused(tmp_path, share):
    path = written(tmp_path, labels((40, 40, 20)))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share) if share > 0 else share])
    with pytest.raises(
        UnreadableFileError, match=r"case.nii.gz: (gzip stream ends early|not NIfTI)"
    ):
        read_label_map(path)


def test_a_cut_plain_file_is_refused_with_both_sizes(tmp_path):
    path = written(tmp_path, labels(), name="case.nii")
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(UnreadableFileError, match=r"data must fill 562 bytes, found 552; copy"):
        read_label_map(path)


def test_a_flipped_bit_is_found_or_harmless(tmp_path):
    path = written(tmp_path, labels((30, 30, 10)))
    whole = path.read_bytes()
    rng = np.random.default_rng(0)
    found = 0
    for bit in rng.integers(8 * 10, 8 * len(whole), 200):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            # A stored file name and the unused bits before the checksum carry no data.
            assert (read_label_map(path).array == labels((30, 30, 10)).T).all()
        except (UnreadableFileError, GridError):
            found += 1
    assert found >= 195


def test_a_small_file_that_unpacks_to_gigabytes_is_stopped(tmp_path):
    plain = written(tmp_path, labels(), name="case.nii").read_bytes()
    path = tmp_path / "bomb.nii.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(plain)
        for _ in range(40):
            file.write(bytes(1 << 20))
    with pytest.raises(UnreadableFileError, match="more data than its header promises"):
        read_label_map(path)


def test_a_header_that_promises_terabytes_is_refused_before_allocation(tmp_path):
    whole = bytearray(written(tmp_path, labels(), name="case.nii").read_bytes())
    struct.pack_into("<3h", whole, 42, 30000, 30000, 30000)
    path = tmp_path / "huge.nii"
    path.write_bytes(whole)
    with pytest.raises(UnreadableFileError, match="more than 16 GiB"):
        read_label_map(path)


@pytest.mark.parametrize("content", [b"", b"<html>no such page</html>" * 30, bytes(400)])
def test_what_is_no_nifti_is_refused(tmp_path, content):
    path = tmp_path / "page.nii.gz"
    path.write_bytes(content)
    with pytest.raises(UnreadableFileError, match=r"not NIfTI, found a file that starts with"):
        read_label_map(path)


def test_a_missing_file_and_an_unknown_format_are_named(tmp_path):
    with pytest.raises(UnreadableFileError, match=r"gone.nii: cannot be read: No such file"):
        read_label_map(tmp_path / "gone.nii")
    with pytest.raises(UnreadableFileError, match=r"a label map must be one of .nii.gz"):
        read_label_map(tmp_path / "case.png")


def test_almost_integers_are_rounded_and_others_refused(tmp_path):
    array = labels().astype(np.float32)
    near = read_label_map(written(tmp_path, array - 0.0001)).array
    assert near.dtype == np.uint8
    assert (near == labels().T).all()
    array[0, 0, 0] = 0.4
    with pytest.raises(
        LabelError, match=r"labels must be integers, found 1 other values such as 0.4"
    ):
        read_label_map(written(tmp_path, array))
    array[0, 0, 0] = np.nan
    with pytest.raises(LabelError, match="such as nan"):
        read_label_map(written(tmp_path, array))
    array[0, 0, 0] = 1e12
    with pytest.raises(LabelError, match="must fit 32 bits"):
        read_label_map(written(tmp_path, array))


def test_scaling_in_the_header_is_applied(tmp_path):
    whole = bytearray(written(tmp_path, labels(), name="case.nii").read_bytes())
    struct.pack_into("<2f", whole, 112, 2.0, 1.0)
    path = tmp_path / "scaled.nii"
    path.write_bytes(whole)
    assert (read_label_map(path).array == 2 * labels().T + 1).all()


def test_four_axes_are_refused_unless_the_fourth_is_one(tmp_path):
    single = written(tmp_path, labels()[..., None], name="one.nii.gz")
    assert read_label_map(single).grid.shape == (5, 6, 7)
    with pytest.raises(GridError, match=r"a label map has three axes, found \(7, 6, 5, 2\)"):
        read_label_map(written(tmp_path, np.stack([labels()] * 2, -1), name="two.nii.gz"))


@pytest.mark.parametrize(("offset", "value"), [(80, 0.0), (84, float("nan")), (88, float("inf"))])
def test_a_spacing_that_is_no_length_is_refused(tmp_path, offset, value):
    whole = bytearray(written(tmp_path, labels(), name="case.nii").read_bytes())
    struct.pack_into("<f", whole, offset, value)
    path = tmp_path / "bad.nii"
    path.write_bytes(whole)
    with pytest.raises(GridError, match="spacing must be positive and finite"):
        read_label_map(path)


def test_meters_become_millimeters(tmp_path):
    image = nib.Nifti1Image(labels(), AFFINE)
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "m.nii")
    assert read_label_map(tmp_path / "m.nii").grid.spacing_mm == pytest.approx((2500, 800, 800))


@pytest.mark.parametrize("order", ["RAS", "LPS", "SRA", "ASL"])
def test_z_comes_first_whatever_the_axis_order_of_the_file(tmp_path, order):
    image = nib.Nifti1Image(labels(), AFFINE)
    target = nib.orientations.axcodes2ornt(tuple(order))
    turned = image.as_reoriented(
        nib.orientations.ornt_transform(nib.io_orientation(image.affine), target)
    )
    nib.save(turned, tmp_path / "case.nii.gz")
    found = read_label_map(tmp_path / "case.nii.gz").with_z_first()
    assert found.grid.spacing_mm[0] == pytest.approx(2.5)
    assert found.array.shape[0] == found.grid.shape[0] == 5
    # The same grid, so every voxel center is still where it was.
    corner = found.grid.affine @ (0, 0, 0, 1)
    index = np.linalg.solve(turned.affine, corner).round().astype(int)[:3]
    assert turned.get_fdata()[tuple(index)] == found.array[0, 0, 0]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (np.diag([1, 1, 1, 1.0]), None),
        (np.diag([1, 1, 1.01, 1.0]), r"voxel \(.*\) lies 0.10 mm apart|0.1"),
    ],
    ids=["same", "stretched"],
)
def test_grids_are_compared_at_all_corners(change, message):
    grid = Grid((5, 6, 7), (2.5, 0.8, 0.8), AFFINE[:, [2, 1, 0, 3]])
    other = Grid((5, 6, 7), (2.5, 0.8, 0.8), change @ grid.affine)
    difference = describe_difference(other, grid)
    assert (difference is None) == (message is None)


def test_a_difference_names_shape_or_distance():
    grid = Grid((5, 6, 7), (1, 1, 1), np.eye(4))
    assert describe_difference(Grid((5, 6, 8), (1, 1, 1), np.eye(4)), grid) == (
        "shape (5, 6, 8) against (5, 6, 7) (z, y, x)"
    )
    flipped = Grid((5, 6, 7), (1, 1, 1), np.diag([-1, 1, 1, 1.0]))
    assert describe_difference(flipped, grid) == "voxel (4, 0, 0) lies 8 mm apart"


def test_case_names_lose_their_suffix_only():
    names = ["a.b.nii.gz", "A.NII", "x.mha", ".hidden.nii", ".nii.gz", "notes.txt"]
    assert [case_name(name) for name in names] == ["a.b", "A", "x", None, None, None]


def test_other_formats_come_through_the_extra(tmp_path):
    sitk = pytest.importorskip("SimpleITK", reason="the extra [formats] is not installed")
    nifti = written(tmp_path, labels())
    for name in ("case.mha", "case.nrrd"):
        sitk.WriteImage(sitk.ReadImage(str(nifti)), str(tmp_path / name))
        found, expected = read_label_map(tmp_path / name), read_label_map(nifti)
        assert (found.array == expected.array).all()
        assert describe_difference(found.grid, expected.grid) is None
    (tmp_path / "bad.mha").write_text("no image")
    for name in ("bad.mha", "gone.nrrd"):
        with pytest.raises(UnreadableFileError, match=name):
            read_label_map(tmp_path / name)


def test_without_the_extra_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(
        ImportError, match=r"pip install 'flare-metrics\[formats\]', or convert to .nii.gz"
    ):
        read_label_map(tmp_path / "case.mha")


def test_bytes_behind_the_data_are_tolerated(tmp_path):
    whole = written(tmp_path, labels(), name="case.nii").read_bytes()
    path = tmp_path / "tail.nii.gz"
    buffer = io.BytesIO(gzip.compress(whole + b"tail"))
    path.write_bytes(buffer.getvalue() + b"after")
    assert (read_label_map(path).array == labels().T).all()


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("form", ["sform", "qform", "neither"])
@pytest.mark.parametrize("flip", [1.0, -1.0])
def test_affines_are_those_that_nibabel_finds(tmp_path, kind, form, flip):
    turn = np.eye(4)
    angle = 0.3
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine = turn @ np.diag([flip, 1, 1, 1]) @ AFFINE
    image = kind(labels(), affine)
    image.set_sform(affine, code=int(form == "sform"))
    image.set_qform(affine, code=int(form == "qform"))
    path = tmp_path / "case.nii"
    image.to_filename(path)
    expected = nib.load(path).affine[:, [2, 1, 0, 3]]
    assert read_label_map(path).grid.affine == pytest.approx(expected, abs=1e-9)


def test_big_endian_files_are_read(tmp_path):
    array = labels().astype(">i2")
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(array.dtype)
    nib.Nifti1Image(array, AFFINE, header).to_filename(tmp_path / "case.nii")
    assert (tmp_path / "case.nii").read_bytes()[:4] == b"\x00\x00\x01\x5c"
    found = read_label_map(tmp_path / "case.nii")
    assert (found.array == labels().T).all()
    assert found.grid.spacing_mm == pytest.approx((2.5, 0.8, 0.8))


@pytest.mark.parametrize(
    ("form", "offset", "value", "error", "message"),
    [
        ("<h", 70, 128, UnreadableFileError, "integers or real numbers, found data type 128"),
        ("<f", 108, 100.0, UnreadableFileError, "voxels start behind it, found 100"),
        ("<f", 108, float("nan"), UnreadableFileError, "voxels start behind it, found nan"),
        ("<i", 0, 347, UnreadableFileError, "it must say that it has 348 bytes"),
        ("<h", 40, 1, GridError, r"a label map has three axes, found \(7,\)"),
        ("<h", 42, -7, GridError, r"every axis must have voxels, found \(-7, 6, 5\)"),
        ("<f", 280, float("nan"), GridError, "the affine must be finite"),
        ("<f", 280, 0.0, GridError, "the affine is singular"),
    ],
)
def test_a_wrong_header_is_told_what_is_wrong(tmp_path, form, offset, value, error, message):
    whole = bytearray(written(tmp_path, labels(), name="case.nii").read_bytes())
    struct.pack_into(form, whole, offset, value)
    path = tmp_path / "bad.nii"
    path.write_bytes(whole)
    with pytest.raises(error, match=message):
        read_label_map(path)


def test_random_damage_to_a_header_is_an_error_of_ours_or_harmless(tmp_path):
    whole = written(tmp_path, labels(), name="case.nii").read_bytes()
    rng = np.random.default_rng(1)
    path = tmp_path / "damaged.nii"
    for packed in (False, True):
        for _ in range(200):
            damaged = bytearray(whole)
            for place in rng.integers(0, 348, rng.integers(1, 6)):
                damaged[place] = rng.integers(256)
            path.write_bytes(gzip.compress(damaged, 1) if packed else damaged)
            try:
                assert read_label_map(path).array.ndim == 3
            except (UnreadableFileError, GridError, LabelError) as error:
                assert str(error).startswith(str(path))


def test_zooms_alone_are_what_official_scripts_look_at(tmp_path):
    image = nib.Nifti1Image(labels(), AFFINE)
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "case.nii")
    whole = bytearray((tmp_path / "case.nii").read_bytes())
    struct.pack_into("<f", whole, 280, float("nan"))
    (tmp_path / "case.nii").write_bytes(whole)
    grid = read_label_map(tmp_path / "case.nii", zooms_only=True).grid
    assert grid.spacing_mm == pytest.approx((2.5, 0.8, 0.8))
    assert grid.z_axis == 0
    with pytest.raises(GridError, match="affine"):
        read_label_map(tmp_path / "case.nii")


def test_a_cast_takes_any_value(tmp_path):
    array = labels().astype(np.float32)
    array[0, 0, :4] = [1.9, 257, -1, np.nan]
    path = written(tmp_path, array)
    assert read_label_map(path, cast="uint8").array[:4, 0, 0].tolist() == [1, 1, 255, 0]
    assert read_label_map(path, cast="int8").array[:4, 0, 0].tolist() == [1, 1, -1, 0]
