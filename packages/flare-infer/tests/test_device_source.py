import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.constant import remember_constant
from flare_infer.device.place import Place
from flare_infer.device.rows import CaseGrid
from flare_infer.device.source import DeviceSource, Planes
from flare_infer.windows import WindowPlan
from flare_io.crop import Box
from flare_io.resample import axis_operator

from .device_cases import CPU, blocks_of


def source_of(array, patch, *, dtype=torch.float32, watched=True, step=0.5):
    shape = array.shape[1:]
    axes = tuple(axis_operator(n, n, 1) for n in shape)
    grid = CaseGrid(WindowPlan(patch=patch, step=step), Box.whole(shape), axes)
    planes = Planes(blocks_of(array), shape[0])
    place = Place.open(CPU)
    return DeviceSource(place, planes, grid, dtype=dtype, watched=watched), grid


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 999),
    shape=st.tuples(st.integers(1, 30), st.integers(1, 9), st.integers(1, 9)),
    patch=st.tuples(*[st.integers(1, 12)] * 3),
)
def test_windows_are_those_of_the_padded_case(seed, shape, patch):
    array = np.random.default_rng(seed).normal(size=(2, *shape)).astype(np.float32)
    source, grid = source_of(array, patch)
    behind = [p - n - k for p, n, k in zip(grid.padded, shape, grid.ahead, strict=True)]
    padded = np.pad(array, ((0, 0), *zip(grid.ahead, behind, strict=True)))
    window = torch.zeros((1, 2, *patch)).contiguous(memory_format=torch.channels_last_3d)
    for start in grid.windows.starts(grid.padded):
        source.read(start[0] + patch[0])
        source.put_window(start, window)
        place = tuple(slice(k, k + n) for k, n in zip(start, patch, strict=True))
        expected = padded[(slice(None), *place)]
        assert np.array_equal(window[0].numpy(), expected)
        still = (expected == expected[:, :1, :1, :1]).all()
        assert (source.constant(start) is not None) == still


def test_constant_windows_are_those_that_the_host_remembers():
    array = np.zeros((2, 12, 4, 4), np.float32)
    array[0, :4], array[0, 4:8], array[1, 4:8] = 1, 2, 3
    # Another value in a corner; the middle shows nothing of it.
    array[1, 9, 0, 0] = 1
    source, grid = source_of(array, (4, 4, 4), step=1.0)
    seen = []
    host = remember_constant(lambda window: seen.append(window) or window)
    values = []
    for start in grid.windows.starts(grid.padded):
        source.read(start[0] + 4)
        values.append(source.constant(start))
        host(array[None, :, start[0] : start[0] + 4])
    one, two = (np.array(pair, np.float32).tobytes() for pair in ((1, 0), (2, 3)))
    assert values == [one, two, None]
    assert len(seen) == 3


def test_planes_that_are_not_watched_are_not_asked():
    source, _ = source_of(np.zeros((1, 4, 4, 4), np.float32), (4, 4, 4), watched=False)
    source.read(4)
    assert source.constant((0, 0, 0)) is None


def test_half_storage_is_rounded_where_it_lies():
    array = np.random.default_rng(0).normal(size=(1, 9, 4, 4)).astype(np.float32)
    source, _ = source_of(array, (9, 4, 4), dtype=torch.float16)
    source.read(9)
    window = torch.zeros((1, 1, 9, 4, 4), dtype=torch.float16)
    source.put_window((0, 0, 0), window)
    assert np.array_equal(window[0].numpy(), array.astype(np.float16))


def test_planes_are_made_when_they_are_taken():
    made = []

    def blocks():
        for k in range(3):
            made.append(k)
            yield np.full((1, 1, 2, 2), k, np.float32)

    planes = Planes(blocks(), 4)
    assert (made, planes.channels) == ([0], 1)
    assert [int(planes.take()[0, 0, 0]) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="blocks must hold 4 planes, got 3"):
        planes.take()
