import errno
import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_io import _nifti_writer, atomic
from flare_io.errors import UnreadableVolumeError
from flare_io.files import read_label_map, write_label_map
from flare_io.geometry import Geometry
from flare_io.label_slabs import write_label_slabs
from flare_io.volume import Volume

GRID = Geometry((2.0, 0.8, 0.7), (30.0, 20.0, 10.0))
WHOLE = slice(None)


def slabs_of(array, cuts):
    edges = [0, *sorted(cuts), len(array)]
    return [((slice(a, b), WHOLE, WHOLE), array[a:b]) for a, b in pairwise(edges)]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 99), cuts=st.lists(st.integers(0, 13), max_size=5))
def test_slabs_give_the_bytes_of_the_whole(tmp_path_factory, suffix, seed, cuts):
    folder = tmp_path_factory.mktemp("slabs")
    array = np.random.default_rng(seed).integers(0, 15, (13, 30, 41)).astype(np.uint8)
    write_label_map(Volume(array, GRID), folder / f"whole{suffix}")
    path = folder / f"slabs{suffix}"
    digest = write_label_slabs(slabs_of(array, cuts), path, shape=array.shape, geometry=GRID)
    assert path.read_bytes() == (folder / f"whole{suffix}").read_bytes()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()


def test_pieces_are_cut_where_a_whole_map_is_cut(tmp_path, monkeypatch):
    # Three planes fit into a piece; slabs of five lie across its edges.
    monkeypatch.setattr(_nifti_writer, "_PIECE_BYTES", 3 * 100 * 100 + 1)
    array = np.random.default_rng(1).integers(0, 15, (20, 100, 100)).astype(np.uint8)
    write_label_map(Volume(array, GRID), tmp_path / "whole.nii.gz")
    slabs = slabs_of(array, (5, 10, 15))
    write_label_slabs(slabs, tmp_path / "slabs.nii.gz", shape=array.shape, geometry=GRID)
    assert (tmp_path / "slabs.nii.gz").read_bytes() == (tmp_path / "whole.nii.gz").read_bytes()


def test_what_no_slab_covers_is_0(tmp_path):
    place = (slice(2, 4), slice(1, 3), slice(0, 5))
    slabs = [(place, np.full((2, 2, 5), 7, np.uint8))]
    write_label_slabs(slabs, tmp_path / "a.nii", shape=(6, 4, 8), geometry=GRID)
    expected = np.zeros((6, 4, 8), np.uint8)
    expected[2:4, 1:3, :5] = 7
    assert np.array_equal(read_label_map(tmp_path / "a.nii").array, expected)
    write_label_slabs([], tmp_path / "none.nii", shape=(6, 4, 8), geometry=GRID)
    assert not read_label_map(tmp_path / "none.nii").array.any()


@pytest.mark.parametrize(
    ("slabs", "message"),
    [
        ([(4, 6, np.uint8), (0, 4, np.uint8)], "must lie behind one another, got planes 0 to 4"),
        ([(0, 4, np.uint8), (3, 6, np.uint8)], "must lie behind one another, got planes 3 to 6"),
        ([(4, 9, np.uint8)], "got planes 4 to 6 in an array of 5"),
        ([(0, 6, np.uint16)], "must be uint8, got uint16"),
    ],
    ids=["backward", "twice", "beyond", "type"],
)
def test_other_slabs_are_refused_and_leave_no_file(tmp_path, slabs, message):
    given = [((slice(a, b), WHOLE, WHOLE), np.zeros((b - a, 4, 8), dtype)) for a, b, dtype in slabs]
    with pytest.raises(ValueError, match=message):
        write_label_slabs(given, tmp_path / "a.nii.gz", shape=(6, 4, 8), geometry=GRID)
    assert list(tmp_path.iterdir()) == []


def test_a_name_of_another_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"must end in .nii or .nii.gz, got 'a.mha'"):
        write_label_slabs([], tmp_path / "a.mha", shape=(6, 4, 8), geometry=GRID)


@pytest.mark.parametrize("operation", ["create", "write", "flush", "verify", "rename"])
def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch, operation):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"old")

    def full(at):
        if at == operation:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "failpoint", full)
    with pytest.raises(OSError, match="No space left"):
        write_label_slabs([], path, shape=(6, 4, 8), geometry=GRID)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_slabs_that_fail_leave_nothing(tmp_path):
    def slabs():
        yield (slice(0, 2), WHOLE, WHOLE), np.zeros((2, 4, 8), np.uint8)
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_label_slabs(slabs(), tmp_path / "a.nii", shape=(6, 4, 8), geometry=GRID)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_spoils_bytes_is_found_out(tmp_path, monkeypatch):
    write_file = atomic.write_file

    def spoiling(path, write, *, verify):
        def spoiled(stream):
            write(stream)
            stream.seek(400)
            stream.write(b"\xff")

        write_file(path, spoiled, verify=verify)

    monkeypatch.setattr(_nifti_writer, "write_file", spoiling)
    with pytest.raises(UnreadableVolumeError):
        write_label_slabs([], tmp_path / "a.nii", shape=(6, 4, 8), geometry=GRID)
