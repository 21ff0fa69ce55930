"""The deformation is smooth, small and never folds."""

import numpy as np
import pytest

from flare_io._phantom_frame import Frame, draw_frame


def axes(step=6.0):
    axis = np.arange(-160, 161, step)
    return axis, axis, axis


def test_without_coefficients_it_is_a_similarity():
    frame = Frame(1.1, (5.0, -3.0, 2.0), np.zeros((3, 9, 9, 9)))
    z, y, x = frame.model_points((np.array([16.0]), np.array([8.0]), np.array([-20.0])))
    assert (z.item(), y.item(), x.item()) == pytest.approx((10.0, 10.0, -20.0))


def test_equal_coefficients_shift_everything_equally():
    # Cubic B-splines sum to one at every point.
    frame = Frame(1.0, (0.0, 0.0, 0.0), np.full((3, 9, 9, 9), 7.0))
    for part in frame.displacement(axes()):
        np.testing.assert_allclose(part, 7.0, rtol=1e-5)


def test_displacement_is_nearly_two_percent_of_the_field_of_view():
    parts = [draw_frame(np.random.default_rng(seed)).displacement(axes(16.0)) for seed in range(20)]
    # 2 % of 336 mm, less what the clipping against folds takes away.
    assert np.std(parts) == pytest.approx(5.5, rel=0.1)


@pytest.mark.parametrize("seed", range(5))
def test_no_fold(seed):
    frame = draw_frame(np.random.default_rng(seed))
    points = np.stack(frame.model_points(axes()))
    gradient = np.stack([np.stack(np.gradient(p, 6.0)) for p in points])
    assert np.linalg.det(np.moveaxis(gradient, (0, 1), (-2, -1))).min() > 0.2


def test_any_subgrid_sees_the_same_field():
    frame = draw_frame(np.random.default_rng(1))
    z, y, x = axes()
    whole = frame.model_points((z, y, x))
    part = frame.model_points((z[10:20], y[::2], x[5:]))
    for a, b in zip(whole, part, strict=True):
        np.testing.assert_allclose(a[10:20, ::2, 5:], b, atol=1e-3)


def test_world_box_holds_the_model_box():
    frame = draw_frame(np.random.default_rng(3))
    low, high = frame.world_box((-20.0, -20.0, -20.0), (20.0, 20.0, 20.0))
    grid = axes()
    inside = np.ones((54, 54, 54), bool)
    for part in frame.model_points(grid):
        inside &= np.abs(part) < 20
    for k, hits in enumerate(np.nonzero(inside)):
        assert grid[k][hits].min() >= low[k]
        assert grid[k][hits].max() <= high[k]
