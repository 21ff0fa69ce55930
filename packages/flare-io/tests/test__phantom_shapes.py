"""Bodies by formula against volumes known from geometry."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_io._phantom_shapes import Blob, Ellipsoid, Minus, Tube, Union


def grid(step=1.0, reach=40.0):
    axis = np.arange(-reach, reach, step, dtype=np.float32) + step / 2
    return tuple(np.meshgrid(axis, axis, axis, indexing="ij"))


def volume(shape):
    return float((shape.level(grid()) < 0).sum())


@pytest.mark.parametrize("turn", [{}, {"yaw": 0.7}, {"roll": -0.4}, {"yaw": 0.5, "roll": 0.3}])
def test_ellipsoid_volume(turn):
    # 4/3 pi a b c = 4/3 * 3.1416 * 30 * 20 * 10 = 25133 mm3, turned or not.
    assert volume(Ellipsoid((1.0, 2.0, 3.0), (30.0, 20.0, 10.0), **turn)) == pytest.approx(
        25133, rel=0.01
    )


def test_yaw_turns_from_left_to_back():
    turned = Ellipsoid((0.0, 0.0, 0.0), (5.0, 5.0, 30.0), yaw=np.pi / 2)
    along_back = tuple(np.array([v], np.float32) for v in (0.0, 25.0, 0.0))
    assert turned.level(along_back)[0] < 0


def test_straight_tube_is_a_capsule():
    tube = Tube(((-20.0, 0.2, 0.35), (20.0, 0.2, 0.35)), (8.0, 8.0))
    # Cylinder pi 64 * 40 and a ball 4/3 pi 512: 8042 + 2145; the lattice is off by up to 2 %.
    assert volume(tube) == pytest.approx(10187, rel=0.02)


def test_flat_tube_is_thinner_from_front_to_back():
    tube = Tube(((-20.0, 0.0, 0.0), (20.0, 0.0, 0.0)), (8.0, 8.0), 0.5)
    inside = tube.level(grid()) < 0
    assert np.ptp(np.flatnonzero(inside.any(axis=(0, 2)))) == pytest.approx(8, abs=1)
    assert np.ptp(np.flatnonzero(inside.any(axis=(0, 1)))) == pytest.approx(16, abs=1)


def test_tube_passes_through_its_points():
    points = ((-20.0, 0.0, 0.0), (0.0, 12.0, 5.0), (20.0, -6.0, 0.0))
    tube = Tube(points, (3.0, 4.0, 5.0))
    where = tuple(np.array(column, np.float32) for column in zip(*points, strict=True))
    # On a knot the level is minus the radius, but for cones that are nearer.
    assert (tube.level(where) <= np.array([-3.0, -4.0, -5.0]) + 1e-3).all()


def test_blob_without_waves_is_a_ball():
    assert volume(Blob((0.0, 0.0, 0.0), 15.0)) == pytest.approx(4 / 3 * np.pi * 15**3, rel=0.02)


def test_union_and_difference():
    left = Ellipsoid((0.0, 0.0, -20.0), (10.0, 10.0, 10.0))
    right = Ellipsoid((0.0, 0.0, 20.0), (10.0, 10.0, 10.0))
    assert volume(Union((left, right))) == volume(left) + volume(right)
    assert volume(Minus(Union((left, right)), (right,))) == volume(left)


number = st.floats(-12, 12)
radius = st.floats(3, 15)
shapes = st.one_of(
    st.builds(
        Ellipsoid,
        st.tuples(number, number, number),
        st.tuples(radius, radius, radius),
        st.floats(-1.5, 1.5),
        st.sampled_from([0.0, 0.3]),
    ),
    st.builds(
        lambda a, b, c, r: Tube((a, b, c), (r, r / 2, r)),
        *[st.tuples(number, number, number)] * 3,
        radius,
    ),
    st.builds(
        lambda c, r, k: Blob(c, r, ((0.1, k, 0.5, 1.0, 0.3), (0.05, 0.2, k, 2.0, 1.0))),
        st.tuples(number, number, number),
        radius,
        number,
    ),
)


@settings(max_examples=25, deadline=None)
@given(shapes)
def test_nothing_lies_outside_the_box(shape):
    points = grid(step=2.0, reach=50.0)
    low, high = shape.box()
    inside = shape.level(points) < 0
    for axis, a, b in zip(points, low, high, strict=True):
        assert not (inside & ((axis < a - 1e-3) | (axis > b + 1e-3))).any()


@settings(max_examples=15, deadline=None)
@given(shapes)
def test_moving_moves_the_level(shape):
    points = grid(step=4.0)
    shifted = tuple(p - s for p, s in zip(points, (4.0, -8.0, 12.0), strict=True))
    np.testing.assert_allclose(
        shape.moved((4.0, -8.0, 12.0), 1.0).level(points), shape.level(shifted), atol=1e-2
    )
