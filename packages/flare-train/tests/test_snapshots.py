import dataclasses
import re

import pytest
import torch
from safetensors.torch import save_file

from flare_train.checkpoint import save_checkpoint
from flare_train.errors import CheckpointError
from flare_train.loop import fit
from flare_train.snapshots import (
    find_snapshots,
    read_weights,
    save_snapshot,
    save_weights,
    snapshot_is_due,
)
from flare_train.start_weights import load_start_weights
from flare_train.state import build_state


def due(config):
    return [epoch for epoch in range(1, config.epochs + 1) if snapshot_is_due(config, epoch)]


@pytest.mark.parametrize(
    ("epochs", "every", "keep", "expected"),
    [
        (1000, 50, 3, [900, 950, 1000]),
        # Counted back from the end, whether or not the length is a multiple.
        (7, 3, 3, [1, 4, 7]),
        (7, 3, 9, [1, 4, 7]),
        (7, 1, 1, [7]),
        (7, 0, 3, []),
    ],
)
def test_which_epochs_are_kept(make_config, epochs, every, keep, expected):
    config = make_config(epochs=epochs, snapshot_every=every, keep_snapshots=keep)
    assert due(config) == expected


def test_round_trip_and_order(tmp_path):
    weights = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(1)}
    for epoch in (9, 100, 20):
        scaled = {name: value * epoch for name, value in weights.items()}
        save_snapshot(tmp_path, scaled, {"epoch": epoch})
    (tmp_path / "epoch_notes.txt").write_text("mine")
    found = find_snapshots(tmp_path)
    assert [path.stem for path in found] == ["epoch_000100", "epoch_000020", "epoch_000009"]
    for name, value in read_weights(found[1]).items():
        assert torch.equal(value, weights[name] * 20)
    assert find_snapshots(tmp_path / "nowhere") == []


def test_equal_weights_give_equal_bytes(tmp_path):
    for name in ("a", "b"):
        save_weights(tmp_path / name, {"w": torch.ones(3)}, {"epoch": 1, "dice": {"1": 0.5}})
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_checkpoint_gives_its_average(tmp_path, make_config):
    config = make_config(ema_decay=0.9)
    state = build_state(config)
    with torch.no_grad():
        for value in state.average.parameters():
            value.fill_(7.0)
    path = save_checkpoint(tmp_path, state, config)
    weights = read_weights(path)
    assert set(weights) == set(state.net.state_dict())
    assert all(bool((value == 7).all()) for value in weights.values())
    fresh = build_state(make_config()).net
    load_start_weights(fresh, path)
    assert bool((next(fresh.parameters()) == 7).all())
    plain = save_checkpoint(tmp_path / "plain", build_state(make_config()), make_config())
    assert torch.equal(read_weights(plain)["heads.0.weight"], state.net.heads[0].weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "not a whole file of weights"), (None, "holds no weights of flare-train")],
)
def test_other_files_are_named(tmp_path, content, message):
    path = tmp_path / "x.safetensors"
    if content is None:
        save_file({"weight": torch.ones(1)}, path)
    else:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=re.escape(str(path)) + ".*" + message):
        read_weights(path)


def test_run_keeps_snapshots_and_best(tmp_path, cases, validation, make_config):
    config = make_config(snapshot_every=2, keep_snapshots=2, keep_best=True, validate_every=1)
    result = fit(config, cases, tmp_path, validation=validation)
    assert [path.stem for path in result.snapshots] == ["epoch_000004", "epoch_000002"]
    last = read_weights(result.snapshots[0])
    for name, value in result.weights.items():
        assert torch.equal(last[name], value)
    scores = [record["score"] for record in result.records]
    assert result.best == tmp_path / "best.safetensors"
    highest = scores.index(max(scores)) + 1
    assert [record["best"] for record in result.records][highest - 1 :].count(True) == 1
    # What the best epoch left is what a run of that length ends with: the rate counts iterations.
    best = read_weights(result.best)
    if highest == config.epochs:
        assert torch.equal(best["heads.0.weight"], last["heads.0.weight"])
    else:
        assert not torch.equal(best["heads.0.weight"], last["heads.0.weight"])


def test_nothing_is_kept_unasked(tmp_path, cases, validation, make_config):
    config = dataclasses.replace(make_config(), epochs=1)
    result = fit(config, cases, tmp_path, validation=validation)
    assert (result.snapshots, result.best, result.ema) == ((), None, None)
    assert {path.name for path in tmp_path.iterdir()} == {
        "checkpoints",
        "config.json",
        "metrics.jsonl",
        "progress.png",
    }
