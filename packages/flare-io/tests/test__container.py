import gzip
import re
import zlib

import numpy as np
import pytest
import SimpleITK

from flare_io.errors import GeometryError, UnreadableVolumeError
from flare_io.files import read_header, read_label_map, read_volume, write_volume
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

from .conftest import ct_array

META = """ObjectType = Image
NDims = 3
BinaryData = True
BinaryDataByteOrderMSB = False
CompressedData = False
TransformMatrix = 1 0 0 0 1 0 0 0 1
Offset = 10 20 30
ElementSpacing = 0.7 0.8 2
DimSize = 11 10 9
ElementType = MET_SHORT
ElementDataFile = LOCAL
"""
NRRD = """NRRD0004
# a comment: that is none of ours
type: short
dimension: 3
space: left-posterior-superior
sizes: 11 10 9
space directions: (0.7,0,0) (0,0.8,0) (0,0,2)
kinds: domain domain domain
endian: little
encoding: raw
space origin: (10,20,30)
"""
VOXELS = ct_array().tobytes()
TEXTS = {"case.mha": META, "case.nrrd": NRRD + "\n"}


def changed(name: str, *pairs: tuple[str, str], data: bytes = VOXELS) -> bytes:
    text = TEXTS[name]
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text.encode() + data


@pytest.mark.parametrize("name", TEXTS)
def test_files_written_by_hand_are_read(make, name):
    volume = read_volume(make.raw(changed(name), name))
    assert np.array_equal(volume.array, ct_array())
    assert volume.geometry == Geometry((2.0, 0.8, 0.7), (30.0, 20.0, 10.0))
    assert volume.notes == ()


@pytest.mark.parametrize("name", TEXTS)
@pytest.mark.parametrize("missing", [1, 990, 1980])
def test_b12_short_data_is_refused(make, name, missing):
    path = make.raw(changed(name)[:-missing], name)
    with pytest.raises(UnreadableVolumeError, match=f"1980 bytes, found {1980 - missing}"):
        read_volume(path)


@pytest.mark.parametrize("name", TEXTS)
def test_b14_bytes_behind_the_data(make, name):
    path = make.raw(changed(name) + b"12345", name)
    assert read_volume(path).notes == ("5 bytes behind the voxels passed over",)
    with pytest.raises(UnreadableVolumeError, match="5 bytes behind"):
        read_volume(path, policy=ReadPolicy(strict=True))


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_compressed_data_is_followed_to_its_checksum(tmp_path, suffix):
    path = tmp_path / f"case{suffix}"
    write_volume(Volume(ct_array(), Geometry((2.0, 0.8, 0.7))), path)
    data = path.read_bytes()
    start = len(data) - 1000
    for cut in (1, 4, 9, 500):
        path.write_bytes(data[:-cut])
        with pytest.raises(UnreadableVolumeError):
            read_volume(path)
    rng = np.random.default_rng(11)
    for position, bit in zip(
        rng.integers(start, len(data), 100), rng.integers(0, 8, 100), strict=True
    ):
        flipped = bytearray(data)
        flipped[position] ^= 1 << bit
        path.write_bytes(bytes(flipped))
        try:
            found = read_volume(path)
        except UnreadableVolumeError:
            continue
        # The last byte of a deflate stream has bits that mean nothing.
        assert np.array_equal(found.array, ct_array())


@pytest.mark.parametrize("name", TEXTS)
def test_b17_compressed_bombs_are_refused(make, name):
    bomb = VOXELS + bytes(50 << 20)
    if name == "case.mha":
        size = f"CompressedData = True\nCompressedDataSize = {len(zlib.compress(bomb))}"
        content = changed(name, ("CompressedData = False", size), data=zlib.compress(bomb))
    else:
        content = changed(name, ("encoding: raw", "encoding: gzip"), data=gzip.compress(bomb))
    with pytest.raises(UnreadableVolumeError, match="more data than its header promises"):
        read_volume(make.raw(content, name))


