import numpy as np
import pytest
import torch

from flare_train.genesis import restoration_loss


@pytest.mark.parametrize("kind", ["mse", "l1"])
def test_loss_equals_the_formula_and_its_gradient_is_right(kind):
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 1, 3, 4, 5, generator=generator)
    targets = torch.rand(2, 1, 3, 4, 5, generator=generator)
    restored = 1 / (1 + np.exp(-logits.double().numpy()))
    gap = restored - targets.numpy()
    expected = (gap**2).mean() if kind == "mse" else np.abs(gap).mean()
    leaf = logits.clone().requires_grad_()
    loss = restoration_loss(leaf, targets, kind=kind)
    assert loss.item() == pytest.approx(expected, rel=1e-5)
    torch.autograd.backward(loss)
    slope = restored * (1 - restored) / gap.size
    wanted = slope * (2 * gap if kind == "mse" else np.sign(gap))
    np.testing.assert_allclose(leaf.grad, wanted, atol=1e-8, rtol=1e-4)


def test_half_precision_outputs_are_widened():
    logits = torch.zeros(1, 1, 2, 2, 2, dtype=torch.bfloat16)
    loss = restoration_loss(logits, torch.ones(1, 1, 2, 2, 2))
    assert loss.dtype == torch.float32
    assert loss.item() == 0.25


def test_wrong_arguments_are_named():
    logits = torch.zeros(1, 2, 2, 2, 2)
    with pytest.raises(ValueError, match="as many outputs as inputs"):
        restoration_loss(logits, logits[:, :1])
    with pytest.raises(ValueError, match="kind must be 'mse' or 'l1', got 'l2'"):
        restoration_loss(logits, logits, kind="l2")
