import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.certainty import (
    PAINTED,
    UNSURE,
    Lead,
    paint_states,
    safe_lead,
    steps_of,
    sure_winners,
)


def halves():
    """All finite numbers of float16, ascending, -0 left out."""
    values = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = values[np.isfinite(values)]
    return np.sort(values[~((values == 0) & np.signbit(values))])


def test_steps_count_all_of_float16():
    steps = steps_of(halves())
    assert (np.diff(steps.astype(int)) == 1).all()
    assert steps_of(np.array([0.0, -0.0], np.float16)).tolist() == [0, 0]


@given(st.floats(-(2.0**127), 2.0**127, width=32))
@settings(max_examples=60)
def test_a_step_of_float32_is_the_next_number(value):
    pair = np.array([value, np.nextafter(np.float32(value), np.float32(np.inf))], np.float32)
    low, high = steps_of(pair).tolist()
    assert high - low == 1


def test_four_steps_of_float16_exceed_what_rounding_can_close():
    values = halves().astype(np.float64)
    for lead in (4, 5, 9):
        low, high = values[:-lead], values[lead:]
        assert (high - low > 2.0**-10 * np.maximum(abs(low), abs(high)) + 2.0**-24).all()
    low, high = values[:-1], values[1:]
    assert not (high - low > 2.0**-10 * np.maximum(abs(low), abs(high)) + 2.0**-24).all()


def test_thirty_two_steps_of_float32_exceed_its_errors():
    rng = np.random.default_rng(0)
    powers = np.float32(2.0) ** np.arange(-90, 90, dtype=np.float32)
    values = np.concatenate([powers, powers * rng.uniform(1, 2, powers.shape).astype(np.float32)])
    for sign in (1, -1):
        high = values * np.float32(sign)
        low = high.copy()
        for _ in range(32):
            low = np.nextafter(low, np.float32(-np.inf))
        gap = high.astype(np.float64) - low
        assert (gap > 2.0**-20 * np.maximum(abs(high), abs(low)).astype(np.float64)).all()


def test_the_lead_depends_on_the_arithmetic():
    assert safe_lead(np.dtype(np.float16), half=True) == Lead(4)
    assert safe_lead(np.dtype(np.float32), half=False) == Lead(32)
    wide = safe_lead(np.dtype(np.float32), half=True)
    assert wide.steps == np.diff(steps_of(np.array([1, 1 + 4 * 2.0**-10], np.float32)))[0]
    assert wide.above == steps_of(np.array([2.0**-12], np.float32))[0]


def test_the_wide_lead_exceeds_what_rounding_to_float16_can_close():
    lead = safe_lead(np.dtype(np.float32), half=True)
    start = np.arange(lead.above + 1, steps_of(np.array([65504], np.float32))[0], 9973)
    high = start.astype(np.int32).view(np.float32).astype(np.float64)
    low = (start - lead.steps).astype(np.int32).view(np.float32).astype(np.float64)
    assert len(high) > 10_000
    for a, b in ((high, low), (-low, -high)):
        assert (a - b > 2.0**-10 * np.maximum(abs(a), abs(b)) + 2.0**-24).all()


@given(st.integers(0, 10**6), st.sampled_from([1, 2, 5]))
@settings(max_examples=40)
def test_winners_by_hand_written_loop(seed, count):
    rng = np.random.default_rng(seed)
    contenders = rng.integers(-7, 8, (count, 30)).astype(np.int16)
    found = sure_winners(list(contenders), Lead(4))
    for column, winner in zip(contenders.T.tolist(), found.tolist(), strict=True):
        first = column.index(max(column))
        others = [value for k, value in enumerate(column) if k != first]
        sure = first == 0 or not others or column[first] - max(others) >= 4
        assert winner == (first if sure else UNSURE)


def test_extreme_numbers_do_not_wrap_around():
    for kind in (np.float16, np.float32):
        largest = np.finfo(kind).max
        steps = steps_of(np.array([-largest, largest], kind))
        assert sure_winners([steps[:1], steps[1:]], Lead(32)).tolist() == [1]


def test_sure_painters_exceed_every_rule_and_others_none():
    values = halves()
    states = paint_states(values)
    assert (states[values <= 0] == 0).all()
    assert (states[values > 2.0**-18] == PAINTED).all()
    between = (values > 0) & (values <= 2.0**-18)
    assert (states[between] == UNSURE).all()
    by_sigmoid = (torch.sigmoid(torch.from_numpy(values.astype(np.float32))) > 0.5).numpy()
    assert by_sigmoid[states == PAINTED].all()
    assert not by_sigmoid[states == 0].any()
    assert paint_states(np.array([1e-30, -1e-30, 1e-3], np.float32)).tolist() == [UNSURE, 0, 1]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_strided_planes_are_taken(dtype):
    values = np.arange(24, dtype=dtype).reshape(2, 3, 4)[:, ::2, 1:]
    assert (steps_of(values) == steps_of(values.copy())).all()
