import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.windows import WindowPlan, window_starts


@pytest.mark.parametrize(
    ("length", "window", "step", "expected"),
    [
        (64, 64, 0.5, [0]),
        (65, 64, 0.5, [0, 1]),
        (96, 64, 0.5, [0, 32]),
        # 110 - 64 = 46 = 1.4 steps of 32: three windows, 23 apart.
        (110, 64, 0.5, [0, 23, 46]),
        # 97 - 64 = 33: three windows at 0, 16.5, 33; halves go to the even number.
        (97, 64, 0.5, [0, 16, 33]),
        (200, 64, 1.0, [0, 45, 91, 136]),
    ],
)
def test_starts_by_hand(length, window, step, expected):
    assert window_starts(length, window, step=step) == expected


@given(st.integers(1, 40), st.integers(0, 200), st.sampled_from([0.25, 0.5, 0.75, 1.0]))
@settings(max_examples=200)
def test_windows_cover_the_axis_with_steps_no_larger_than_asked(window, free, step):
    starts = window_starts(window + free, window, step=step)
    assert starts[0] == 0
    assert starts[-1] == free
    # One voxel of rounding at most.
    assert all(0 <= b - a <= window * step + 1 for a, b in itertools.pairwise(starts))


def test_a_window_longer_than_the_axis_is_refused():
    with pytest.raises(ValueError, match="at least the window, got 3 < 4"):
        window_starts(3, 4, step=0.5)


def test_starts_run_with_z_outermost():
    plan = WindowPlan(patch=(2, 2, 2))
    assert plan.starts((3, 2, 4)) == [(z, 0, x) for z in (0, 1) for x in (0, 1, 2)]
    assert plan.padded_shape((1, 5, 2)) == (2, 5, 2)


def test_plan_round_trip_and_refusals():
    plan = WindowPlan(
        patch=(8, 16, 16),
        step=0.75,
        mirror_axes=(0, 2),
        layout="flare22",
        skip_below=5,
        tube_labels=(2,),
        face_above=1,
    )
    assert WindowPlan.from_dict(plan.to_dict()) == plan
    first_format = {"patch": [8, 16, 16], "step": 0.5, "mirror_axes": []}
    assert WindowPlan.from_dict(first_format) == WindowPlan(patch=(8, 16, 16))
    for fields, message in (
        ({"patch": (0, 4, 4)}, "patch must be three positive"),
        ({"patch": (4, 4, 4), "step": 0.0}, "step must be in"),
        ({"patch": (4, 4, 4), "mirror_axes": (3,)}, "mirror_axes"),
        ({"patch": (4, 4, 4), "mirror_axes": (1, 1)}, "mirror_axes"),
        ({"patch": (4, 4, 4), "layout": "ring"}, "layout must be grid or flare22, got 'ring'"),
        ({"patch": (4, 4, 4), "skip_below": -1}, "at least 0, got -1 and 10"),
    ):
        with pytest.raises(ValueError, match=message):
            WindowPlan(**fields)
