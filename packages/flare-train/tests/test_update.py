import dataclasses
import math

import numpy as np
import pytest
import torch

from flare_train.batches import build_batch
from flare_train.config import AugmentConfig, GenesisConfig, LossConfig, OptimizerConfig
from flare_train.distributed import World
from flare_train.ema import average_of, update_average
from flare_train.errors import DivergedError
from flare_train.genesis import restoration_loss, restoration_pair
from flare_train.losses import segmentation_loss
from flare_train.state import build_state
from flare_train.update import prepare_example, train_step


def weights(state):
    return torch.cat([value.flatten() for value in state.net.state_dict().values()])


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


def test_update_is_that_of_plain_pytorch(cases, make_config):
    """Forward, loss, backward, clipping and SGD written out by hand."""
    config = make_config(
        augment=AugmentConfig(),
        optimizer=OptimizerConfig(momentum=0.9, weight_decay=0.01, clip_norm=0.5),
    )
    batch = build_batch(cases, config, 0)
    state = build_state(config)
    loss = segmentation_loss(
        state.net.forward_all(batch.images),
        batch.targets,
        batch.annotated,
        config.loss,
        classes=config.classes,
    )
    parameters = dict(state.net.named_parameters())
    gradients = torch.autograd.grad(loss, list(parameters.values()))
    norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients))
    assert norm > 0.5
    expected = {}
    for (name, weight), gradient in zip(parameters.items(), gradients, strict=True):
        step = gradient * (0.5 / (norm + 1e-6)) + 0.01 * weight
        # First step of Nesterov's momentum: the buffer is the gradient itself.
        expected[name] = weight.detach() - 0.01 * (step + 0.9 * step).detach()
    assert train_step(state, batch, config) == pytest.approx(loss.item())
    for name, weight in state.net.named_parameters():
        torch.testing.assert_close(weight.detach(), expected[name], atol=1e-6, rtol=1e-4)


def test_parts_of_a_batch_add_up_to_the_whole(cases, make_config):
    results = []
    for accumulate in (1, 2, 4):
        optimizer = OptimizerConfig(momentum=0)
        config = make_config(batch=4, accumulate=accumulate, optimizer=optimizer)
        state = build_state(config)
        loss = train_step(state, build_batch(cases, config, 0), config)
        results.append((loss, weights(state)))
    for loss, values in results[1:]:
        assert loss == pytest.approx(results[0][0], rel=1e-5)
        torch.testing.assert_close(values, results[0][1], atol=1e-6, rtol=1e-4)


def test_average_follows_the_updates(cases, make_config):
    config = make_config(ema_decay=0.5)
    state = build_state(config)
    expected = average_of(state.net)
    for iteration in range(3):
        train_step(state, build_batch(cases, config, iteration), config)
        update_average(expected, state.net, decay=0.5, updates=iteration)
    assert state.judged is state.average
    for value, wanted in zip(state.average.parameters(), expected.parameters(), strict=True):
        assert torch.equal(value, wanted)
    assert not torch.equal(weights(state)[:4], next(state.average.parameters()).flatten()[:4])


def test_share_of_a_process_is_augmented_as_in_the_whole(cases, make_config):
    config = make_config(batch=4, augment=AugmentConfig.preset("nnunet"))
    for iteration in range(6):
        whole = prepare_example(
            build_batch(cases, config, iteration), config, iteration, device=torch.device("cpu")
        )
        for rank in range(2):
            world = World(rank, 2)
            batch = build_batch(cases, config, iteration, rank=rank, world=2)
            share = prepare_example(
                batch, config, iteration, device=torch.device("cpu"), world=world
            )
            own = slice(2 * rank, 2 * rank + 2)
            torch.testing.assert_close(share.images, whole.images[own])
            assert torch.equal(share.targets, whole.targets[own])


def test_origins_move_with_the_labels(make_case, make_config):
    labels = make_case(0).labels
    case = dataclasses.replace(make_case(0), origins=(np.array(labels) > 0).astype(np.uint8) * 3)
    config = make_config(
        augment=AugmentConfig.preset("nnunet"), loss=LossConfig(origin_weights={"tie": 0.5})
    )
    moved = prepare_example(build_batch([case], config, 1), config, 1, device=torch.device("cpu"))
    assert torch.equal(moved.origins > 0, moved.targets > 0)
    assert int(moved.origins.max()) == 3


def test_restoring_learns_from_pairs(cases, make_config):
    net = dataclasses.replace(make_config().net, out_channels=1)
    genesis = GenesisConfig(window_hu=(-4.0, 4.0), loss="l1")
    config = make_config(task="restore", net=net, genesis=genesis, augment=AugmentConfig())
    state, batch = build_state(config), build_batch(cases, config, 0)
    inputs, clean = restoration_pair(batch.images, genesis, seed=config.seed, iteration=0)
    expected = restoration_loss(state.net(inputs), clean, kind="l1").item()
    assert train_step(state, batch, config) == pytest.approx(expected)


def test_float16_lowers_the_scale_and_leaves_the_update_out(cases, make_config):
    config = make_config(precision="float16")
    state = build_state(config)
    assert state.scaler.get_scale() == 65536
    before = weights(state)
    hook = next(state.net.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    loss = train_step(state, build_batch(cases, config, 0), config)
    assert math.isfinite(loss)
    assert torch.equal(weights(state), before)
    assert (state.scaler.get_scale(), state.iteration) == (32768, 1)
    hook.remove()
    train_step(state, build_batch(cases, config, 1), config)
    assert not torch.equal(weights(state), before)
    # At a scale of 1 there is nothing left to lower.
    state.scaler.update(1.0)
    next(state.net.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(DivergedError, match="iteration 2: the gradient became"):
        train_step(state, build_batch(cases, config, 2), config)


def test_precisions_agree_to_their_digits(cases, make_config):
    losses = {}
    for precision in ("float32", "bfloat16", "float16"):
        config = make_config(precision=precision)
        losses[precision] = train_step(build_state(config), build_batch(cases, config, 0), config)
    assert losses["float16"] == pytest.approx(losses["float32"], abs=2e-3)
    assert losses["bfloat16"] == pytest.approx(losses["float32"], abs=2e-2)
    assert len(set(losses.values())) == 3
