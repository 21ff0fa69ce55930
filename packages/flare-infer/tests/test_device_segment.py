"""The engine for a device, run on the CPU, beside the host's and the formula in float64."""

import gc
import weakref

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.decide import logit_operators
from flare_infer.device import engine as engine_module
from flare_infer.device.segment import DeviceSettings, device_slabs
from flare_infer.region import Region
from flare_infer.stopwatch import Stopwatch
from flare_infer.windows import WindowPlan
from flare_io.prepared_planes import PreparedPlanes

from .device_cases import (
    PlaceNet,
    blocks_of,
    description,
    device_labels,
    host_logits,
    member_of,
    preparation_of,
)
from .test_upsample import HEADS, SOFTMAX, assert_equal_but_for_near_ties

SMALL = st.tuples(*[st.integers(1, 14)] * 3)
LARGE = st.tuples(*[st.integers(1, 24)] * 3)


def assert_as_on_the_host(found, logits, spec, preparation):
    """Labels are those of the host's logits, resampled by matrices in float64."""
    whole = logits.astype(np.float64)
    for axis, operator in enumerate(logit_operators(preparation, spec), start=1):
        whole = np.moveaxis(np.tensordot(operator.matrix(), whole, (1, axis)), 0, axis)
    assert found.shape == preparation.cropped_shape
    assert found.dtype == spec.head.dtype
    assert_equal_but_for_near_ties(found, whole, spec.head, np.abs(logits).max())


def drawn_region(rng, shape):
    masks = []
    for _ in range(int(rng.integers(0, 3))):
        mask = np.zeros(tuple(int(n) for n in rng.integers(1, 9, 3)), bool)
        for _ in range(int(rng.integers(1, 4))):
            mask[tuple(int(rng.integers(n)) for n in mask.shape)] = True
        masks.append(mask)
    return Region(shape, tuple(masks))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    small=SMALL,
    large=LARGE,
    patch=st.tuples(*[st.integers(1, 7)] * 3),
    step=st.sampled_from([0.3, 0.5, 0.75, 1.0]),
    head=st.sampled_from(HEADS),
)
def test_labels_are_those_of_the_host_wherever_windows_lie(seed, small, large, patch, step, head):
    rng = np.random.default_rng(seed)
    array = rng.normal(size=(2, *small)).astype(np.float32)
    spec = description(WindowPlan(patch=patch, step=step), head, channels=2)
    region, modules = drawn_region(rng, small), [PlaceNet(4, seed=seed)]
    found = device_labels([member_of(modules[0])], array, spec, large, region=region)
    logits = host_logits(modules, array, spec, region=region)
    assert_as_on_the_host(found, logits, spec, preparation_of(small, large))


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("members", [1, 3])
def test_members_and_mirror_images_are_averaged(members, mirror):
    array = np.random.default_rng(1).normal(size=(1, 11, 13, 9)).astype(np.float32)
    windows = WindowPlan(patch=(5, 6, 4), mirror_axes=(0, 2))
    spec, large = description(windows, SOFTMAX), (16, 20, 9)
    modules, calls = [PlaceNet(4, seed=k) for k in range(members)], []
    found = device_labels(
        [member_of(module) for module in modules],
        array, spec, large, mirror=mirror, on_window=lambda: calls.append(1),
    )  # fmt: skip
    count = len(windows.starts(array.shape[1:]))
    assert len(calls) == count * members
    assert [len(module.windows) for module in modules] == [count * (4 if mirror else 1)] * members
    logits = host_logits(modules, array, spec, mirror=mirror)
    assert_as_on_the_host(found, logits, spec, preparation_of((11, 13, 9), large))


def test_an_axis_of_order_0_takes_the_nearest_voxel():
    array = np.random.default_rng(2).normal(size=(1, 6, 13, 9)).astype(np.float32)
    spec, large = description(WindowPlan(patch=(4, 6, 6)), SOFTMAX), (15, 17, 12)
    preparation = preparation_of((6, 13, 9), large, spacing_mm=(8.0, 1.0, 1.0))
    module = PlaceNet(4)
    found = device_labels([member_of(module)], array, spec, large, preparation=preparation)
    assert logit_operators(preparation, spec)[0].width == 1
    assert_as_on_the_host(found, host_logits([module], array, spec), spec, preparation)


