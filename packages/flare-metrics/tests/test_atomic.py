"""Files that are old or new, never torn."""

import errno
import json

import pytest

from flare_metrics import atomic
from flare_metrics.atomic import refuse_unwritable, write_json, write_text

STEPS = ["create", "write", "flush", "fsync", "replace", "fsync folder"]


def failing_at(step, error):
    def check(name):
        if name == step:
            raise error

    return check


def test_steps_pass_in_this_order(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(atomic, "_io", seen.append)
    write_text(tmp_path / "a.txt", "new")
    assert seen == STEPS


@pytest.mark.parametrize("before", [None, "old"])
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()],
    ids=["full", "killed"],
)
def test_a_failure_at_any_step_leaves_the_old_or_the_new_file(
    tmp_path, monkeypatch, before, step, error
):
    path = tmp_path / "a.txt"
    if before is not None:
        path.write_text(before)
    monkeypatch.setattr(atomic, "_io", failing_at(step, error))
    with pytest.raises(type(error)):
        write_text(path, "new")
    replaced = step == "fsync folder"
    content = path.read_text() if path.exists() else None
    assert content == ("new" if replaced else before)
    assert [file.name for file in tmp_path.iterdir()] == (["a.txt"] if content else [])


def test_the_temporary_lies_in_the_same_folder(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        atomic, "_io", lambda step: seen.extend(tmp_path.iterdir()) if step == "fsync" else None
    )
    write_text(tmp_path / "a.txt", "new")
    assert [path.name.startswith(".a.txt.") for path in seen] == [True]


def test_json_refuses_what_other_readers_cannot_read(tmp_path):
    write_json(tmp_path / "a.json", {"mean": None})
    assert json.loads((tmp_path / "a.json").read_text()) == {"mean": None}
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "a.json", {"mean": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"mean": None}


def test_broken_bytes_of_a_name_are_escaped(tmp_path):
    write_text(tmp_path / "a.csv", "caf\udce9,1\n")
    assert (tmp_path / "a.csv").read_bytes() == b"caf\\udce9,1\n"


def test_a_folder_to_write_to_is_made_and_left_empty(tmp_path):
    refuse_unwritable(tmp_path / "new" / "out")
    assert list((tmp_path / "new" / "out").iterdir()) == []
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match=r"file"):
        refuse_unwritable(tmp_path / "file" / "out")
