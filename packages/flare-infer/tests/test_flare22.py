import numpy as np
import pytest

from flare_infer.flare22 import flare22_rows
from flare_infer.gaussian import gaussian_profiles
from flare_infer.heads import Head
from flare_infer.sliding import ensemble_logits
from flare_infer.windows import WindowPlan, three_starts

HEAD = Head(labels=(0, 1, 5), rivals=(0, 1, 2))
# Rows at z = 0, 2, 4, 6, 8; in the plane 16 > 2 * 4: starts 4, 6, 8.
SHAPE = (12, 16, 16)
MIDDLE = (6, 6)


def plan(**changes):
    rules = {"skip_below": 10, "face_above": 3, **changes}
    return WindowPlan(patch=(4, 4, 4), layout="flare22", **rules)


def looked_at(labels, windows):
    """Which windows of a label volume are looked at, and which count."""
    asked = []

    def predict(start):
        asked.append(start)
        z, y, x = start
        return labels[z : z + 4, y : y + 4, x : x + 4]

    rows = flare22_rows(windows, labels.shape, predict=predict, decide=lambda p: p)
    return asked, [start for row in rows for start, _ in row]


@pytest.mark.parametrize(
    ("length", "window", "expected"),
    [
        (341, 128, [42, 106, 170]),  # center 170
        (257, 128, [0, 64, 128]),  # center 128: just above twice the window
        (256, 128, [0, 64, 128]),  # twice the window, from end to end
        (129, 128, [0, 0, 1]),  # halves go to the even number
        (128, 128, [0, 0, 0]),
    ],
)
def test_three_starts_by_hand(length, window, expected):
    assert three_starts(length, window) == expected


def test_a_window_longer_than_the_axis_is_refused():
    with pytest.raises(ValueError, match="got 3 < 4"):
        three_starts(3, 4)


def test_a_full_volume_is_looked_at_in_all_nine_windows_of_each_row():
    asked, counted = looked_at(np.ones(SHAPE, int), plan())
    assert len(asked) == 9 * 5
    assert counted == asked
    # The middle one first, the others by y and x.
    assert asked[:4] == [(0, 6, 6), (0, 4, 4), (0, 4, 6), (0, 4, 8)]
    assert sorted(asked) == plan().starts(SHAPE)


def test_an_empty_volume_is_looked_at_in_every_other_row_and_nothing_counts():
    asked, counted = looked_at(np.zeros(SHAPE, int), plan())
    assert asked == [(z, *MIDDLE) for z in (0, 4, 8)]
    assert counted == []


def test_one_voxel_decides_whether_a_row_is_dropped():
    labels = np.zeros((4, 16, 16), int)
    labels[0, 6:9, 6:9] = 1
    assert looked_at(labels, plan())[1] == []  # 9 < 10
    labels[1, 6, 6] = 1
    assert len(looked_at(labels, plan())[1]) == 9


def test_a_dropped_row_hides_the_next_one_only():
    labels = np.zeros(SHAPE, int)
    labels[4:] = 1
    # The row at 0 is empty: that at 2, half full, is not looked at; from 4 on all is.
    _, counted = looked_at(labels, plan())
    assert [start[0] for start in counted] == [z for z in (4, 6, 8) for _ in range(9)]


def test_tubes_are_followed_only_through_the_faces_they_touch():
    labels = np.zeros((4, 16, 16), int)
    labels[:, 7:9, 7:9] = 5  # inside the middle window, 16 voxels
    assert looked_at(labels, plan())[0] == [(0, 6, 6)]
    labels[:, 6, 7] = 10  # 4 > 3 voxels on the front face
    assert looked_at(labels, plan())[0] == [(0, 6, 6), (0, 4, 6)]
    labels[:, 9, 7] = 6  # and on the back face
    assert looked_at(labels, plan())[0] == [(0, 6, 6), (0, 4, 6), (0, 8, 6)]
    labels[:1, 6, 7] = 0  # 3 are not more than 3
    assert looked_at(labels, plan())[0] == [(0, 6, 6), (0, 8, 6)]
    labels[0, 8, 8] = 1  # one voxel of anything else
    assert len(looked_at(labels, plan())[0]) == 9
    assert looked_at(labels, plan(tube_labels=(1, 5, 6, 10)))[0] == [(0, 6, 6), (0, 8, 6)]


def test_windows_that_coincide_are_looked_at_once():
    assert looked_at(np.ones((4, 4, 5), int), plan())[0] == [(0, 0, 0), (0, 0, 1)]
    labels = np.full((4, 4, 4), 5)
    assert looked_at(labels, plan())[0] == [(0, 0, 0)]


def threshold_net(window):
    """Background 0, label 1 at the voxel's value, label 5 never."""
    return np.concatenate((window * 0, window, window * 0 - 9), axis=1)


def ramp_net(window):
    """Always label 1, by an amount that depends on the place in the window."""
    z, y, x = (np.linspace(0, 1, n, dtype=np.float32) for n in window.shape[2:])
    ramp = 1 + z[:, None, None] + 0.5 * y[None, :, None] + 0.25 * x[None, None, :]
    return np.stack((ramp * 0, window[0, 0] * 0 + ramp, ramp * 0 - 9))[None]


def test_a_full_volume_gives_the_mean_of_the_plain_three_by_three():
    array = np.zeros((1, 6, 16, 16), np.float32)
    found = ensemble_logits([ramp_net], array, plan(), mode="fast", head=HEAD)
    z, y, x = gaussian_profiles((4, 4, 4))
    weights = z[:, None, None] * y[None, :, None] * x[None, None, :]
    ramp = ramp_net(np.zeros((1, 1, 4, 4, 4), np.float32))[0, 1]
    sums, norm = np.zeros(array.shape[1:]), np.zeros(array.shape[1:])
    for a in (0, 2):
        for b in (4, 6, 8):
            for c in (4, 6, 8):
                place = np.s_[a : a + 4, b : b + 4, c : c + 4]
                sums[place] += weights * ramp
                norm[place] += weights
    inside = np.s_[:, 4:12, 4:12]
    assert np.allclose(found[1][inside], (sums / np.maximum(norm, 1e-30))[inside], atol=1e-5)
    # Beyond the three windows nothing was seen: all logits 0, background.
    outside = np.ones(array.shape[1:], bool)
    outside[inside] = False
    assert not found[:, outside].any()
    assert not HEAD.decide(found)[outside].any()


@pytest.mark.parametrize("mode", ["exact", "fast"])
def test_what_is_skipped_is_background(mode):
    array = np.full((1, *SHAPE), -1, np.float32)
    empty = ensemble_logits([threshold_net], array, plan(), mode=mode, head=HEAD)
    assert empty.shape == (3, *SHAPE)
    assert not empty.any()
    array[0, 6:, 6:10, 6:10] = 2
    labels = HEAD.decide(ensemble_logits([threshold_net], array, plan(), mode=mode, head=HEAD))
    # Rows 0 (dropped), 2 (hidden); row 4 shows planes 6 and 7, later rows the rest.
    assert np.array_equal(labels == 1, array[0] > 0)


def test_a_small_image_is_one_window_a_row():
    array = np.ones((1, 8, 3, 4), np.float32)
    told = []
    ensemble_logits(
        [threshold_net], array, plan(), mode="fast", head=HEAD, on_window=lambda: told.append(1)
    )
    assert len(told) == 3


def test_it_needs_a_head():
    with pytest.raises(ValueError, match="head must be given"):
        ensemble_logits([threshold_net], np.zeros((1, 4, 4, 4), np.float32), plan(), mode="fast")
