"""SIGKILL at ten random moments of preprocessing: the next call ends with the same store."""

import os
import signal
import time

import numpy as np

from flare_io.dataset import read_dataset
from flare_train.cases import build_store, training_cases
from flare_train.store import read_stored_case, stored_key


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def start(action):
    child = os.fork()
    if child == 0:
        try:
            action()
        finally:
            os._exit(0)
    return child


def test_store_after_ten_kills_equals_the_unbroken_one(tmp_path, phantom_folder, make_run_config):
    dataset = read_dataset(phantom_folder)
    cases = training_cases(dataset, labels=phantom_folder / "truthTr")
    preprocessing = make_run_config().preprocessing

    def build(folder):
        return build_store(cases, preprocessing, folder, table=dataset.table)

    begin = time.monotonic()
    build(tmp_path / "unbroken")
    duration = time.monotonic() - begin
    expected = contents(tmp_path / "unbroken")
    moments = np.random.default_rng(5).uniform(0, duration, 10)
    cut_short = 0
    for number, moment in enumerate(moments):
        folder = tmp_path / str(number)
        child = start(lambda folder=folder: build(folder))
        time.sleep(moment)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        whole = [case.id for case in cases if folder.is_dir() and stored_key(folder, case.id)]
        cut_short += len(whole) < len(cases)
        for id in whole:
            case = read_stored_case(folder, id)
            assert case.image.shape[1:] == case.labels.shape
        build(folder)
        assert contents(folder) == expected
    assert cut_short >= 5
