"""Peaks, means and areas against integrals worked out by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import trapezoid

from flare_metrics.efficiency.levels import level_of, load_of


def test_a_ramp_has_the_area_of_a_triangle():
    level = level_of([0.0, 0.5, 2.0], [0.0, 10.0, 40.0], time_s=2.0)
    assert (level.area, level.mean, level.peak) == (40.0, 20.0, 40.0)


def test_uneven_steps_count_by_their_length():
    # 100 for 0.9 s and 300 for 0.1 s, with a jump between.
    level = level_of([0.0, 0.9, 0.9, 1.0], [100.0, 100.0, 300.0, 300.0], time_s=1.0)
    assert level.area == pytest.approx(120.0)


def test_first_and_last_value_are_held_to_the_edges():
    level = level_of([0.25, 0.75], [10.0, 20.0], time_s=1.0)
    # 0.25 x 10 + 0.5 x 15 + 0.25 x 20
    assert level.area == pytest.approx(15.0)


def test_the_baseline_is_the_last_value_before_the_start():
    level = level_of([-0.2, -0.1, 0.5, 1.2], [50.0, 60.0, 100.0, 70.0], time_s=1.0)
    assert (level.baseline, level.peak, level.above_baseline) == (60.0, 100.0, 40.0)
    assert level.area_above_baseline == pytest.approx(level.area - 60.0)


def test_an_area_above_the_baseline_can_be_negative():
    level = level_of([0.0, 0.5, 1.0], [100.0, 40.0, 40.0], time_s=1.0)
    assert level.area_above_baseline < 0
    assert level.above_baseline == 0.0


def test_a_peak_between_two_samples_counts_once_it_is_told():
    times, values = [-1.0, 0.5, 1.1], [10.0, 20.0, 5.0]
    assert level_of(times, values, time_s=1.0).peak == 20.0
    assert level_of(times, values, time_s=1.0, peaks=[999.0, 20.0, 80.0]).peak == 80.0


def test_what_was_before_the_start_is_no_peak():
    assert level_of([-1.0, -0.5, 0.5], [900.0, 10.0, 20.0], time_s=1.0).peak == 20.0


def test_values_may_be_missing():
    level = level_of([-0.1, 0.0, 0.5, 1.0], [None, None, 8.0, None], time_s=1.0, before=0.0)
    assert (level.area, level.baseline, level.above_baseline) == (8.0, 0.0, 8.0)
    assert level_of([0.0, 1.0], [None, None], time_s=1.0) is None
    assert level_of([], [], time_s=1.0) is None


def test_work_shorter_than_a_step_takes_the_sample_after_it():
    level = level_of([-0.1, 0.05, 0.2], [1.0, 6.0, 2.0], time_s=0.01)
    assert level.area == pytest.approx(0.06)
    assert level_of([-0.1], [4.0], time_s=0.5).area == 2.0


def test_no_time_has_a_mean_and_no_area():
    level = level_of([-1.0, 0.0, 1.0], [3.0, 4.0, 5.0], time_s=0.0)
    assert (level.mean, level.area) == (4.0, 0.0)


@given(
    st.lists(st.tuples(st.floats(0, 10), st.floats(0, 1e4)), min_size=1, max_size=30),
    st.floats(0.1, 10),
)
@settings(max_examples=40)
def test_equal_to_numpy_with_held_edges(points, time_s):
    points.sort()
    inside = [(t, v) for t, v in points if t <= time_s]
    if not inside:
        return
    t, v = np.array(inside).T
    t, v = np.r_[0.0, t, time_s], np.r_[v[0], v, v[-1]]
    level = level_of([p[0] for p in points], [p[1] for p in points], time_s=time_s)
    assert level.area == pytest.approx(trapezoid(v, t), rel=1e-9, abs=1e-9)
    assert level.mean * time_s == pytest.approx(level.area)


@given(st.lists(st.floats(0, 1e4), min_size=2, max_size=20), st.floats(-100, 100))
@settings(max_examples=30)
def test_a_shift_moves_the_area_by_shift_times_time(values, shift):
    times = [0.1 * index for index in range(len(values))]
    plain = level_of(times, values, time_s=times[-1])
    moved = level_of(times, [value + shift for value in values], time_s=times[-1])
    assert moved.area - plain.area == pytest.approx(shift * times[-1], abs=1e-6)
    assert moved.area_above_baseline == pytest.approx(plain.area_above_baseline, abs=1e-6)


def test_load_of_one_processor():
    # 0.1 s, then 0.3 s of processor time in steps of 0.2 s.
    level = load_of([0.0, 0.2, 0.4], [1.0, 1.1, 1.4], time_s=0.4)
    assert level.peak == pytest.approx(150.0)
    assert level.mean == pytest.approx(100.0)
    assert level.area / 100 == pytest.approx(0.4)


def test_load_of_the_machine_is_measured_by_its_own_clock():
    # 4 processors: 0.8 of 2 s busy in the stretch; time outside does not count.
    level = load_of(
        [-9.0, 0.0, 0.5, 9.0],
        [0.0, 5.0, 5.8, 90.0],
        time_s=0.5,
        capacity_s=[0.0, 20.0, 22.0, 99.0],
    )
    assert (level.mean, level.peak) == (pytest.approx(40.0), pytest.approx(40.0))


def test_what_the_system_counted_goes_beyond_the_samples():
    level = load_of([-0.1, 0.1], [None, 0.0], time_s=0.2, total_s=0.1)
    assert level.mean == level.peak == pytest.approx(50.0)


def test_load_of_nothing():
    assert load_of([0.0, 1.0], [None, None], time_s=1.0) is None
    assert load_of([0.0], [1.0], time_s=0.0) is None
    assert load_of([0.0, 1.0], [1.0, 1.0], time_s=1.0, capacity_s=[3.0, 3.0]) is None
