import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.genesis.curves import apply_curve, draw_curve


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_curves_are_monotone_from_end_to_end(seed, falling):
    curve = draw_curve(np.random.default_rng(seed), decreasing_p=float(falling))
    assert (curve[0], curve[-1]) == ((1, 0) if falling else (0, 1))
    steps = np.diff(curve) * (-1 if falling else 1)
    assert (steps >= -1e-6).all()


def test_rising_curve_passes_through_the_points_of_the_bezier_formula():
    class Fixed:
        def random(self, size=None):
            return np.array([[0.1, 0.7], [0.6, 0.9]]) if size else 0.9

    curve = draw_curve(Fixed(), decreasing_p=0.5)
    for t in (0.2, 0.5, 0.8):
        # sum over k of binomial(3, k) t^k (1 - t)^(3 - k) P_k
        weights = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
        x, y = (np.dot(weights, p) for p in ([0, 0.1, 0.6, 1], [0, 0.7, 0.9, 1]))
        assert np.interp(x, np.linspace(0, 1, 1025), curve) == pytest.approx(y, abs=1e-4)


def test_half_of_the_curves_fall():
    rng = np.random.default_rng(0)
    falling = np.mean([draw_curve(rng, decreasing_p=0.5)[0] for _ in range(400)])
    assert abs(falling - 0.5) < 0.1


def test_intensities_are_interpolated():
    curve = draw_curve(np.random.default_rng(3), decreasing_p=1.0)
    image = torch.rand(2, 3, 4, 5, generator=torch.Generator().manual_seed(0))
    image[0, 0, 0, :2] = torch.tensor([0.0, 1.0])
    expected = np.interp(image.numpy(), np.linspace(0, 1, 1025), curve)
    np.testing.assert_allclose(apply_curve(image, curve), expected, atol=1e-5)
