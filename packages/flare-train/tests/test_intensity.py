import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.augment.intensity import add_noise_, change_contrast_, change_gamma_

SHAPE = (8, 12, 10)


def image(seed=0):
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def gamma_by_formula(values, gamma, *, inverted):
    """Return nnU-Net's gamma change in float64: its own order of steps, retained statistics."""
    values = np.asarray(values, np.float64)
    values = -values if inverted else values
    mean, deviation = values.mean(), values.std()
    low, extent = values.min(), np.ptp(values)
    bent = ((values - low) / max(extent, 1e-7)) ** gamma * extent + low
    bent = (bent - bent.mean()) * deviation / max(bent.std(), 1e-7) + mean
    return -bent if inverted else bent


@pytest.mark.parametrize("inverted", [False, True])
@pytest.mark.parametrize("gamma", [0.7, 1.0, 1.5])
def test_gamma_equals_the_formula(gamma, inverted):
    before = image()
    after = change_gamma_(before.clone(), gamma, inverted=inverted)
    expected = gamma_by_formula(before, gamma, inverted=inverted)
    np.testing.assert_allclose(after, expected, atol=2e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(0.7, 1.5), st.booleans())
def test_gamma_keeps_mean_deviation_and_order(seed, gamma, inverted):
    before = image(seed) * 3 + 1
    after = change_gamma_(before.clone(), gamma, inverted=inverted)
    torch.testing.assert_close(after.mean(), before.mean(), atol=1e-4, rtol=0)
    torch.testing.assert_close(after.std(), before.std(), atol=0, rtol=1e-4)
    # Neighbors in rank may be rounded to one value, but never change places.
    assert (after.flatten()[before.flatten().argsort()].diff() >= -1e-6).all()


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_of_a_constant_image_is_the_image(inverted):
    constant = torch.full((2, 2, 2), 3.0)
    torch.testing.assert_close(
        change_gamma_(constant.clone(), 1.5, inverted=inverted), constant, atol=1e-6, rtol=0
    )


def test_contrast_keeps_mean_when_lowered_and_range_when_raised():
    before = image()
    lower = change_contrast_(before.clone(), 0.5)
    torch.testing.assert_close(lower.mean(), before.mean(), atol=1e-5, rtol=0)
    torch.testing.assert_close(lower.std(), before.std() / 2)
    higher = change_contrast_(before.clone(), 3.0)
    assert torch.equal(higher.amax(), before.amax())
    assert torch.equal(higher.amin(), before.amin())


def test_noise_has_its_deviation_and_its_own_seed():
    noisy = add_noise_(torch.zeros(20, 20, 20), 0.25, seed=1)
    assert noisy.std().item() == pytest.approx(0.25, rel=0.03)
    assert torch.equal(noisy, add_noise_(torch.zeros(20, 20, 20), 0.25, seed=1))
    assert not torch.equal(noisy, add_noise_(torch.zeros(20, 20, 20), 0.25, seed=2))


def test_changes_act_in_place_on_views_too():
    whole = torch.stack([image(), image(1)])
    before = whole.clone()
    for change in (
        lambda view: change_gamma_(view, 1.2),
        lambda view: change_contrast_(view, 0.8),
        lambda view: add_noise_(view, 0.1, seed=0),
    ):
        change(whole[1])
    assert torch.equal(whole[0], before[0])
    assert not torch.equal(whole[1], before[1])
