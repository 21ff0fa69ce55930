import dataclasses
import hashlib
import json
import logging
import signal

import numpy as np
import pytest
import torch

import flare_train.epoch as epoch
import flare_train.loop as loop
from flare_train.checkpoint import find_checkpoints
from flare_train.errors import DivergedError, StoppedError
from flare_train.loop import fit
from flare_train.records import read_records


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def stop_after(monkeypatch, iterations, number=signal.SIGTERM):
    """Send a signal from within the step that makes the run `iterations` long."""
    step = loop.train_step

    def signaling(state, batch, config, **options):
        loss = step(state, batch, config, **options)
        if state.iteration == iterations:
            signal.raise_signal(number)
        return loss

    monkeypatch.setattr(loop, "train_step", signaling)


def comparable(records):
    return [
        {k: v for k, v in record.items() if k not in ("finished_at", "seconds")}
        for record in records
    ]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory, cases, validation, make_config):
    folder = tmp_path_factory.mktemp("unbroken")
    return fit(make_config(), cases, folder, validation=validation)


def test_files_of_a_run(unbroken, config):
    folder = unbroken.checkpoint.parent.parent
    assert json.loads((folder / "config.json").read_text()) == config.to_dict()
    assert (folder / "progress.png").read_bytes().startswith(b"\x89PNG")
    records = read_records(folder / "metrics.jsonl")
    assert [record["iteration"] for record in records] == [5, 10, 15, 20]
    assert [bool(record["dice"]) for record in records] == [False, True, False, True]
    assert set(records[1]["dice"]) == {"1", "14"}
    names = [path.name for path in find_checkpoints(folder / "checkpoints")]
    assert names == ["checkpoint_000000020.safetensors", "checkpoint_000000010.safetensors"]


# In an open epoch; at its last iteration, validated and not; before the first checkpoint.
@pytest.mark.parametrize("iterations", [1, 7, 10, 15])
def test_stopped_and_resumed_run_ends_with_the_same_bytes(
    tmp_path, monkeypatch, cases, validation, config, unbroken, iterations
):
    with monkeypatch.context() as patch:
        stop_after(patch, iterations)
        with pytest.raises(StoppedError, match=f"SIGTERM at iteration {iterations} of 20") as error:
            fit(config, cases, tmp_path, validation=validation)
    assert error.value.exit_code == 75
    result = fit(config, cases, tmp_path, validation=validation)
    assert digest(result.checkpoint) == digest(unbroken.checkpoint)
    assert comparable(result.records) == comparable(unbroken.records)


def test_stop_while_validating_closes_the_epoch_after_resuming(
    tmp_path, monkeypatch, cases, validation, config, unbroken
):
    validate = epoch.validate

    def signaling(net, given, settings, *, should_stop, **options):
        signal.raise_signal(signal.SIGUSR1)
        return validate(net, given, settings, should_stop=should_stop, **options)

    with monkeypatch.context() as patch:
        patch.setattr(epoch, "validate", signaling)
        with pytest.raises(StoppedError, match="SIGUSR1 at iteration 10"):
            fit(config, cases, tmp_path, validation=validation)
    assert len(read_records(tmp_path / "metrics.jsonl")) == 1
    result = fit(config, cases, tmp_path, validation=validation)
    assert digest(result.checkpoint) == digest(unbroken.checkpoint)
    assert comparable(result.records) == comparable(unbroken.records)


def test_killed_run_repeats_from_its_checkpoint(
    tmp_path, monkeypatch, cases, validation, config, unbroken
):
    step = loop.train_step

    def dying(state, batch, settings, **options):
        if state.iteration == 13:
            raise KeyboardInterrupt
        return step(state, batch, settings, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "train_step", dying)
        with pytest.raises(KeyboardInterrupt):
            fit(config, cases, tmp_path, validation=validation)
    # A line that the kill tore, and one of an epoch whose checkpoint was never written.
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"iteration": 15, "epoch": 3, "loss": 1, "dice": {}}\n{"iterat')
    result = fit(config, cases, tmp_path, validation=validation)
    assert digest(result.checkpoint) == digest(unbroken.checkpoint)
    assert comparable(result.records) == comparable(unbroken.records)


def test_finished_run_is_left_alone(tmp_path, monkeypatch, cases, config):
    first = fit(config, cases, tmp_path)
    before = digest(first.checkpoint)

    def never(*_, **__):
        raise AssertionError("a finished run was trained")

    monkeypatch.setattr(loop, "train_step", never)
    assert fit(config, cases, tmp_path).records == first.records
    assert digest(first.checkpoint) == before


def test_order_of_cases_and_workers_change_nothing(tmp_path, cases, validation, config, unbroken):
    result = fit(config, cases[::-1], tmp_path, validation=validation, workers=2)
    assert digest(result.checkpoint) == digest(unbroken.checkpoint)


def test_validation_changes_no_weight(tmp_path, cases, config, unbroken):
    result = fit(config, cases, tmp_path)
    for name, value in result.state.net.state_dict().items():
        assert torch.equal(value, unbroken.state.net.state_dict()[name])


def test_learns(tmp_path, cases, validation, make_config, caplog):
    config = make_config(epochs=16, iterations_per_epoch=15, validate_every=16)
    with caplog.at_level(logging.INFO, "flare_train"):
        result = fit(config, cases, tmp_path, validation=validation)
    losses = [record["loss"] for record in result.records]
    # A net that knows nothing starts near ln 3 - 0.1 = 1; perfection is -1.
    assert losses[0] > 0.3
    assert np.mean(losses[-3:]) < losses[0] - 0.8
    assert min(result.records[-1]["dice"].values()) > 0.6
    assert "epoch 16/16: loss" in caplog.text


def test_bfloat16_learns_too(tmp_path, cases, make_config):
    config = make_config(precision="bfloat16", epochs=6)
    losses = [record["loss"] for record in fit(config, cases, tmp_path).records]
    assert losses[-1] < losses[0]


def test_not_finite_loss_stops_with_the_case_ids(tmp_path, cases, config):
    broken = []
    for case in cases:
        image = np.array(case.image)
        image[..., ::2] = np.inf
        broken.append(dataclasses.replace(case, image=image))
    with pytest.raises(DivergedError, match=r"iteration 0: the loss became nan on the cases case_"):
        fit(config, broken, tmp_path)
    assert find_checkpoints(tmp_path / "checkpoints") == []


def test_seed_decides(tmp_path, cases, make_config, unbroken):
    result = fit(make_config(seed=1), cases, tmp_path)
    assert result.records[0]["loss"] != unbroken.records[0]["loss"]
