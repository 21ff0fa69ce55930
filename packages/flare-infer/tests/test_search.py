"""Shortcuts on scans that are off center, small or very long: nothing may be cut off."""

from dataclasses import replace

import numpy as np
import pytest

from flare_infer.fast import SAME_WINDOWS, FastSettings
from flare_infer.search import find_region
from flare_io.intensity import Intensity
from flare_io.preparation import plan_preparation
from flare_io.volume import Volume

from .fast_scans import (
    LIVER_HU,
    TUMOR_HU,
    VoxelNet,
    block,
    labels_and_count,
    predictor_of,
    scan,
)

OFF_CENTER = scan(
    (20, 90, 90),
    body=block((0, 20), (50, 90), (0, 40)),
    organs=[
        (block((4, 12), (80, 89), (1, 12)), LIVER_HU),
        (block((15, 19), (56, 61), (30, 36)), TUMOR_HU),
    ],
)
SMALL = scan(
    (3, 10, 9),
    body=block((0, 3), (0, 10), (0, 9)),
    organs=[(block((1, 3), (2, 8), (3, 9)), LIVER_HU)],
)
ONE_SLICE = scan(
    (1, 40, 40),
    body=block((0, 1), (5, 35), (5, 35)),
    organs=[(block((0, 1), (10, 20), (10, 25)), LIVER_HU)],
)
VERY_LONG = scan(
    (400, 24, 24),
    body=block((0, 400), (4, 20), (4, 20)),
    organs=[
        (block((0, 12), (8, 14), (8, 14)), LIVER_HU),
        (block((180, 200), (6, 12), (8, 14)), LIVER_HU),
        (block((390, 400), (6, 18), (6, 18)), TUMOR_HU),
    ],
)
TWO_BODIES = scan(
    (20, 40, 120),
    body=block((0, 20), (5, 35), (0, 30)),
    organs=[
        (block((0, 20), (5, 35), (90, 120)), 0),
        (block((3, 9), (8, 20), (2, 9)), LIVER_HU),
        (block((3, 9), (8, 20), (112, 119)), LIVER_HU),
    ],
)
TUMOR_FAR_FROM_ORGANS = scan(
    (160, 40, 40),
    body=block((0, 160), (0, 40), (0, 40)),
    organs=[
        (block((5, 40), (10, 30), (10, 30)), LIVER_HU),
        (block((140, 150), (30, 38), (2, 12)), TUMOR_HU),
    ],
)
SCANS = {
    "off center": OFF_CENTER,
    "small": SMALL,
    "one slice": ONE_SLICE,
    "very long": VERY_LONG,
    "two bodies": TWO_BODIES,
    "tumor far from organs": TUMOR_FAR_FROM_ORGANS,
}
SHORTCUTS = {
    "default": FastSettings(),
    "no margin": FastSettings(body_margin_mm=0),
    "coarse": FastSettings(coarse=2.0, coarse_margin_mm=16),
    "coarse alone": FastSettings(body=False, coarse=1.5, coarse_margin_mm=16),
    "wide steps": FastSettings(step=1.0),
    "no memory": FastSettings(constant=False),
}


@pytest.mark.parametrize("shortcut", SHORTCUTS.values(), ids=SHORTCUTS)
@pytest.mark.parametrize("ct", SCANS.values(), ids=SCANS)
def test_labels_are_those_of_all_windows(spec, ct, shortcut):
    every = replace(SAME_WINDOWS, constant=shortcut.constant)
    expected, count = labels_and_count(spec, ct, every)
    assert set(np.unique(expected)) > {0}
    found, fewer = labels_and_count(spec, ct, shortcut)
    assert np.array_equal(found, expected)
    if shortcut.coarse is None:
        assert fewer <= count


def test_a_body_in_a_wide_field_saves_windows(spec):
    every = replace(SAME_WINDOWS, constant=False)
    _, all_windows = labels_and_count(spec, OFF_CENTER, every)
    _, needed = labels_and_count(spec, OFF_CENTER, replace(every, body=True))
    # 20 planes of 8, 90 rows and columns of 16: 4 x 11 x 11. 50 rows and columns: 4 x 6 x 6.
    assert all_windows == 4 * 11 * 11
    assert needed == 4 * 6 * 6


def test_two_bodies_leave_out_the_windows_between_them(spec):
    every = replace(SAME_WINDOWS, constant=False)
    _, all_windows = labels_and_count(spec, TWO_BODIES, every)
    net = VoxelNet()
    fast = replace(every, body=True, body_margin_mm=0.0)
    predictor_of(spec, net, fast).predict(TWO_BODIES, mode="fast")
    assert 0 < len(net.windows) < all_windows
    assert all((window > -2.4).any() for window in net.windows)


def test_windows_of_plain_air_are_predicted_once(spec):
    air = Volume(np.where(OFF_CENTER.array < -300, -1000, OFF_CENTER.array), OFF_CENTER.geometry)
    settings = replace(SAME_WINDOWS, constant=True)
    labels, once = labels_and_count(spec, air, settings)
    again, each = labels_and_count(spec, air, replace(settings, constant=False))
    assert np.array_equal(labels, again)
    assert once < each == 4 * 11 * 11


