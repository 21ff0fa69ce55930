import dataclasses
import hashlib

import pytest
import torch
from safetensors import safe_open

from flare_train.batches import build_batch
from flare_train.checkpoint import find_checkpoints, load_checkpoint, save_checkpoint
from flare_train.config import OptimizerConfig
from flare_train.errors import CheckpointError
from flare_train.state import build_state
from flare_train.update import train_step


def trained(config, cases, steps=2):
    state = build_state(config)
    for iteration in range(steps):
        train_step(state, build_batch(cases, config, iteration), config)
    return state


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize("kind", ["sgd", "adamw"])
def test_round_trip_to_the_last_byte(tmp_path, cases, make_config, kind):
    config = make_config(optimizer=OptimizerConfig(kind=kind))
    state = trained(config, cases)
    path = save_checkpoint(tmp_path / "a", state, config, data="d")
    assert path.name == "checkpoint_000000002.safetensors"
    loaded = load_checkpoint(path, config, data="d")
    assert (loaded.iteration, loaded.epoch_losses) == (2, state.epoch_losses)
    again = save_checkpoint(tmp_path / "b", loaded, config, data="d")
    assert digest(again) == digest(path)


def test_a_step_after_loading_equals_the_step_without(tmp_path, cases, config):
    state = trained(config, cases)
    loaded = load_checkpoint(save_checkpoint(tmp_path, state, config), config)
    for each in (state, loaded):
        train_step(each, build_batch(cases, config, 2), config)
    for one, two in zip(state.net.parameters(), loaded.net.parameters(), strict=True):
        assert torch.equal(one, two)


def test_only_the_newest_are_kept(tmp_path, cases, config):
    state = trained(config, cases, steps=1)
    for iteration in (5, 10, 15):
        state.iteration = iteration
        save_checkpoint(tmp_path, state, config)
    (tmp_path / "checkpoint_x.safetensors").write_bytes(b"of somebody else")
    names = [path.name for path in find_checkpoints(tmp_path)]
    assert names == ["checkpoint_000000015.safetensors", "checkpoint_000000010.safetensors"]
    assert (tmp_path / "checkpoint_x.safetensors").exists()


def test_no_folder_holds_no_checkpoints(tmp_path):
    assert find_checkpoints(tmp_path / "nowhere") == []


def test_every_tensor_is_stored_once_by_name(tmp_path, cases, config):
    state = trained(config, cases)
    with safe_open(str(save_checkpoint(tmp_path, state, config)), framework="pt") as file:
        names = set(file.keys())
    parameters = dict(state.net.named_parameters())
    assert {name for name in names if name.startswith("net/")} == {f"net/{p}" for p in parameters}
    slots = ("exp_avg", "exp_avg_sq", "step")
    assert len(names) == len(parameters) * (1 + len(slots))


def test_other_settings_are_refused_by_name(tmp_path, cases, config):
    path = save_checkpoint(tmp_path, trained(config, cases), config)
    other = dataclasses.replace(config, optimizer=OptimizerConfig(kind="sgd"))
    with pytest.raises(CheckpointError, match=r"optimizer.kind 'adamw' there and 'sgd' here"):
        load_checkpoint(path, other)
    with pytest.raises(CheckpointError, match=r"batch 2 there and 4 here"):
        load_checkpoint(path, dataclasses.replace(config, batch=4))


def test_bookkeeping_may_change(tmp_path, cases, config):
    path = save_checkpoint(tmp_path, trained(config, cases), config)
    other = dataclasses.replace(config, validate_every=1, checkpoint_every=1, keep_checkpoints=9)
    assert load_checkpoint(path, other).iteration == 2


def test_other_cases_are_refused(tmp_path, cases, config):
    path = save_checkpoint(tmp_path, trained(config, cases), config, data="these")
    with pytest.raises(CheckpointError, match="trained on other cases"):
        load_checkpoint(path, config, data="those")


@pytest.mark.parametrize("keep", [0, 100, -1])
def test_damaged_files_are_refused(tmp_path, cases, config, keep):
    path = save_checkpoint(tmp_path, trained(config, cases), config)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="not a whole checkpoint of flare-train"):
        load_checkpoint(path, config)
