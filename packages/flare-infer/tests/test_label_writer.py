import errno
import hashlib
import threading

import numpy as np
import pytest

from flare_infer.label_writer import LabelWriter, file_sha256, run_along_file
from flare_io import atomic
from flare_io.files import write_label_map
from flare_io.geometry import Geometry
from flare_io.intensity import Intensity
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume

GRID = Geometry((2.0, 0.8, 0.7), (30.0, 20.0, 10.0))
SUFFIXES = [".nii.gz", ".nii", ".mha", ".nrrd"]


@pytest.fixture
def labels():
    array = np.random.default_rng(0).integers(0, 15, (12, 20, 30)).astype(np.uint8)
    return Volume(array, GRID)


def writer_of(path, labels, *, along=True):
    return LabelWriter(path, shape=labels.shape, geometry=labels.geometry, along=along)


def put_slabs(writer, array):
    for first in range(0, len(array), 5):
        last = min(first + 5, len(array))
        writer.put((slice(first, last), slice(None), slice(None)), array[first:last])


def is_left():
    return any(each.name.startswith("flare-infer-write") for each in threading.enumerate())


@pytest.mark.parametrize("along", [True, False])
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_bytes_are_those_of_a_map_written_whole(tmp_path, labels, suffix, along):
    write_label_map(labels, tmp_path / f"whole{suffix}")
    path = tmp_path / f"a{suffix}"
    with writer_of(path, labels, along=along) as writer:
        put_slabs(writer, labels.array)
        assert not path.exists()
        digest = writer.finish(labels)
    assert path.read_bytes() == (tmp_path / f"whole{suffix}").read_bytes()
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest() == file_sha256(path)
    assert not is_left()


def test_wide_labels_are_written_whole_in_the_smallest_type(tmp_path, labels):
    wide = labels.with_array(labels.array.astype(np.uint16))
    write_label_map(labels, tmp_path / "whole.nii.gz")
    with writer_of(tmp_path / "a.nii.gz", wide) as writer:
        put_slabs(writer, wide.array)
        writer.finish(wide)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "whole.nii.gz").read_bytes()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_what_stops_the_network_stops_the_writer_and_leaves_the_old_file(tmp_path, labels, error):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(b"old")
    begun = threading.Event()
    with pytest.raises(error), writer_of(path, labels) as writer:
        write = writer._write
        writer._write = lambda: (begun.set(), write())
        put_slabs(writer, labels.array)
        assert begun.wait(60)
        raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    assert not is_left()


def test_a_disk_that_fills_up_at_the_first_slab_is_told_at_the_end(tmp_path, labels, monkeypatch):
    def full(operation):
        if operation == "write":
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(atomic, "failpoint", full)
    with writer_of(tmp_path / "a.nii.gz", labels) as writer:
        put_slabs(writer, labels.array)
        with pytest.raises(OSError, match="No space left"):
            writer.finish(labels)
    assert list(tmp_path.iterdir()) == []


def test_no_thread_begins_before_there_is_a_slab(tmp_path, labels):
    with writer_of(tmp_path / "a.nii.gz", labels):
        assert not is_left()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("axes", "transpose", "codes", "expected"),
    [
        ("canonical", (0, 1, 2), "LPS", True),
        # Flips within a plane change nothing.
        ("canonical", (0, 1, 2), "RAS", True),
        ("canonical", (0, 1, 2), "LPI", False),
        ("canonical", (0, 1, 2), "SPL", False),
        ("canonical", (1, 0, 2), "LPS", False),
        # The network's first axis, anterior to posterior, is the slowest of the file.
        ("canonical", (1, 0, 2), "LSP", True),
        ("as_stored", (0, 1, 2), "LPI", True),
        ("as_stored", (2, 0, 1), "LPS", False),
    ],
)
def test_planes_come_along_the_file(axes, transpose, codes, expected):
    scheme = Intensity(scheme="none")
    preprocessing = Preprocessing(
        spacing_mm=None, intensities=(scheme,), axes=axes, transpose=transpose
    )
    # Letters name the file's axes, the fastest first.
    geometry = Geometry.from_axis_letters(codes, spacing_mm=(1.0, 1.0, 1.0))
    assert run_along_file(preprocessing, geometry) is expected
