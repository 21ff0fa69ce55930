import dataclasses
import math

import pytest
import torch

from flare_train.batches import build_batch
from flare_train.config import LossConfig, OptimizerConfig
from flare_train.errors import DivergedError
from flare_train.state import build_state
from flare_train.update import train_step


def weights(state):
    return torch.cat([value.flatten() for value in state.net.state_dict().values()])


def test_seed_alone_decides_the_weights(make_config):
    torch.manual_seed(1)
    first = build_state(make_config())
    torch.manual_seed(2)
    assert torch.equal(weights(first), weights(build_state(make_config(batch=4))))
    assert not torch.equal(weights(first), weights(build_state(make_config(seed=1))))


def test_step_counts_and_returns_the_loss(cases, config):
    state = build_state(config)
    loss = train_step(state, build_batch(cases, config, 0), config)
    assert math.isfinite(loss)
    assert (state.iteration, state.epoch_losses) == (1, [loss])


def test_learning_rate_of_the_schedule_is_used(cases, config):
    state = build_state(config)
    state.iteration = 10
    train_step(state, build_batch(cases, config, 10), config)
    # Half of 20 iterations: 0.01 * 0.5**0.9
    assert state.optimizer.param_groups[0]["lr"] == pytest.approx(0.01 * 0.5**0.9)


def test_gradient_is_clipped(cases, make_config):
    # Plain SGD at rate 1: the step is the gradient itself.
    optimizer = OptimizerConfig(learning_rate=1, momentum=0, weight_decay=0, clip_norm=1e-3)
    config = make_config(optimizer=optimizer)
    state = build_state(config)
    before = weights(state)
    train_step(state, build_batch(cases, config, 0), config)
    assert (weights(state) - before).norm().item() == pytest.approx(1e-3, rel=0.01)


def test_loss_settings_are_used(cases, make_config):
    losses = []
    for loss in (LossConfig(), LossConfig(dice_weight=0)):
        config = make_config(loss=loss)
        losses.append(train_step(build_state(config), build_batch(cases, config, 0), config))
    assert losses[0] < losses[1]


@pytest.mark.parametrize("quantity", ["loss", "gradient"])
def test_what_is_not_finite_changes_nothing(cases, config, quantity):
    state = build_state(config)
    before = weights(state)
    batch = build_batch(cases, config, 0)
    if quantity == "loss":
        batch = dataclasses.replace(batch, images=batch.images * float("nan"))
    else:
        next(state.net.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergedError, match=f"iteration 0: the {quantity} became") as error:
        train_step(state, batch, config)
    assert error.value.case_ids == batch.case_ids
    assert torch.equal(weights(state), before)
    assert state.iteration == 0


def test_two_slices_in_bfloat16_on_a_cpu_are_refused(make_config):
    with pytest.raises(ValueError, match="leaves two slices at a stage of the net"):
        build_state(make_config(precision="bfloat16", patch=(4, 12, 12)))
    build_state(make_config(precision="float32", patch=(4, 12, 12)))
    build_state(make_config(precision="bfloat16", patch=(2, 12, 12)), device="meta")


def test_gradient_in_bfloat16_does_not_depend_on_what_memory_held(cases, make_config):
    config = make_config(precision="bfloat16")
    batch = build_batch(cases, config, 0)
    results = []
    for _ in range(4):
        _ = [torch.full((size,), float("nan")) for size in range(100, 4000, 100)]
        state = build_state(config)
        train_step(state, batch, config)
        results.append(weights(state))
    assert all(torch.equal(result, results[0]) for result in results)
