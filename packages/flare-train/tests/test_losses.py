import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.losses import (
    cross_entropy_loss,
    deep_supervision_loss,
    deep_supervision_weights,
    dice_cross_entropy_loss,
    soft_dice_loss,
)


def random_case(seed: int, *, batch=2, channels=4, shape=(3, 4, 5)):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, channels, *shape, generator=generator, dtype=torch.float64)
    targets = torch.randint(0, channels, (batch, *shape), generator=generator)
    return logits, targets


def reference_dice(logits, targets, *, batch_dice, smooth):
    """Loops in float64, one class and sample at a time."""
    logits, targets = logits.numpy(), targets.numpy()
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    groups = [range(len(logits))] if batch_dice else [[i] for i in range(len(logits))]
    scores = []
    for group in groups:
        for channel in range(1, logits.shape[1]):
            overlap = size = 0.0
            for i in group:
                mask = targets[i] == channel
                overlap += probabilities[i, channel][mask].sum()
                size += probabilities[i, channel].sum() + mask.sum()
            scores.append((2 * overlap + smooth) / (size + smooth))
    return -np.mean(scores)


@pytest.mark.parametrize("batch_dice", [False, True])
@pytest.mark.parametrize("smooth", [1e-5, 1.0])
def test_dice_equals_loops_in_float64(batch_dice, smooth):
    logits, targets = random_case(0)
    got = soft_dice_loss(logits, targets, batch_dice=batch_dice, smooth=smooth)
    wanted = reference_dice(logits, targets, batch_dice=batch_dice, smooth=smooth)
    assert got.item() == pytest.approx(wanted, abs=1e-12)


def test_dice_by_hand():
    # Two voxels, probabilities of class 1: 0.75 and 0.25; only the first is class 1.
    # (2 * 0.75 + 0) / (1 + 1) = 0.75
    three_to_one = float(np.log(3))
    logits = torch.tensor([[0.0, three_to_one], [three_to_one, 0.0]], dtype=torch.float64)
    targets = torch.tensor([1, 0]).reshape(1, 1, 1, 2)
    got = soft_dice_loss(logits.reshape(1, 2, 1, 1, 2), targets, smooth=1e-12)
    assert got.item() == pytest.approx(-0.75)


def test_absent_and_unpredicted_class_scores_one():
    logits = torch.tensor([200.0, -200.0, -200.0]).reshape(1, 3, 1, 1, 1).expand(1, 3, 2, 2, 2)
    assert soft_dice_loss(logits, torch.zeros(1, 2, 2, 2, dtype=torch.long)).item() == -1.0


def test_cross_entropy_equals_loops_in_float64():
    logits, targets = random_case(1)
    scores = logits.numpy()
    log_sum = np.log(np.exp(scores).sum(axis=1))
    picked = np.take_along_axis(scores, targets.numpy()[:, None], axis=1)[:, 0]
    assert cross_entropy_loss(logits, targets).item() == pytest.approx((log_sum - picked).mean())


@pytest.mark.parametrize("batch_dice", [False, True])
def test_gradients(batch_dice):
    logits, targets = random_case(2, channels=3, shape=(2, 2, 3))
    logits.requires_grad_()
    assert torch.autograd.gradcheck(
        lambda x: dice_cross_entropy_loss(x, targets, batch_dice=batch_dice), (logits,)
    )


def test_gradient_of_all_outputs():
    fine, targets = random_case(3, channels=3, shape=(2, 4, 4))
    coarse = random_case(4, channels=3, shape=(2, 2, 2))[0]
    coarsest = random_case(5, channels=3, shape=(1, 2, 2))[0].requires_grad_()
    inputs = (fine.requires_grad_(), coarse.requires_grad_())
    assert torch.autograd.gradcheck(
        lambda a, b: deep_supervision_loss([a, b, coarsest], targets), inputs
    )
    deep_supervision_loss([fine, coarse, coarsest], targets).backward()
    assert coarsest.grad is None


def test_half_precision_is_computed_in_float32():
    logits, targets = random_case(6)
    low = logits.to(torch.bfloat16)
    got = dice_cross_entropy_loss(low, targets)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(dice_cross_entropy_loss(low.double(), targets).item())


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_dice_stays_in_bounds_and_ignores_order_of_samples(seed, batch_dice):
    logits, targets = random_case(seed)
    got = soft_dice_loss(logits, targets, batch_dice=batch_dice)
    assert -1 <= got < 0
    turned = soft_dice_loss(logits.flip(0), targets.flip(0), batch_dice=batch_dice)
    assert turned.item() == pytest.approx(got.item())


def test_batch_dice_of_one_sample_is_the_sample_dice():
    logits, targets = random_case(7, batch=1)
    assert soft_dice_loss(logits, targets) == soft_dice_loss(logits, targets, batch_dice=True)


@pytest.mark.parametrize("outputs", range(2, 7))
def test_weights_halve_and_sum_to_one(outputs):
    weights = deep_supervision_weights(outputs)
    assert sum(weights) == pytest.approx(1)
    assert weights[-1] == 0
    assert all(a == pytest.approx(2 * b) for a, b in itertools.pairwise(weights[:-1]))


def test_weights_of_one_and_of_none():
    assert deep_supervision_weights(1) == (1.0,)
    with pytest.raises(ValueError, match="outputs must be >= 1, got 0"):
        deep_supervision_weights(0)


def test_deep_supervision_adds_the_levels():
    fine, targets = random_case(8, shape=(4, 4, 4))
    coarse = random_case(9, shape=(2, 2, 2))[0]
    coarsest = random_case(10, shape=(1, 1, 1))[0]
    got = deep_supervision_loss([fine, coarse, coarsest], targets)
    # nearest-exact at factor 2 reads index floor((i + 0.5) * 2) = 1, 3
    small = targets[:, 1::2, 1::2, 1::2]
    wanted = dice_cross_entropy_loss(fine, targets) * 2 / 3
    wanted += dice_cross_entropy_loss(coarse, small) / 3
    assert got.item() == pytest.approx(wanted.item())


def test_weights_of_the_two_terms():
    logits, targets = random_case(11)
    got = dice_cross_entropy_loss(logits, targets, dice_weight=2, cross_entropy_weight=0.5)
    wanted = 2 * soft_dice_loss(logits, targets) + 0.5 * cross_entropy_loss(logits, targets)
    assert got.item() == pytest.approx(wanted.item())


@pytest.mark.parametrize(
    ("logits", "targets", "message"),
    [
        (torch.zeros(1, 1, 2, 2, 2), torch.zeros(1, 2, 2, 2), "at least 2 channels"),
        (torch.zeros(2, 2, 2), torch.zeros(2, 2), "logits must be"),
        (torch.zeros(1, 2, 2, 2, 2), torch.zeros(1, 2, 2, 3), r"shape \(1, 2, 2, 2\)"),
    ],
    ids=["channels", "axes", "grids"],
)
def test_wrong_shapes(logits, targets, message):
    with pytest.raises(ValueError, match=message):
        soft_dice_loss(logits, targets)
