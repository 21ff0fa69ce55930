import contextlib
import gzip
import itertools
import tracemalloc
import zlib

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from flare_io._nifti_grid import affine_ras
from flare_io.atomic import write_file
from flare_io.errors import GeometryError, UnreadableVolumeError
from flare_io.files import read_header, read_label_map, read_volume, write_volume
from flare_io.geometry import Geometry, canonical_axis_order
from flare_io.nifti import write_nifti
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume, to_canonical

from .conftest import ct_array, nifti_bytes

AXIS_CODES = [
    "".join(letters)
    for pairs in itertools.permutations(("RL", "AP", "SI"))
    for letters in itertools.product(*pairs)
]


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("b04-empty", b"", "an empty file"),
        ("b05-text", b"this is no volume at all", "starts with b'this is no volum"),
        ("b06-html", b"<!DOCTYPE html><html>404</html>", "starts with b'<!DOCTYPE html>"),
        ("short-header", (348).to_bytes(4, "little") + bytes(100), "its header has 348 bytes"),
    ],
)
def test_no_nifti_is_refused_by_its_first_bytes(make, name, content, found):
    path = make.raw(content, f"{name}.nii.gz")
    with pytest.raises(UnreadableVolumeError, match=name) as caught:
        read_volume(path)
    assert found in str(caught.value)


@pytest.mark.parametrize(
    "kept",
    [0.01, 0.5, 0.99, -4, -1],
    ids=["b07-1%", "b08-50%", "b09-99%", "b10-last-4-bytes", "last-byte"],
)
def test_a_cut_gzip_is_refused(make, kept):
    path = make.nifti()
    data = path.read_bytes()
    cut = data[: int(len(data) * kept)] if kept > 0 else data[:kept]
    with pytest.raises(UnreadableVolumeError, match=r"ends early, found .* bytes") as caught:
        read_volume(make.raw(cut, "cut.nii.gz"))
    assert caught.value.kind == "truncated"


def test_every_length_of_a_cut_gzip_is_refused(make):
    data = make.nifti(ct_array((2, 3, 40))).read_bytes()
    for length in range(len(data)):
        with pytest.raises(UnreadableVolumeError):
            read_volume(make.raw(data[:length], "cut.nii.gz"))


