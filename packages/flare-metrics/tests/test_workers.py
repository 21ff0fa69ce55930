"""Many cases in processes: in order, none lost, dead workers and Ctrl-C included."""

import os
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from flare_metrics import workers
from flare_metrics.file_pair import Options
from flare_metrics.folder import ScoringInterrupted, score_folder
from flare_metrics.pairs import Pair
from flare_metrics.protocols import protocol

OPTIONS = Options(protocol=protocol("sound"))


@pytest.fixture
def folders(tmp_path):
    array = np.zeros((6, 6, 6), np.uint8)
    array[2:4, 2:4, 2:4] = 1
    for role in ("p", "r"):
        (tmp_path / role).mkdir()
        for k in range(4):
            nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / role / f"case{k}.nii.gz")
    return tmp_path / "p", tmp_path / "r"


def pairs_of(folders):
    files = [tuple(folder / f"case{k}.nii.gz" for folder in folders) for k in range(4)]
    return [
        Pair(case=f"case{k}", predictions=(p,), references=(r,)) for k, (p, r) in enumerate(files)
    ]


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_order(folders, jobs):
    results = list(workers.score_pairs(pairs_of(folders), OPTIONS, jobs=jobs))
    assert [result.case for result in results] == ["case0", "case1", "case2", "case3"]
    assert all(result.status == "scored" for result in results)


class Deadly:
    """Ends the process that unpickles it, as the kernel does when memory runs out."""

    def __reduce__(self):
        return os._exit, (9,)


@pytest.mark.parametrize("deadly", [[0], [3], [0, 2]])
def test_workers_that_die_cost_their_own_cases(folders, deadly):
    pairs = pairs_of(folders)
    for k in deadly:
        pairs[k] = Pair(case=f"case{k}", predictions=(Deadly(),), references=pairs[k].references)
    results = list(workers.score_pairs(pairs, OPTIONS, jobs=2))
    assert [result.case for result in results] == ["case0", "case1", "case2", "case3"]
    assert [k for k, result in enumerate(results) if result.status == "failed"] == deadly
    for k in deadly:
        assert results[k].reason == "the worker died, perhaps for lack of memory"
        assert results[k].error["kind"] == "resources"
        assert results[k].reference.endswith(f"case{k}.nii.gz")


def test_ctrl_c_keeps_what_is_finished(folders, monkeypatch):
    original = workers.score_pair_or_row

    def interrupted_at_the_third(pair, options):
        if pair.case == "case2":
            raise KeyboardInterrupt
        return original(pair, options)

    monkeypatch.setattr(workers, "score_pair_or_row", interrupted_at_the_third)
    with pytest.raises(ScoringInterrupted, match="interrupted: 2 of 4 cases are scored") as caught:
        score_folder(*folders)
    result = caught.value.result
    assert [case.status for case in result.cases] == ["scored", "scored", "failed", "failed"]
    assert result["case3"].reason == "interrupted before"
    assert isinstance(caught.value, KeyboardInterrupt)


def test_a_pool_that_is_left_early_begins_nothing_new(folders):
    running = workers.score_pairs(pairs_of(folders) * 20, OPTIONS, jobs=2)
    assert next(running).case == "case0"
    running.close()


SLOW_FOLDER = """
import os, signal, sys, threading, time
from flare_metrics.folder import ScoringInterrupted, score_folder

if __name__ == "__main__":
    # In the background a shell has it ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    pair = os.path.join(sys.argv[1], "p"), os.path.join(sys.argv[1], "r")
    def press_twice():
        time.sleep(2)
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.3)
    threading.Thread(target=press_twice, daemon=True).start()
    try:
        score_folder(*pair, jobs=2, distances=True)
    except ScoringInterrupted as interruption:
        print(len(interruption.result.cases))
"""


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to itself")
def test_a_second_ctrl_c_kills_the_cases_under_way(folders, tmp_path):
    # Noise keeps the workers busy for many seconds.
    noise = np.random.default_rng(0).integers(0, 15, (2, 150, 150, 150)).astype(np.uint8)
    for folder, array in zip(folders, noise, strict=True):
        for k in range(4):
            (folder / f"case{k}.nii.gz").unlink()
            nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"case{k}.nii")
    script = tmp_path / "slow.py"
    script.write_text(SLOW_FOLDER)
    run = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert run.stdout == "4\n" and run.returncode == 0