def test_constant_windows_are_looked_at_once():
    array = np.zeros((1, 30, 8, 8), np.float32)
    array[:, 24:] = np.random.default_rng(3).normal(size=(1, 6, 8, 8))
    spec = description(WindowPlan(patch=(4, 8, 8), step=1.0), SOFTMAX)
    labels = {}
    starts = spec.windows.axis_starts((30, 8, 8))[0]
    still = sum(start + 4 <= 24 for start in starts)
    assert still > 2
    for constant, looks in ((True, len(starts) - still + 1), (False, len(starts))):
        module, calls = PlaceNet(4), []
        labels[constant] = device_labels(
            [member_of(module)], array, spec, (30, 8, 8),
            constant=constant, on_window=lambda calls=calls: calls.append(1),
        )  # fmt: skip
        assert len(calls) == len(starts)
        assert len(module.windows) == looks
    assert np.array_equal(labels[True], labels[False])


def test_half_storage_gives_nearly_the_same_labels():
    array = np.random.default_rng(4).normal(size=(1, 12, 14, 16)).astype(np.float32)
    spec, large = description(WindowPlan(patch=(6, 8, 8)), SOFTMAX), (12, 20, 22)
    single = device_labels([member_of(PlaceNet(4))], array, spec, large)
    half = device_labels([member_of(PlaceNet(4, storage=torch.float16))], array, spec, large)
    assert 0.97 < (single == half).mean() < 1


def test_nothing_is_asked_for_where_no_window_lies():
    def blocks():
        raise AssertionError("nothing is prepared")
        yield

    spec = description(WindowPlan(patch=(4, 4, 4)), SOFTMAX)
    empty = Region((6, 6, 6), (np.zeros((2, 2, 2), bool),))
    case = PreparedPlanes(preparation_of((6, 6, 6), (9, 9, 9)), blocks())
    (slab,) = device_slabs(
        [], case, spec, region=empty, settings=DeviceSettings(), watch=Stopwatch({})
    )
    assert slab.shape == (9, 9, 9)
    assert not slab.any()


def test_the_device_is_opened_behind_the_first_plane_and_closed_before_the_last(monkeypatch):
    events = []

    class Watched(engine_module.DeviceEngine):
        def __init__(self, *arguments):
            events.append("open")
            super().__init__(*arguments)

        def release(self):
            super().release()
            events.append("close")
            assert vars(self) == {}

    monkeypatch.setattr("flare_infer.device.segment.DeviceEngine", Watched)
    array = np.ones((1, 20, 6, 6), np.float32)

    def blocks():
        for k in range(20):
            events.append("plane")
            yield array[:, k : k + 1]

    spec = description(WindowPlan(patch=(4, 6, 6), step=1.0), SOFTMAX)
    member = member_of(PlaceNet(4))
    case = PreparedPlanes(preparation_of((20, 6, 6), (20, 6, 6)), blocks())
    seconds = {}
    slabs = device_slabs(
        [member], case, spec, region=Region((20, 6, 6)), settings=DeviceSettings(),
        watch=Stopwatch(seconds),
    )  # fmt: skip
    events.extend("slab" for _ in slabs)
    assert events[:2] == ["plane", "open"]
    assert events[-2:] == ["close", "slab"]
    # The first row's labels are handed on when the second row's planes have been given.
    assert events[: events.index("slab")].count("plane") == 8
    assert set(seconds) == {"network"}


def test_a_case_that_is_given_up_gives_everything_back():
    class StopError(Exception):
        pass

    def stop():
        raise StopError

    module = PlaceNet(4)
    spec = description(WindowPlan(patch=(4, 4, 4)), SOFTMAX)
    array = np.ones((1, 8, 8, 8), np.float32)
    with pytest.raises(StopError):
        device_labels([member_of(module)], array, spec, (8, 8, 8), on_window=stop)
    case = PreparedPlanes(preparation_of((8, 8, 8), (8, 8, 8)), blocks_of(array))
    slabs = device_slabs(
        [member_of(module)], case, spec, region=Region((8, 8, 8)), settings=DeviceSettings(),
        watch=Stopwatch({}),
    )  # fmt: skip
    next(slabs)
    ring = weakref.ref(slabs.gi_frame.f_locals["engine"]._sums.ring)
    slabs.close()
    gc.collect()
    assert ring() is None


def test_too_few_planes_are_refused():
    spec = description(WindowPlan(patch=(4, 4, 4)), SOFTMAX)
    preparation = preparation_of((9, 4, 4), (9, 4, 4))
    for planes, said in ((3, "must hold 9 planes, got 3"), (0, "at least one plane, got none")):
        case = PreparedPlanes(preparation, iter([np.ones((1, planes, 4, 4), np.float32)]))
        slabs = device_slabs(
            [member_of(PlaceNet(4))], case, spec, region=Region((9, 4, 4)),
            settings=DeviceSettings(), watch=Stopwatch({}),
        )  # fmt: skip
        with pytest.raises(ValueError, match=said):
            list(slabs)
