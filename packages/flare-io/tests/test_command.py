import argparse
import errno
import json

import pytest

from flare_io.command import ExitCode, error_record, exit_code_of, run_command
from flare_io.errors import GeometryError


class OddError(Exception):
    exit_code = 6


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GeometryError("a", "b"), 3),
        (OddError(), 6),
        (ValueError("x"), 2),
        (TypeError("x"), 2),
        (KeyError("x"), 1),
        (AssertionError(), 1),
        (MemoryError(), 5),
        (OSError(errno.ENOSPC, "full"), 5),
        (PermissionError(errno.EACCES, "no"), 5),
        (OSError(errno.EIO, "bad disk"), 3),
        (FileNotFoundError(errno.ENOENT, "gone"), 3),
        (KeyboardInterrupt(), 130),
    ],
)
def test_exit_codes(error, code):
    assert exit_code_of(error) == code


def run(error, **options):
    def command(arguments):
        raise error

    return run_command("flare-x", command, argparse.Namespace(**options))


def test_an_error_is_one_line(capsys):
    assert run(GeometryError("a.nii", "spacing\nmust be > 0", found="0")) == 3
    captured = capsys.readouterr()
    assert captured.err == "flare-x: a.nii: spacing must be > 0, found 0\n"
    assert captured.out == ""


def test_debug_shows_the_traceback(capsys):
    run(GeometryError("a.nii", "is bad"), debug=True)
    assert "Traceback" in capsys.readouterr().err


def test_json_prints_the_record(capsys):
    run(GeometryError("a.nii", "is bad", kind="shear"), json=True)
    assert json.loads(capsys.readouterr().out)["error"]["kind"] == "shear"


def test_a_bug_asks_for_a_report(capsys):
    assert run(KeyError("x")) == ExitCode.BUG
    assert "bug: KeyError" in capsys.readouterr().err
    assert error_record(KeyError("x"))["kind"] == "bug"
    assert error_record(MemoryError())["kind"] == "resources"


def test_what_a_command_returns_is_the_exit_code(capsys):
    assert run_command("flare-x", lambda arguments: 4, argparse.Namespace()) == 4


def test_a_closed_pipe_is_no_error(monkeypatch):
    class Stderr:
        closed = False

        def close(self):
            self.closed = True

    stderr = Stderr()
    monkeypatch.setattr("sys.stderr", stderr)
    assert run(BrokenPipeError()) == 0 and stderr.closed
