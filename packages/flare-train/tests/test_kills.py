"""A run that is killed at random moments ends with the same files as an unbroken one."""

import dataclasses
import json
import os
import shutil
import signal
import time

import numpy as np
import pytest

from flare_train.loop import fit

KILLS = 10


def content(folder):
    """Return what a run left, but for times of the clock."""
    found = {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*.safetensors"))
    }
    for line in (folder / "metrics.jsonl").read_text().splitlines():
        record = json.loads(line)
        del record["finished_at"], record["seconds"]
        found[f"epoch {record['epoch']}"] = record
    return found


@pytest.mark.parametrize("seed", [1])
def test_ten_kills_at_random_moments(tmp_path, fork, cases, validation, make_config, seed):
    config = make_config(ema_decay=0.99, snapshot_every=1, keep_best=True, validate_every=1)
    begun = time.monotonic()
    fit(config, cases, tmp_path / "unbroken", validation=validation)
    duration = time.monotonic() - begun
    expected = content(tmp_path / "unbroken")
    assert len([name for name in expected if name.startswith("snapshots/")]) == 3

    folder = tmp_path / "killed"
    rng = np.random.default_rng(seed)
    kills = resumed = 0
    while kills < KILLS or not resumed:
        child = fork(lambda: fit(config, cases, folder, validation=validation) and 0)
        # Longer each time, as a busy machine takes its time to start.
        time.sleep(rng.uniform(0, duration / 3) * (1 + kills / KILLS))
        os.kill(child, signal.SIGKILL)
        status = os.waitpid(child, 0)[1]
        if os.WIFSIGNALED(status):
            kills += 1
            resumed += any(folder.glob("checkpoints/*"))
        else:
            assert os.WEXITSTATUS(status) == 0
            assert content(folder) == expected
            shutil.rmtree(folder)
    fit(config, cases, folder, validation=validation)
    assert content(folder) == expected


def test_what_changes_no_weight_may_change_on_resume(tmp_path, cases, validation, make_config):
    config = make_config()
    first = fit(config, cases, tmp_path / "a", validation=validation)
    short = dataclasses.replace(config, validate_every=0, checkpoint_every=1, workers=0)
    with pytest.MonkeyPatch.context() as patch:
        stop_in_epoch_three(patch)
        with pytest.raises(KeyboardInterrupt):
            fit(short, cases, tmp_path / "b")
    second = fit(config, cases, tmp_path / "b", validation=validation)
    for name, value in first.state.net.state_dict().items():
        assert value.equal(second.state.net.state_dict()[name])


def stop_in_epoch_three(patch):
    import flare_train.loop as loop

    step = loop.train_step

    def dying(state, *given, **options):
        if state.iteration == 12:
            raise KeyboardInterrupt
        return step(state, *given, **options)

    patch.setattr(loop, "train_step", dying)