def test_b11_no_flipped_bit_gives_other_voxels(make):
    path = make.nifti(ct_array((12, 20, 20)))
    data, expected = path.read_bytes(), read_volume(path)
    rng = np.random.default_rng(11)
    # Ten bytes of gzip header and up to seven bits of padding behind the last block mean nothing:
    # a flip there may leave the voxels as they are.
    refused = 0
    flips = [*zip(rng.integers(10, len(data), 300), rng.integers(0, 8, 300), strict=True)]
    for position, bit in flips + [(k // 8, k % 8) for k in range(80)]:
        flipped = bytearray(data)
        flipped[position] ^= 1 << int(bit)
        try:
            volume = read_volume(make.raw(bytes(flipped), "flipped.nii.gz"))
        except UnreadableVolumeError:
            refused += 1
            continue
        assert np.array_equal(volume.array, expected.array)
    assert refused >= 298


@pytest.mark.parametrize("missing", [1, 500, 1979], ids=lambda n: f"b12-{n}-bytes-missing")
def test_a_short_raw_file_is_refused_before_it_is_read(make, missing):
    path = make.raw(nifti_bytes(ct_array())[:-missing])
    for read in (read_header, read_volume):
        with pytest.raises(UnreadableVolumeError, match=f"1980 bytes, found .*{1980 - missing}"):
            read(path)


@pytest.mark.parametrize("where", ["b13-after-gz", "b13-zeros-after-gz", "b14-in-gz", "b14-raw"])
def test_trailing_bytes_are_noted_and_strictly_refused(make, where):
    data = nifti_bytes(ct_array())
    if where == "b14-raw":
        path = make.raw(data + b"12345", "case.nii")
    elif where == "b14-in-gz":
        path = make.raw(gzip.compress(data + b"12345"), "case.nii.gz")
    else:
        tail = bytes(5) if "zeros" in where else b"12345"
        path = make.raw(gzip.compress(data) + tail, "case.nii.gz")
    volume = read_volume(path)
    assert np.array_equal(volume.array, ct_array())
    assert volume.notes == ("5 bytes behind the voxels passed over",)
    with pytest.raises(UnreadableVolumeError, match="case") as caught:
        read_volume(path, policy=ReadPolicy(strict=True))
    assert caught.value.kind == "too-long"


def test_members_of_a_gzip_are_one_stream(make):
    data = nifti_bytes(ct_array())
    whole = gzip.compress(data[:400]) + gzip.compress(b"") + gzip.compress(data[400:])
    assert np.array_equal(read_volume(make.raw(whole)).array, ct_array())
    with pytest.raises(UnreadableVolumeError):
        read_volume(make.raw(whole[:-3]))


@pytest.mark.parametrize(
    ("name", "note"), [("b15.nii.gz", "not gzipped"), ("b16.nii", "is gzipped")]
)
def test_the_bytes_decide_not_the_name(make, name, note):
    data = nifti_bytes(ct_array())
    path = make.raw(data if name.endswith("gz") else gzip.compress(data), name)
    volume = read_volume(path)
    assert np.array_equal(volume.array, ct_array())
    assert note in volume.notes[0]


def test_b17_a_gzip_bomb_is_refused_in_little_memory(make):
    data = nifti_bytes(ct_array((8, 64, 64)))
    compressor = zlib.compressobj(9, zlib.DEFLATED, 31)
    bomb = compressor.compress(data)
    bomb += b"".join(compressor.compress(bytes(1 << 20)) for _ in range(300)) + compressor.flush()
    path = make.raw(bomb, "bomb.nii.gz")
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableVolumeError, match="more data than its header promises"):
            read_volume(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # The array, a compressed piece of 256 KiB and 4 KiB of the bomb; not its 300 MiB.
    assert peak < 2 * (len(data) + (1 << 19))


@pytest.mark.parametrize(
    ("dim", "kind"),
    [
        ((3, 30000, 30000, 30000, 1, 1, 1, 1), "too-large"),
        ((3, 11, -10, 9, 1, 1, 1, 1), "dimensions"),
        ((3, 11, 0, 9, 1, 1, 1, 1), "dimensions"),
        ((9, 11, 10, 9, 1, 1, 1, 1), "dimensions"),
        ((0, 11, 10, 9, 1, 1, 1, 1), "dimensions"),
        ((2, 11, 90, 1, 1, 1, 1, 1), "dimensions"),
        ((1, 990, 1, 1, 1, 1, 1, 1), "dimensions"),
        ((3, 2000, 1000, 1000, 1, 1, 1, 1), "truncated"),
    ],
    ids=["b18-30000^3", "b19-negative", "b20-zero", "9-D", "0-D", "b21-2D", "1-D", "4-GB-in-2-kB"],
)
@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz"])
def test_dimensions_are_refused_before_memory_is_asked_for(make, dim, kind, name):
    path = make.nifti(name=name, dim=dim)
    tracemalloc.start()
    try:
        for read in (read_header, read_volume):
            with pytest.raises(UnreadableVolumeError) as caught:
                read(path)
            assert caught.value.kind == kind
        assert tracemalloc.get_traced_memory()[1] < 4e6
    finally:
        tracemalloc.stop()


def test_max_voxels_is_a_setting(make):
    path = make.nifti()
    assert read_volume(path, policy=ReadPolicy(max_voxels=990)).array.size == 990
    with pytest.raises(UnreadableVolumeError, match="at most 989 voxels, found 11 x 10 x 9"):
        read_volume(path, policy=ReadPolicy(max_voxels=989))


@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz"])
def test_b25_one_of_three_volumes(make, name):
    four = ct_array((3, 9, 10, 11))
    path = make.nifti(four, name)
    with pytest.raises(UnreadableVolumeError, match="found 3; choose one with --volume K, 0 to 2"):
        read_volume(path)
    for k in range(3):
        volume = read_volume(path, policy=ReadPolicy(volume_index=k))
        assert np.array_equal(volume.array, four[k])
        assert volume.notes == (f"volume {k} of 3",)
    with pytest.raises(UnreadableVolumeError, match="has no volume 3"):
        read_volume(path, policy=ReadPolicy(volume_index=3))
    # Volume 0 is refused too when volume 2 is damaged.
    data = path.read_bytes()
    with pytest.raises(UnreadableVolumeError):
        read_volume(make.raw(data[:-9], name), policy=ReadPolicy(volume_index=0))


@pytest.mark.parametrize(
    ("code", "bits", "found"),
    [
        (32, 64, "complex"),
        (1792, 128, "complex"),
        (128, 24, "RGB"),
        (2304, 32, "RGBA"),
        (1, 1, "bits"),
        (7, 16, "unknown"),
    ],
    ids=["b26-complex", "b26-complex128", "b27-rgb", "b27-rgba", "bits", "unknown"],
)
def test_other_than_real_numbers_are_refused(make, code, bits, found):
    with pytest.raises(UnreadableVolumeError, match=found):
        read_volume(make.nifti(datatype=code, bitpix=bits))


def test_contradicting_bitpix_is_noted(make):
    assert "header says 8 bits" in read_volume(make.nifti(bitpix=8)).notes[0]


SCALINGS = {
    "b31-slope-0": (0.0, 5.0),
    "b32-slope-nan": (np.nan, 5.0),
    "b32-slope-inf": (np.inf, 5.0),
    "b33-slope-2.5": (2.5, 0.0),
    "b33-slope-0.1": (0.1, 3.3),
    "b34-intercept": (1.0, -1024.0),
    "whole": (2.0, -1000.0),
    "wide": (1000.0, 0.0),
}


@pytest.mark.parametrize("scaling", SCALINGS)
@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4", "f8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_scaled_values_are_nibabels_bit_for_bit(make, scaling, kind, order):
    slope, intercept = SCALINGS[scaling]
    stored = (ct_array() // (8 if kind == "u1" else 1)).astype(kind)
    path = make.nifti(stored, order=order, scl_slope=slope, scl_inter=intercept)
    found = read_volume(path).array
    expected = nibabel.load(path).get_fdata(dtype=np.float64).T
    if found.dtype.kind in "iu":
        assert np.array_equal(found, expected)
    else:
        # Scaled in float64 and rounded once, as `get_fdata` does; float64 types stay so.
        assert np.array_equal(found, expected.astype(found.dtype))
        wide = kind in ("i4", "f8") and slope not in (0.0, np.inf) and not np.isnan(slope)
        assert found.dtype == (np.float64 if wide or kind == "f8" else np.float32)
    if found.dtype == np.float32:
        assert np.array_equal(found, nibabel.load(path).get_fdata(dtype=np.float32).T)


def test_integral_scaling_stays_integer(make):
    found = read_volume(make.nifti(scl_slope=1.0, scl_inter=-1024.0)).array
    assert found.dtype == np.int16 and np.array_equal(found, ct_array() - 1024)
    found = read_volume(make.nifti(scl_slope=1000.0)).array
    assert found.dtype == np.int32 and np.array_equal(found, ct_array().astype(np.int32) * 1000)


def test_infinite_intercept_is_refused(make):
    with pytest.raises(UnreadableVolumeError, match="scl_inter must be finite"):
        read_volume(make.nifti(scl_slope=2.0, scl_inter=np.inf))


@pytest.mark.parametrize("offset", [np.nan, -1.0, 100.0, 352.5, 1e30])
def test_impossible_offsets_are_refused(make, offset):
    with pytest.raises(UnreadableVolumeError, match="vox_offset"):
        read_volume(make.nifti(vox_offset=offset))


@pytest.mark.parametrize("name", ["case.nii", "case.nii.gz"])
def test_an_extension_in_front_of_the_voxels_is_skipped(make, name):
    data = nifti_bytes(ct_array(), vox_offset=400.0)
    data = data[:352] + b"\x01" * 48 + data[352:]
    path = make.raw(gzip.compress(data) if name.endswith("gz") else data, name)
    assert np.array_equal(read_volume(path).array, ct_array())
    offset_0 = make.raw(nifti_bytes(ct_array(), vox_offset=0.0), "zero.nii")
    assert np.array_equal(read_volume(offset_0).array, ct_array())


@pytest.mark.parametrize("kind", ["u1", "i1", "i2", "u2", "i4", "u4", "f4", "f8"])
@pytest.mark.parametrize("version", [1, 2])
@pytest.mark.parametrize("order", ["<", ">"])
def test_b51_versions_and_byte_orders_read_as_nibabel(make, kind, version, order):
    array = (ct_array() % 100).astype(kind)
    maker = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    affine = np.array([[0, -0.7, 0, 5], [-0.8, 0, 0, 6], [0, 0, 2.5, 7], [0, 0, 0, 1.0]])
    header = maker.header_class(endianness=order)
    image = maker(array.T, affine, header, dtype=array.dtype)
    path = make.folder / "case.nii.gz"
    nibabel.save(image, path)
    volume = read_volume(path)
    assert volume.array.dtype == array.dtype and volume.array.dtype.isnative
    assert np.array_equal(volume.array, array)
    np.testing.assert_allclose(affine_ras(volume.geometry), affine, atol=1e-6)
    assert read_header(path).format == f"NIfTI-{version}, gzip"


@pytest.mark.parametrize("asked", ["case.hdr", "case.img"])
def test_b51_header_and_image_pair(make, asked):
    image = nibabel.Nifti1Pair(ct_array().T, np.diag([0.7, 0.8, 2, 1]))
    nibabel.save(image, make.folder / "case.hdr")
    assert np.array_equal(read_volume(make.folder / asked).array, ct_array())
    assert read_header(make.folder / asked).format == "NIfTI-1 pair"
    data = (make.folder / "case.img").read_bytes()
    make.raw(data[:-1], "case.img")
    with pytest.raises(UnreadableVolumeError, match="ends early"):
        read_volume(make.folder / asked)
    (make.folder / "case.img").unlink()
    with pytest.raises(UnreadableVolumeError, match=r"case.img: does not exist"):
        read_volume(make.folder / "case.hdr")


def test_analyze_without_magic_is_refused(make):
    with pytest.raises(UnreadableVolumeError, match="magic word is missing"):
        read_volume(make.nifti(magic=b""))


@pytest.mark.parametrize("codes", AXIS_CODES, ids=lambda codes: f"b50-{codes}")
def test_all_48_axis_orders_lie_where_nibabel_says(make, codes):
    stored = nibabel.Nifti1Image(ct_array((8, 9, 10)).T, np.diag([-0.7, -0.8, 2.0, 1.0]))
    turned = stored.as_reoriented(
        ornt_transform(nibabel.io_orientation(stored.affine), axcodes2ornt(codes))
    )
    path = make.folder / "case.nii"
    nibabel.save(turned, path)
    volume = read_volume(path)
    canonical, order = to_canonical(volume)
    # The file before turning runs to L, P, S: its own array is canonical.
    assert np.array_equal(canonical.array, ct_array((8, 9, 10)))
    assert canonical.geometry.axis_codes == "SPL"
    assert np.array_equal(order.undo(canonical.array), volume.array)
    assert canonical_axis_order(volume.geometry) == order
    write_volume(volume, make.folder / "back.nii.gz")
    back = nibabel.load(make.folder / "back.nii.gz")
    assert np.array_equal(np.asarray(back.dataobj), np.asarray(turned.dataobj))
    for affine in (back.get_sform(), back.get_qform()):
        np.testing.assert_allclose(affine, turned.affine, atol=1e-5)


def test_there_are_48_axis_orders():
    assert len(set(AXIS_CODES)) == 48
    assert inv_ornt_aff(axcodes2ornt("RAS"), (1, 1, 1)).tolist() == np.eye(4).tolist()


angles = st.floats(-np.pi, np.pi)
spacings = st.floats(0.25, 15)


@settings(max_examples=40, deadline=None)
@given(
    array=arrays.arrays(
        st.sampled_from([np.uint8, np.int16, np.int32, np.uint32, np.float32, np.float64]),
        st.tuples(*[st.integers(2, 5)] * 3),
    ),
    spacing=st.tuples(spacings, spacings, spacings),
    turn=st.tuples(angles, angles, angles),
    mirrored=st.booleans(),
    suffix=st.sampled_from([".nii", ".nii.gz"]),
)
def test_any_volume_comes_back(tmp_path_factory, array, spacing, turn, mirrored, suffix):
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        array = np.zeros_like(array)
    a, b, c = turn
    z = np.array([[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]])
    y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    x = np.array([[1, 0, 0], [0, np.cos(c), -np.sin(c)], [0, np.sin(c), np.cos(c)]])
    direction = z @ y @ x * (1, 1, -1 if mirrored else 1)
    geometry = Geometry(spacing, (1.5, -200.25, 7.0), tuple(map(tuple, direction.tolist())))
    path = tmp_path_factory.mktemp("trip") / f"case{suffix}"
    write_nifti(Volume(array, geometry), path)
    back = read_volume(path)
    assert back.array.dtype == array.dtype and np.array_equal(back.array, array)
    np.testing.assert_allclose(back.geometry.affine, geometry.affine, atol=2e-4)
    # Another reader sees the same in both transforms.
    image = nibabel.load(path)
    np.testing.assert_allclose(image.get_qform(), affine_ras(geometry), atol=2e-3)


def test_files_are_reproducible_and_views_are_written(make):
    array = ct_array((20, 30, 40))
    geometry = Geometry((2.0, 0.8, 0.7))
    write_volume(Volume(array, geometry), make.folder / "a.nii.gz")
    write_volume(Volume(array[::-1].copy()[::-1], geometry), make.folder / "b.nii.gz")
    assert (make.folder / "a.nii.gz").read_bytes() == (make.folder / "b.nii.gz").read_bytes()
    big = Volume(array.astype(">i2"), geometry)
    write_volume(big, make.folder / "c.nii.gz")
    assert (make.folder / "c.nii.gz").read_bytes() == (make.folder / "a.nii.gz").read_bytes()


def test_long_axes_become_nifti_2(make):
    long = Volume(np.zeros((2, 2, 40000), np.uint8), Geometry((1.0, 1.0, 1.0)))
    write_volume(long, make.folder / "long.nii.gz")
    assert read_header(make.folder / "long.nii.gz").format == "NIfTI-2, gzip"
    assert nibabel.load(make.folder / "long.nii.gz").shape == (40000, 2, 2)
    assert read_label_map(make.folder / "long.nii.gz").shape == long.shape


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_write_that_the_disk_spoils_is_refused(make, monkeypatch, suffix):
    path = make.raw(b"old", f"case{suffix}")

    def spoiling(path, write, *, verify):
        def spoiled(stream):
            write(stream)
            stream.seek(500)
            stream.write(b"\xff")

        write_file(path, spoiled, verify=verify)

    monkeypatch.setattr("flare_io._nifti_writer.write_file", spoiling)
    with pytest.raises(UnreadableVolumeError):
        write_volume(Volume(ct_array(), Geometry((2.0, 0.8, 0.7))), path)
    assert path.read_bytes() == b"old"


def test_other_types_and_names_are_wrong_arguments(make):
    grid = Geometry((1.0, 1.0, 1.0))
    with pytest.raises(ValueError, match="up to 64 bits, got complex64"):
        write_volume(Volume(np.zeros((2, 2, 2), np.complex64), grid), make.folder / "a.nii")
    with pytest.raises(ValueError, match=r"must end in .nii or .nii.gz"):
        write_nifti(Volume(np.zeros((2, 2, 2)), grid), make.folder / "a.mha")


@settings(max_examples=150, deadline=None)
@given(data=st.binary(min_size=0, max_size=60), offset=st.integers(0, 347))
def test_no_header_crashes_the_reader(tmp_path_factory, data, offset):
    whole = bytearray(nifti_bytes(ct_array((2, 3, 4))))
    whole[offset : offset + len(data)] = data
    path = tmp_path_factory.mktemp("fuzz") / "case.nii"
    path.write_bytes(bytes(whole))
    with contextlib.suppress(UnreadableVolumeError, GeometryError):
        read_volume(path)