@pytest.mark.parametrize(
    ("name", "old", "new", "text"),
    [
        ("case.mha", "DimSize = 11 10 9", "DimSize = 30000 30000 30000", "at most"),
        ("case.mha", "DimSize = 11 10 9", "DimSize = 11 0 9", "three axes"),
        ("case.mha", "DimSize = 11 10 9", "DimSize = 11 x 9", "whole numbers"),
        ("case.mha", "MET_SHORT", "MET_SHORT_ARRAY", "ElementType"),
        ("case.mha", "ElementType", "ElementNumberOfChannels = 3\nElementType", "real numbers"),
        ("case.mha", "= LOCAL", "= ../../etc/passwd", "beside the header"),
        ("case.mha", "= LOCAL", "= LIST", "beside the header"),
        ("case.mha", "= LOCAL", "= gone.raw", "gone.raw: does not exist"),
        ("case.nrrd", "sizes: 11 10 9", "sizes: 30000 30000 30000", "at most"),
        ("case.nrrd", "sizes: 11 10 9", "sizes: 11 90", "three axes"),
        ("case.nrrd", "encoding: raw", "encoding: ascii", "must be raw or gzip"),
        ("case.nrrd", "type: short", "type: block", "type, sizes and encoding"),
        ("case.nrrd", "kinds: domain domain domain", "kinds: vector domain domain", "real numbers"),
        ("case.nrrd", "encoding: raw", "encoding: raw\ndata file: /etc/x", "beside the header"),
        ("case.nrrd", "encoding: raw", "encoding: raw\nline skip: 2", "no skipped lines"),
    ],
)  # fmt: skip
def test_headers_that_cannot_be_verified_are_refused(make, name, old, new, text):
    path = make.raw(changed(name, (old, new)), name)
    with pytest.raises(UnreadableVolumeError, match=re.escape(text)):
        read_volume(path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("case.mha", "TransformMatrix = 1 0 0 0 1 0 0 0 1\n"),
        ("case.nrrd", "space directions: (0.7,0,0) (0,0.8,0) (0,0,2)\n"),
    ],
)
def test_b43_missing_orientation_is_asked_for(make, name, line):
    new = "" if name == "case.mha" else "spacings: 0.7 0.8 2\n"
    pairs = [(line, new)]
    if name == "case.nrrd":
        pairs += [("space: left-posterior-superior\n", ""), ("space origin: (10,20,30)\n", "")]
    path = make.raw(changed(name, *pairs), name)
    with pytest.raises(GeometryError, match="--assume-orientation"):
        read_volume(path)
    volume = read_volume(path, policy=ReadPolicy(assume_orientation="RAS"))
    assert volume.geometry.axis_codes == "SAR"
    assert volume.geometry.spacing_mm == pytest.approx((2.0, 0.8, 0.7))


def test_b39_missing_spacing_is_refused(make):
    path = make.raw(changed("case.mha", ("ElementSpacing = 0.7 0.8 2\n", "")), "case.mha")
    with pytest.raises(GeometryError, match="states no spacing"):
        read_header(path)


@pytest.mark.parametrize("name", ["case.mhd", "case.nhdr"])
def test_voxels_beside_the_header(make, name):
    text = (
        META.replace("LOCAL", "case.raw") if name == "case.mhd" else NRRD + "data file: case.raw\n"
    )
    make.raw(VOXELS, "case.raw")
    path = make.raw(text.encode(), name)
    assert np.array_equal(read_volume(path).array, ct_array())
    make.raw(VOXELS[:-2], "case.raw")
    with pytest.raises(UnreadableVolumeError, match=r"case.raw: ends early"):
        read_volume(path)


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_b25_one_of_three_volumes(make, suffix):
    four = ct_array((3, 8, 9, 10))
    image = SimpleITK.GetImageFromArray(four, isVector=False)
    path = make.folder / f"case{suffix}"
    SimpleITK.WriteImage(image, str(path))
    with pytest.raises(UnreadableVolumeError, match="--volume"):
        read_volume(path)
    for k in range(3):
        assert np.array_equal(read_volume(path, policy=ReadPolicy(volume_index=k)).array, four[k])
    with pytest.raises(UnreadableVolumeError, match="has no volume 3"):
        read_volume(path, policy=ReadPolicy(volume_index=3))


@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
def test_simpleitks_own_files_are_read(make, suffix):
    labels = (ct_array() % 14).astype(np.uint8)
    image = SimpleITK.GetImageFromArray(labels)
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    for compressed in (False, True):
        path = make.folder / f"case{suffix}"
        SimpleITK.WriteImage(image, str(path), useCompression=compressed)
        found = read_label_map(path)
        assert np.array_equal(found.array, labels) and found.geometry.axis_codes == "SAR"


def test_simpleitks_refusal_is_named(make):
    path = make.raw(changed("case.mha", ("1 0 0 0 1 0 0 0 1", "1 0 0 1 1 0 0 0 1")), "case.mha")
    with pytest.raises((UnreadableVolumeError, GeometryError), match=r"case.mha: (SimpleITK|axes)"):
        read_volume(path)


def test_a_write_that_goes_wrong_is_refused(make, monkeypatch):
    path = make.raw(b"old", "case.mha")

    def wrong(volume, temporary):
        real(volume.with_array(volume.array + 1), temporary)

    from flare_io import _sitk

    real = _sitk.write_image
    monkeypatch.setattr(_sitk, "write_image", wrong)
    with pytest.raises(UnreadableVolumeError, match="does not hold what was written"):
        write_volume(Volume(ct_array(), Geometry((2.0, 0.8, 0.7))), path)
    assert path.read_bytes() == b"old" and list(make.folder.iterdir()) == [path]
