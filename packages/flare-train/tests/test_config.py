import dataclasses
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.config import (
    AugmentConfig,
    LossConfig,
    OptimizerConfig,
    SamplingConfig,
    ScheduleConfig,
    TrainConfig,
)


def test_round_trip_through_json(config):
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@settings(max_examples=20)
@given(st.integers(1, 9), st.floats(1e-5, 1), st.sampled_from(["poly", "step"]))
def test_round_trip_of_nested_values(make_config, batch, rate, kind):
    config = make_config(
        batch=batch,
        optimizer=OptimizerConfig(learning_rate=rate),
        schedule=ScheduleConfig(kind=kind),
    )
    assert TrainConfig.from_dict(config.to_dict()) == config


def test_missing_keys_keep_their_defaults(config):
    plain = {name: config.to_dict()[name] for name in ("net", "classes", "patch")}
    loaded = TrainConfig.from_dict(plain)
    assert loaded.optimizer == OptimizerConfig()
    assert loaded.iterations == 1000 * 250


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("bach",), 2, "unknown setting bach; did you mean batch?"),
        (("optimizer", "learning_rat"), 1, "did you mean optimizer.learning_rate?"),
        (("zzz",), 2, "unknown setting zzz"),
        (("batch",), "2", "batch must be int, got '2'"),
        (("batch",), True, "batch must be int, got True"),
        (("batch",), 0, "batch must be >= 1, got 0"),
        (("loss", "batch_dice"), 1, "loss.batch_dice must be bool, got 1"),
        (("augment", "scale"), 2, "augment.scale must be a list"),
        (("augment",), 3, "augment must be a table of settings, got 3"),
        (("net",), 3, "net must be a table of network settings, got 3"),
        (("patch",), [8, 12, 13], "multiple of the total stride"),
        (("classes",), [0, 14, 1], "classes must be the background 0 and then rising"),
        (("classes",), [0, 1], "net.out_channels must equal what the head 'softmax'"),
        (("precision",), "float8", "precision must be one of ('float32', 'bfloat16', 'float16')"),
        (("task",), "sort", "task must be 'segment' or 'restore', got 'sort'"),
        (("task",), "restore", "net.out_channels must equal net.in_channels as the task is"),
        (("classes",), [0, 1, 255], "rising label ids up to 254"),
        (("accumulate",), 3, "batch must be a multiple of accumulate, 3, got 2"),
        (("ema_decay",), 1.0, "ema_decay must lie in [0, 1), got 1.0"),
        (("start_parts",), "body", "'encoder'; 'all' without start, got 'body'"),
        (("workers",), -1, "workers must be >= 0, got -1"),
        (("keep_snapshots",), 0, "keep_snapshots must be >= 1, got 0"),
        (("schedule",), {"kind": "plateau", "unit": "iteration"}, "be 'epoch' for a plateau"),
        (("seed",), -1, "seed must be >= 0"),
    ],
)
def test_wrong_settings_are_named(config, path, value, message):
    plain = config.to_dict()
    table = plain
    for name in path[:-1]:
        table = table[name]
    table[path[-1]] = value
    with pytest.raises(ValueError, match=re.escape(message)):
        TrainConfig.from_dict(plain)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: OptimizerConfig(kind="lion"), "optimizer.kind"),
        (lambda: OptimizerConfig(learning_rate=0), "optimizer.learning_rate must be > 0"),
        (lambda: OptimizerConfig(momentum=1), "optimizer.momentum"),
        (lambda: ScheduleConfig(factor=1.1), "schedule.factor"),
        (lambda: ScheduleConfig(every=0), "schedule.every"),
        (lambda: LossConfig(dice_weight=0, cross_entropy_weight=0), "not both 0"),
        (lambda: LossConfig(partial="guess"), "loss.partial"),
        (lambda: SamplingConfig(foreground_share=1.5), "sampling.foreground_share"),
        (lambda: AugmentConfig(noise_p=2), "augment.noise_p"),
        (lambda: AugmentConfig(scale=(1.2, 0.8)), "augment.scale"),
        (lambda: AugmentConfig(rotation_degrees=(0, 0, -1)), "augment.rotation_degrees"),
    ],
)
def test_every_number_is_checked(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_settings_are_frozen(config):
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.batch = 3
