import itertools

import pytest
import torch

from flare_train.config import OptimizerConfig, ScheduleConfig
from flare_train.optimizers import build_optimizer, learning_rate


def rates(config, iterations):
    return [learning_rate(config, iteration) for iteration in iterations]


def test_poly_by_epoch_changes_at_epochs_only(make_config):
    config = make_config(schedule=ScheduleConfig())
    assert rates(config, (0, 4)) == [0.01, 0.01]
    # Epoch 1 of 4: 0.01 * 0.75**0.9
    assert rates(config, (5, 9)) == pytest.approx([0.0077192, 0.0077192], rel=1e-4)


def test_poly_by_iteration_falls_every_time_and_ends_above_zero(make_config):
    falling = rates(make_config(), range(20))
    assert all(late < early for early, late in itertools.pairwise(falling))
    assert falling[-1] > 0


def test_printed_step_schedules(make_config):
    # 0.01 * 0.8219 ** floor(1499 / 200) = 0.01 * 0.8219**7
    step = ScheduleConfig(kind="step", factor=0.8219, every=200)
    config = make_config(epochs=1500, iterations_per_epoch=250, schedule=step)
    assert learning_rate(config, 1500 * 250 - 1) == pytest.approx(0.01 * 0.8219**7)


def test_sgd_is_nesterov_and_adamw_decays():
    weight = torch.nn.Parameter(torch.ones(1))
    (group,) = build_optimizer([weight], OptimizerConfig()).param_groups
    assert (group["nesterov"], group["momentum"], group["weight_decay"]) == (True, 0.99, 3e-5)
    adamw = OptimizerConfig(kind="adamw", weight_decay=0.1)
    assert build_optimizer([weight], adamw).param_groups[0]["weight_decay"] == 0.1
