import numpy as np
import pytest

from flare_infer.constant import remember_constant


class Counting:
    def __init__(self):
        self.calls = 0

    def __call__(self, window):
        self.calls += 1
        return np.concatenate((window, 2 * window), axis=1)


@pytest.fixture
def net():
    return Counting()


def flat(*values, side=3):
    """A window in which each channel has one value."""
    channels = np.array(values, np.float32).reshape(1, -1, 1, 1, 1)
    return np.broadcast_to(channels, (1, len(values), side, side, side)).copy()


def test_constant_windows_are_predicted_once_for_each_value_in_a_row(net):
    once = remember_constant(net)
    for value in (-1, -1, -1, 0.5, 0.5):
        assert np.array_equal(once(flat(value)), Counting()(flat(value)))
    assert net.calls == 2


def test_a_window_with_one_other_voxel_is_predicted(net):
    once = remember_constant(net)
    once(flat(-1))
    for place in [(0, 0, 0, 0, 0), (0, 0, 1, 1, 1), (0, 0, 2, 2, 2)]:
        window = flat(-1)
        window[place] = 0
        assert np.array_equal(once(window), Counting()(window))
    assert net.calls == 4


def test_every_channel_must_be_constant_and_the_same(net):
    once = remember_constant(net)
    once(flat(1, 2))
    once(flat(1, 2))
    assert net.calls == 1
    once(flat(1, 3))
    changing = flat(1, 2)
    changing[0, 1, 0, 0, 2] = 7
    once(changing)
    assert net.calls == 3


def test_windows_of_another_size_are_other_windows(net):
    once = remember_constant(net)
    assert once(flat(1, side=2)).shape == (1, 2, 2, 2, 2)
    assert once(flat(1, side=4)).shape == (1, 2, 4, 4, 4)
    assert net.calls == 2


def test_an_answer_may_be_changed_by_who_got_it(net):
    once = remember_constant(net)
    first = once(flat(1))
    first[...] = 99
    second = once(flat(1))
    second *= 0
    assert np.array_equal(once(flat(1)), Counting()(flat(1)))


def test_nan_is_never_the_same(net):
    once = remember_constant(net)
    once(flat(np.nan))
    once(flat(np.nan))
    assert net.calls == 2
