"""SIGKILL and a full disk at every operation of a write: what is there afterwards loads."""

import errno
import os
import signal
import subprocess
import sys
from functools import partial

import pytest

import flare_io.atomic as atomic
from flare_train.checkpoint import find_checkpoints, load_checkpoint, save_checkpoint
from flare_train.state import build_state
from flare_train.store import read_stored_case, stored_key, write_stored_case


class FailAt:
    """Raise or kill at operation k of the writing module, counted from 0."""

    def __init__(self, k, action):
        self.k, self.action, self.count = k, action, 0

    def __call__(self, operation):
        self.count += 1
        if self.count == self.k + 1:
            self.action()


def disk_is_full():
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def operations_of(action, monkeypatch):
    counter = FailAt(-1, die)
    monkeypatch.setattr(atomic, "failpoint", counter)
    action()
    monkeypatch.undo()
    return counter.count


def killed_child(action, k):
    """Run an action in a forked child that dies at operation k; return whether it died."""
    child = os.fork()
    if child == 0:
        atomic.failpoint = FailAt(k, die)
        try:
            action()
        finally:
            os._exit(0)
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


@pytest.mark.parametrize("fault", ["kill", "full disk"])
def test_checkpoint_is_old_or_new(tmp_path, monkeypatch, config, fault):
    state = build_state(config)

    def save(iteration):
        state.iteration = iteration
        return save_checkpoint(tmp_path, state, config)

    save(5)
    operations = operations_of(lambda: save(10), monkeypatch)
    # create, write, flush, verify, rename, flush-folder
    assert operations >= 6
    for k in range(operations):
        iteration = 15 + k
        if fault == "kill":
            assert killed_child(partial(save, iteration), k)
        else:
            with monkeypatch.context() as patch:
                patch.setattr(atomic, "failpoint", FailAt(k, disk_is_full))
                with pytest.raises(OSError, match="No space left"):
                    save(iteration)
        newest = find_checkpoints(tmp_path)[0]
        assert load_checkpoint(newest, config).iteration in {10, *range(15, iteration + 1)}
    # The next save ends as ever, and two checkpoints are kept.
    save(99)
    assert load_checkpoint(find_checkpoints(tmp_path)[0], config).iteration == 99
    assert len(find_checkpoints(tmp_path)) == 2


@pytest.mark.parametrize("fault", ["kill", "full disk"])
def test_stored_case_is_whole_or_absent(tmp_path, monkeypatch, make_case, fault):
    case = make_case(0)

    def write():
        write_stored_case(tmp_path, case)

    operations = operations_of(write, monkeypatch)
    # Three arrays and one sidecar.
    assert operations >= 4 * 4
    for k in range(operations):
        if fault == "kill":
            assert killed_child(write, k)
        else:
            with monkeypatch.context() as patch:
                patch.setattr(atomic, "failpoint", FailAt(k, disk_is_full))
                with pytest.raises(OSError, match="No space left"):
                    write()
        assert stored_key(tmp_path, case.id) in (None, case.key)
        if stored_key(tmp_path, case.id):
            assert (read_stored_case(tmp_path, case.id).labels == case.labels).all()
    write()
    assert stored_key(tmp_path, case.id) == case.key


def test_signal_ends_the_command_with_75_and_resume_ends_with_the_same_bytes(
    tmp_path, phantom_folder, run_file
):
    def start(output, *words):
        command = [sys.executable, "-m", "flare_train", *words]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        return subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
        )

    def fit(output):
        labels = phantom_folder / "truthTr"
        words = ("--labels", str(labels), "-c", str(run_file), "-o", str(output))
        return start(output, "fit", str(phantom_folder), *words)

    unbroken = fit(tmp_path / "unbroken")
    stopped = fit(tmp_path / "stopped")
    for line in stopped.stderr:
        if line.startswith("epoch 1/"):
            stopped.send_signal(signal.SIGTERM)
            break
    rest = stopped.communicate()[1]
    assert stopped.returncode == 75, rest
    assert "flare-train: stopped by SIGTERM at iteration" in rest
    assert "run the same command again" in rest
    resumed = start(tmp_path / "stopped", "resume", str(tmp_path / "stopped"))
    _, error = resumed.communicate()
    assert resumed.returncode == 0, error
    assert "going on from iteration" in error
    _, error = unbroken.communicate()
    assert unbroken.returncode == 0, error
    files = ["model/weights.safetensors"]
    files += [
        f"training/checkpoints/{path.name}"
        for path in find_checkpoints(tmp_path / "unbroken" / "training" / "checkpoints")[:1]
    ]
    for name in files:
        same = (tmp_path / "unbroken" / name).read_bytes()
        assert (tmp_path / "stopped" / name).read_bytes() == same
