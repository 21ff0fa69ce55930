import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.loss_config import LossConfig
from flare_train.losses import label_set_loss, label_sets, segmentation_loss


def random_case(seed, *, classes=4, batch=3, shape=(2, 3, 4), ignored=0.0):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(batch, classes, *shape, generator=generator, dtype=torch.float64)
    annotated = torch.rand(batch, classes, generator=generator) < 0.5
    # A sample without any annotated class says nothing in either form but is counted differently.
    annotated[:, :2] = True
    targets = torch.randint(0, classes, (batch, *shape), generator=generator)
    if ignored:
        targets[torch.rand(targets.shape, generator=generator) < ignored] = 255
    return logits, targets, annotated


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(2, 6),
    st.booleans(),
    st.sampled_from([0.0, 0.3]),
    st.sampled_from(["mean", "sum"]),
    st.sampled_from([(1.0, 1.0), (1.0, 0.0), (0.0, 3.0)]),
)
def test_sets_of_partial_annotation_are_the_marginal_loss(
    seed, classes, batch_dice, ignored, reduction, weights
):
    config = LossConfig(
        partial="marginal",
        ignore_label=ignored > 0,
        batch_dice=batch_dice,
        reduction=reduction,
        dice_weight=weights[0],
        cross_entropy_weight=weights[1],
    )
    logits, targets, annotated = random_case(seed, classes=classes, ignored=ignored)
    factored = logits.clone().requires_grad_()
    loss = segmentation_loss([factored], targets, annotated, config, classes=range(classes))
    loss.backward()
    general = logits.clone().requires_grad_()
    got = label_set_loss(general, label_sets(targets, annotated), config)
    got.backward()
    assert got.item() == pytest.approx(loss.item(), abs=1e-12)
    assert torch.allclose(general.grad, factored.grad, atol=1e-14)


def test_sets_of_full_annotation_are_the_plain_loss():
    logits, targets, annotated = random_case(1)
    everything = torch.ones_like(annotated)
    plain = segmentation_loss([logits], targets, everything, LossConfig(), classes=range(4))
    got = label_set_loss(logits, label_sets(targets, everything), LossConfig())
    assert got.item() == pytest.approx(plain.item(), abs=1e-12)


def test_sets_by_hand():
    targets = torch.tensor([0, 1, 2, 255]).reshape(1, 1, 1, 4)
    counted = torch.tensor([[True, True, False, False]])
    # Class 2 is not annotated: its voxel says no more than "not class 1".
    assert label_sets(targets, counted).flatten().tolist() == [0b1101, 0b10, 0b1101, 0b1111]


def test_entropy_by_hand():
    # p = 1/2, 1/3, 1/6; possible: 0 or 2, together 2/3
    logits = torch.log(torch.tensor([3.0, 2.0, 1.0])).reshape(1, 3, 1, 1, 1)
    sets = torch.full((1, 1, 1, 1), 0b101)
    loss = label_set_loss(logits, sets, LossConfig(dice_weight=0))
    assert loss.item() == pytest.approx(-math.log(2 / 3))


def test_dice_only_of_decided_classes():
    # Class 1 decided: alone in one voxel, excluded in the other. Class 2 possible in the second.
    logits = torch.zeros(1, 3, 1, 1, 2)
    sets = torch.tensor([0b010, 0b101]).reshape(1, 1, 1, 2)
    loss = label_set_loss(logits, sets, LossConfig(cross_entropy_weight=0, smooth=1e-12))
    assert loss.item() == pytest.approx(-(2 / 3) / (2 / 3 + 1))


def test_gradients():
    logits, targets, annotated = random_case(2, batch=2, shape=(1, 2, 2), ignored=0.2)
    sets = label_sets(targets, annotated)
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: label_set_loss(x, sets, LossConfig()), (logits,))


def test_a_class_that_is_possible_everywhere_explains_everything():
    # Why "tumor anywhere in cases without tumor annotation" must not be written as sets.
    targets = random_case(3, classes=3)[1].clamp(max=1)
    sets = label_sets(targets, torch.ones(3, 3, dtype=torch.bool)) | 0b100
    tumor = torch.zeros(3, 3, *targets.shape[1:], dtype=torch.float64)
    tumor[:, 2] = 50
    tumor.requires_grad_()
    loss = label_set_loss(tumor, sets, LossConfig(dice_weight=0))
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-20)
    assert tumor.grad.abs().max() < 1e-20
    # The marginal form opens only what is background in the label map: it is not fooled.
    counted = torch.tensor([[True, True, False]] * 3)
    config = LossConfig(partial="marginal", dice_weight=0)
    assert segmentation_loss([tumor], targets, counted, config, classes=range(3)) > 1


def test_nothing_known_is_zero():
    logits = torch.randn(2, 3, 2, 2, 2).requires_grad_()
    loss = label_set_loss(logits, torch.full((2, 2, 2, 2), 0b111), LossConfig())
    loss.backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("bits", [0, 0b1000])
def test_wrong_sets(bits):
    with pytest.raises(ValueError, match=f"non-empty sets of 3 classes, 1 to 7, got {bits}"):
        label_set_loss(torch.zeros(1, 3, 1, 1, 1), torch.full((1, 1, 1, 1), bits), LossConfig())


def test_too_many_classes():
    with pytest.raises(ValueError, match="at most 31 classes, got 32"):
        label_sets(torch.zeros(1, 1, 1, 1), torch.ones(1, 32, dtype=torch.bool))