def test_a_coarse_look_at_a_long_scan_leaves_its_empty_middle_out(spec):
    settings = FastSettings(coarse=2.0, coarse_margin_mm=16)
    net = VoxelNet()
    labels = predictor_of(spec, net, settings).predict(VERY_LONG, mode="fast").array
    _, count = labels_and_count(spec, VERY_LONG, FastSettings())
    assert len(net.windows) < 0.6 * count
    assert np.array_equal(labels == 14, VERY_LONG.array == TUMOR_HU)


def test_a_coarse_look_that_finds_nothing_costs_nothing(spec):
    # One voxel is lost between voxels twice as long.
    ct = scan(
        (16, 32, 32),
        body=block((0, 16), (0, 32), (0, 32)),
        organs=[(block((5, 6), (9, 10), (9, 10)), TUMOR_HU)],
    )
    found, _ = labels_and_count(spec, ct, FastSettings(coarse=2.0, coarse_margin_mm=0))
    assert found[5, 9, 9] == 14


def region_of(spec, ct, settings):
    _, preparation = plan_preparation(ct, spec.preprocessing)
    return find_region(VoxelNet(), [ct], spec, preparation, settings=settings)


def test_what_is_not_ct_has_no_body(spec):
    plain = (Intensity(scheme="none"),)
    other = replace(spec, preprocessing=replace(spec.preprocessing, intensities=plain))
    assert len(region_of(spec, OFF_CENTER, FastSettings()).masks) == 1
    assert region_of(other, OFF_CENTER, FastSettings()).masks == ()
    assert region_of(spec, OFF_CENTER, SAME_WINDOWS).masks == ()


def test_of_air_alone_everything_is_looked_at(spec):
    air = scan((16, 32, 32), body=block((0, 0), (0, 0), (0, 0)))
    assert region_of(spec, air, FastSettings()).masks == ()


def test_the_margin_of_the_coarse_look_is_in_millimeters(spec):
    spans = []
    for margin in (0, 40):
        settings = FastSettings(body=False, coarse=2.0, coarse_margin_mm=margin)
        box = region_of(spec, TUMOR_FAR_FROM_ORGANS, settings).box
        spans.append(box)
    # Planes of 4 mm, 8 mm in the coarse look: 40 mm are ten planes. Only six lie in front.
    assert (spans[0].start[0], spans[1].start[0]) == (6, 0)
    assert (spans[0].stop[0], spans[1].stop[0]) == (150, 160)
    assert spans[0].stop[1] < 40 == spans[1].stop[1]


def test_axes_of_any_order_give_the_same(spec):
    from flare_io.geometry import AxisOrder

    turned = OFF_CENTER.reordered(AxisOrder((2, 0, 1), (True, False, True)))
    settings = FastSettings(coarse=2.0, coarse_margin_mm=16)
    expected, count = labels_and_count(spec, OFF_CENTER, settings)
    found, again = labels_and_count(spec, turned, settings)
    assert np.array_equal(AxisOrder((2, 0, 1), (True, False, True)).undo(found), expected)
    assert again == count


def test_draft_decides_before_it_resamples(spec):
    ct = scan(
        (10, 40, 40),
        body=block((0, 10), (0, 40), (0, 40)),
        organs=[(block((3, 8), (9, 23), (11, 30)), LIVER_HU)],
        spacing_mm=(4.0, 1.0, 1.0),
    )
    draft, _ = labels_and_count(spec, ct, FastSettings(draft=True))
    other = replace(spec, order="decide-resample")
    expected, _ = labels_and_count(other, ct, FastSettings())
    assert np.array_equal(draft, expected)
    full, _ = labels_and_count(spec, ct, FastSettings())
    assert (draft != full).any()


def test_exact_mode_takes_no_shortcut(spec):
    net = VoxelNet()
    settings = FastSettings(step=1.0, coarse=2.0, draft=True)
    predictor = predictor_of(spec, net, settings)
    labels = predictor.predict(OFF_CENTER, mode="exact").array
    assert len(net.windows) == 4 * 11 * 11
    expected, _ = labels_and_count(spec, OFF_CENTER, SAME_WINDOWS)
    assert np.array_equal(labels, expected)


def test_each_window_is_told_and_may_cancel(spec):
    net = VoxelNet()
    calls = []

    def stop():
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt

    predictor = predictor_of(spec, net, FastSettings(coarse=2.0))
    with pytest.raises(KeyboardInterrupt):
        predictor.predict(OFF_CENTER, mode="fast", on_window=stop)
    assert len(net.windows) == 3


def test_seconds_name_the_search(spec):
    seconds = {}
    predictor_of(spec, VoxelNet()).predict(SMALL, mode="fast", timings=seconds)
    assert {"search", "network", "prepare"} <= set(seconds)


def test_a_step_changes_what_is_planned(spec):
    wide = predictor_of(spec, VoxelNet(), FastSettings(step=1.0))
    plain = predictor_of(spec, VoxelNet())
    shape, spacing = (32, 64, 64), (4.0, 2.0, 2.0)
    counts = [
        each.explain(shape, spacing_mm=spacing, mode="fast", measure=False).windows
        for each in (wide, plain)
    ]
    assert counts == [4 * 4 * 4, 7 * 7 * 7]
    exact = wide.explain(shape, spacing_mm=spacing, mode="exact", measure=False)
    assert exact.windows == 7 * 7 * 7
