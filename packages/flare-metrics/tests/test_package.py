"""The package as a whole: public names, errors that travel, exit codes, what an import loads."""

import errno
import pickle
import subprocess
import sys

import pytest

import flare_metrics
from flare_metrics.command import ExitCode, exit_code_of
from flare_metrics.errors import GridError, LabelError, UnreadableFileError


def test_public_names_resolve_and_unknown_ones_do_not():
    assert list(flare_metrics.__all__) == sorted(flare_metrics.__all__)
    for name in flare_metrics.__all__:
        assert getattr(flare_metrics, name).__name__ == name
    assert set(flare_metrics.__all__) <= set(dir(flare_metrics))
    with pytest.raises(AttributeError, match="no attribute 'dise'"):
        flare_metrics.dise  # noqa: B018  # the access is the test


def test_importing_and_help_load_nothing_heavy_and_no_sibling():
    code = (
        "import sys, flare_metrics, flare_metrics.cli\n"
        "try:\n    flare_metrics.cli.main(['--help'])\nexcept SystemExit:\n    pass\n"
        "print('MODULES', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.partition("MODULES")[2].split()}
    assert not loaded & {"numpy", "scipy", "nibabel", "SimpleITK", "torch", "flare_io"}


@pytest.mark.parametrize("kind", [UnreadableFileError, GridError, LabelError])
def test_errors_come_back_whole_from_another_process(kind):
    error = kind("a\nb.nii", "must be x", found="y", remedy="do z", kind="word")
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301  # our own bytes
    assert type(copy) is kind
    assert str(copy) == str(error) == "a b.nii: must be x, found y; do z"
    assert copy.record() == error.record()
    assert isinstance(error, OSError if kind is UnreadableFileError else ValueError)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (GridError("a", "b"), ExitCode.REFUSED),
        (UnreadableFileError("a", "b"), ExitCode.REFUSED),
        (OSError(errno.ENOSPC, "full"), ExitCode.RESOURCES),
        (FileNotFoundError(errno.ENOENT, "gone"), ExitCode.REFUSED),
        (TypeError("x"), ExitCode.USAGE),
        (ImportError("x"), ExitCode.USAGE),
        (KeyboardInterrupt(), ExitCode.INTERRUPTED),
        (ZeroDivisionError(), ExitCode.BUG),
    ],
    ids=repr,
)
def test_exit_codes(error, code):
    assert exit_code_of(error) is code
