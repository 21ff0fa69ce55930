import itertools

import numpy as np
import pytest
import torch

from flare_train.config import OptimizerConfig, ScheduleConfig
from flare_train.loop import fit
from flare_train.optimizers import Plateau, build_optimizer, learning_rate


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


def test_every_epoch_of_the_printed_schedules(make_config):
    """Checklist: step and poly at epochs 0, 200, 400, ... to 1e-9."""
    for epochs, factor in ((1000, 0.9), (1500, 0.8219)):
        step = ScheduleConfig(kind="step", factor=factor, every=200)
        stepped = make_config(epochs=epochs, iterations_per_epoch=250, schedule=step)
        poly = make_config(epochs=epochs, iterations_per_epoch=250, schedule=ScheduleConfig())
        for epoch in range(0, epochs, 200):
            first = epoch * 250
            assert abs(learning_rate(stepped, first) - 0.01 * factor ** (epoch / 200)) < 1e-9
            assert abs(learning_rate(poly, first) - 0.01 * (1 - epoch / epochs) ** 0.9) < 1e-9
            if epoch:
                before = 0.01 * factor ** (epoch / 200 - 1)
                assert abs(learning_rate(stepped, first - 1) - before) < 1e-9


def test_plateau_cuts_after_waiting_and_waits_anew():
    memory, cuts = Plateau(), []
    for loss in (1.0, 0.9, 0.9, 0.95, 0.91, 0.9, 0.8, 0.85):
        memory = memory.after(loss, every=2)
        cuts.append(memory.cuts)
    # 0.9 is not below 0.9: cuts after the 4th and 6th epoch; 0.8 begins a new count.
    assert cuts == [0, 0, 0, 1, 1, 2, 2, 2]
    assert memory == Plateau(lowest=0.8, waited=1, cuts=2)


def test_plateau_halves_the_rate(make_config):
    schedule = ScheduleConfig(kind="plateau", factor=0.5, every=20)
    config = make_config(schedule=schedule)
    assert [learning_rate(config, 7, cuts=cuts) for cuts in (0, 1, 3)] == [0.01, 0.005, 0.00125]


def test_run_on_a_plateau_learns_slower_and_resumes(tmp_path, cases, make_config):
    # Rate 0: the loss of an epoch goes up and down by chance, and each rise cuts.
    config = make_config(
        epochs=6,
        schedule=ScheduleConfig(kind="plateau", factor=0.5, every=1),
        optimizer=OptimizerConfig(learning_rate=1e-12),
    )
    records = fit(config, cases, tmp_path).records
    lowest, rate = float("inf"), 1e-12
    for record in records:
        assert record["learning_rate"] == pytest.approx(rate)
        rate *= 1 if record["loss"] < lowest else 0.5
        lowest = min(lowest, record["loss"])
    assert rate < 1e-12
    # Again, now from the checkpoint.
    memory = fit(config, cases, tmp_path).state.plateau
    assert memory.cuts == round(-np.log2(rate / 1e-12))
    assert memory.lowest == pytest.approx(lowest)
