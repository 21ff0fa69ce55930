import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from flare_io import atomic
from flare_io.atomic import replacing, write_file, write_json, write_text

# A child that fails at operation k of one write: writer, path, k, fault.
CHILD = """
import os, signal, sys
import numpy as np
from flare_io import atomic
from flare_io.files import write_label_map, write_volume
from flare_io.geometry import Geometry
from flare_io.volume import Volume
writer, path, stop, fault = sys.argv[1:]
count = 0
def fail(operation):
    global count
    if count == int(stop):
        if fault == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        raise OSError(28, "No space left on device")
    count += 1
atomic.failpoint = fail
new = Volume(np.full((8, 9, 10), 2, np.int16), Geometry((1.0, 1.0, 1.0)))
if writer == "json":
    atomic.write_json(path, {"state": "new"})
else:
    write_volume(new, path)
"""
FILES = {"json": "state.json", "nifti": "case.nii.gz", "plain": "case.nii", "mha": "case.mha"}


def write_old(writer: str, path: Path) -> bytes:
    import numpy as np

    from flare_io.files import write_volume
    from flare_io.geometry import Geometry
    from flare_io.volume import Volume

    if writer == "json":
        write_json(path, {"state": "old"})
    else:
        write_volume(Volume(np.full((8, 9, 10), 1, np.int16), Geometry((1.0, 1.0, 1.0))), path)
    return path.read_bytes()


def run_child(writer: str, path: Path, stop: int, fault: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, writer, str(path), str(stop), fault], capture_output=True
    )
    return done.returncode


@pytest.mark.parametrize("writer", FILES)
@pytest.mark.parametrize("fault", ["kill", "full-disk"], ids=["j01-kill", "j03-full-disk"])
def test_a_fault_at_any_operation_leaves_old_or_new(tmp_path, writer, fault):
    path = tmp_path / FILES[writer]
    old = write_old(writer, path)
    outcomes = []
    for stop in range(40):
        path.write_bytes(old)
        code = run_child(writer, path, stop, fault)
        outcomes.append(path.read_bytes() != old)
        if code == 0:
            break
        assert code == (-signal.SIGKILL if fault == "kill" else 1)
        if fault == "full-disk":
            assert list(tmp_path.iterdir()) == [path]
    else:
        pytest.fail("the write never ended")
    new = path.read_bytes()
    assert len(outcomes) > 5
    # Old up to the rename, new from there on, and a clean run leaves nothing of the killed ones.
    assert outcomes == sorted(outcomes) and outcomes[-1] and not outcomes[0]
    assert list(tmp_path.iterdir()) == [path]
    assert new != old


@pytest.mark.parametrize("name", ["j03-new", "j03-over-old"])
def test_enospc_at_every_operation_in_this_process(tmp_path, monkeypatch, name):
    path = tmp_path / "note.txt"
    before = b"old" if name.endswith("old") else None
    operations = []
    monkeypatch.setattr(atomic, "failpoint", operations.append)
    write_text(tmp_path / "probe.txt", "new")
    (tmp_path / "probe.txt").unlink()
    assert operations == ["create", "write", "flush", "rename", "flush-folder"]
    for stop in range(len(operations)):
        path.unlink(missing_ok=True)
        if before is not None:
            path.write_bytes(before)
        seen = []

        def fail(operation, stop=stop, seen=seen):
            seen.append(operation)
            if len(seen) == stop + 1:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(atomic, "failpoint", fail)
        with pytest.raises(OSError, match="No space"):
            write_text(path, "new")
        renamed = operations[stop] == "flush-folder"
        found = path.read_bytes() if path.exists() else None
        assert found == (b"new" if renamed else before)
        assert len(list(tmp_path.iterdir())) == (found is not None)


def test_a_full_disk_raises(tmp_path):
    if not Path("/dev/full").exists():
        pytest.skip("this system has no /dev/full")
    (tmp_path / "sub").mkdir()
    with pytest.raises(OSError, match="No space"), open("/dev/full", "wb", buffering=0) as full:
        atomic._Watched(full).write(b"x")


def test_verify_stops_the_replacement(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")

    def refuse(temporary: Path) -> None:
        assert temporary.read_bytes() == b"new"
        assert temporary.suffix == ".bin" and temporary.parent == tmp_path
        raise ValueError("not good enough")

    with pytest.raises(ValueError, match="not good enough"):
        write_file(path, lambda stream: stream.write(b"new"), verify=refuse)
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_short_writes_are_completed():
    class Reluctant:
        data = b""

        def write(self, view):
            self.data += bytes(view[:3])
            return min(3, len(view))

    raw = Reluctant()
    assert atomic._Watched(raw).write(b"0123456789") == 10
    assert raw.data == b"0123456789"


def test_writers_that_seek_are_served(tmp_path):
    def write(stream):
        stream.write(b"....end")
        stream.seek(0)
        stream.write(b"head")
        assert stream.tell() == 4

    write_file(tmp_path / "a", write)
    assert (tmp_path / "a").read_bytes() == b"headend"


def test_a_dead_writers_temporary_is_removed_and_a_living_ones_kept(tmp_path):
    dead = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True
    )
    gone = tmp_path / f".{int(dead.stdout)}-1-{atomic._HOST}.partial.a[1].txt"
    elsewhere = tmp_path / f".{int(dead.stdout)}-1-another.partial.a[1].txt"
    alive = tmp_path / f".{os.getppid()}-1-{atomic._HOST}.partial.a[1].txt"
    for path in (gone, elsewhere, alive):
        path.write_text("half")
    write_text(tmp_path / "a[1].txt", "whole")
    assert not gone.exists() and alive.exists() and elsewhere.exists()


def test_a_missing_folder_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        write_text(tmp_path / "no" / "a.txt", "x")


def test_json_keeps_order_and_refuses_nan(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"b": "ö", "a": [1, 2.5]})
    assert list(json.loads(path.read_text(encoding="utf-8"))) == ["b", "a"]
    with pytest.raises(ValueError):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["b"] == "ö"


def test_replacing_needs_a_file(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass
    assert not list(tmp_path.iterdir())
