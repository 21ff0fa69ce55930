import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest

from flare_train.errors import StoppedError
from flare_train.recipe import read_recipe
from flare_train.run_recipe import run_recipe
from flare_train.stages.graph import Stage, wanted_for
from flare_train.stages.runner import graph_state, run_graph
from flare_train.stages.worker import StageError, error_of

SHORT = {
    "stages.net.config.epochs": 2,
    "stages.net.config.iterations_per_epoch": 2,
}


def recipe_of(**changes):
    return read_recipe("swift-plus", scale="unit", changes={**SHORT, **changes})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """Return the folder of a finished run."""
    folder = tmp_path_factory.mktemp("run")
    run_recipe(recipe_of(), folder)
    return folder


def model_weights(folder):
    return (folder / "model" / "weights.safetensors").read_bytes()


def names_waiting(recipe, folder):
    return [stage.name for stage in graph_state(recipe.stages, folder).waiting]


def test_nothing_is_left_after_a_run(done):
    assert names_waiting(recipe_of(), done) == []


def test_a_change_concerns_only_what_follows(done):
    assert names_waiting(recipe_of(**{"stages.predicted.mode": "exact"}), done) == [
        "predicted",
        "scored",
    ]
    assert names_waiting(recipe_of(**{"stages.fused.options.tie": "A"}), done) == [
        "fused",
        "cases",
        "net",
        "predicted",
        "scored",
    ]


def test_both_results_of_a_change_stay(done):
    changed = recipe_of(**{"stages.predicted.mode": "exact"})
    results = run_graph(changed.stages, done)
    assert len(list((done / "stages" / "predicted").iterdir())) == 2
    assert results["net"].folder == next((done / "stages" / "net").iterdir())
    assert names_waiting(recipe_of(), done) == []


def test_a_run_can_be_moved(done, tmp_path):
    shutil.copytree(done, tmp_path / "moved")
    shutil.move(tmp_path / "moved", tmp_path / "elsewhere")
    changed = recipe_of(**{"stages.fused.options.tie": "B"})
    before = done.stat().st_mtime_ns
    results = run_graph(wanted_for(changed.stages, ["fused"]), tmp_path / "elsewhere")
    sources = json.loads((results["fused"].folder / "fused" / "report.json").read_text())["dataset"]
    assert sources.startswith(str(tmp_path))
    assert done.stat().st_mtime_ns == before


def test_a_stage_that_fails_is_named(done):
    recipe = recipe_of(**{"stages.net.validation": 99})
    for jobs in (1, 2):
        with pytest.raises(StageError, match="stage net: validation_cases must leave") as caught:
            run_graph(recipe.stages, done, jobs=jobs)
        assert caught.value.exit_code == 2
    assert names_waiting(recipe, done) == ["net", "predicted", "scored"]


def test_a_dead_process_is_a_lack_of_resources(tmp_path):
    (data,) = wanted_for(recipe_of().stages, ["data"])
    error = error_of(data, tmp_path, -9)
    assert str(error) == (
        "stage data: its process was killed by signal 9, perhaps for lack of memory"
    )
    assert error.exit_code == 5


def test_dataset_is_known_by_its_content(done, tmp_path):
    source = next((done / "stages" / "data").iterdir()) / "dataset"
    stages = []
    for name in ("here", "there"):
        shutil.copytree(source, tmp_path / name)
        stages.append(
            [
                Stage(name="data", kind="dataset", settings={"path": str(tmp_path / name)}),
                Stage(name="some", kind="select", settings={"labeled": "yes"}, inputs=("data",)),
            ]
        )
    results = run_graph(stages[0], tmp_path / "run")
    assert results["some"].values["cases"] == [f"phantom_000{k}" for k in (0, 2, 4, 5)]
    state = graph_state(stages[1], tmp_path / "run")
    assert list(state.done) == ["some"]
    label = tmp_path / "there" / "labelsTr" / "phantom_0000.nii.gz"
    shutil.copyfile(tmp_path / "there" / "labelsTr" / "phantom_0002.nii.gz", label)
    assert list(graph_state(stages[1], tmp_path / "run").done) == []


def test_jobs_must_be_positive(tmp_path):
    with pytest.raises(ValueError, match="jobs must be >= 1, got 0"):
        run_graph((), tmp_path, jobs=0)


def start(folder, *words):
    command = [sys.executable, "-m", "flare_train", "run", "swift-plus", "--scale", "unit"]
    command += ["-o", str(folder), "--device", "cpu", *words]
    for name, value in SHORT.items():
        command += ["--set", f"{name}={value}"]
    return subprocess.Popen(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, stderr=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize(("number", "jobs"), [("SIGTERM", 1), ("SIGTERM", 2), ("SIGKILL", 1)])
def test_stopped_and_run_again_ends_with_the_same_bytes(done, tmp_path, number, jobs):
    process = start(tmp_path, "--jobs", str(jobs))
    while not (tmp_path / "stages" / "fused").exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(getattr(signal, number))
    error = process.communicate()[1].splitlines()[-1]
    if number == "SIGTERM":
        assert process.returncode == 75
        assert "stopped by SIGTERM" in error
        assert "run the same command again" in error
    assert "scored" in names_waiting(recipe_of(), tmp_path)
    # Side by side or in turn, in processes or in this one: the result is the same.
    run_recipe(recipe_of(), tmp_path, jobs=jobs)
    assert model_weights(tmp_path) == model_weights(done)


def test_a_signal_inside_a_stage(tmp_path):
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGTERM))
    recipe = recipe_of()
    (data,) = wanted_for(recipe.stages, ["data"])
    many = Stage(name="data", kind="phantom", settings={**data.settings, "cases": 200})
    timer.start()
    with pytest.raises(StoppedError, match="stage data stopped by SIGTERM"):
        run_graph([many], tmp_path)
    timer.join()
    assert not list(tmp_path.glob("stages/data/*/stage.json"))
    spent = json.loads(next(tmp_path.glob("stages/data/*/spent.json")).read_text())
    assert spent["seconds"] > 0
