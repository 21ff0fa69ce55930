"""Surfaces of all labels at once: eight shifted reads as oracle, memory orders, cuts."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_metrics import _trace
from flare_metrics._agreement import cut_surface, voxel_count
from flare_metrics._trace import trace_surfaces


def peers_codes(mask):
    """Read the code of every corner voxel by voxel."""
    padded = np.pad(mask, 1)
    codes = {}
    for corner in np.ndindex(*(n + 1 for n in mask.shape)):
        around = padded[tuple(slice(k, k + 2) for k in corner)]
        code = int("".join(str(int(voxel)) for voxel in around.ravel()), 2)
        if 0 < code < 255:
            codes[corner] = code
    return codes


def as_codes(surface):
    if surface is None:
        return {}
    corners = zip(*surface.corners.tolist(), strict=True)
    codes = dict(zip(corners, surface.codes.tolist(), strict=True))
    assert len(codes) == surface.size
    return codes


def random_labels(seed, shape, highest=4):
    rng = np.random.default_rng(seed)
    return rng.integers(0, highest + 1, shape).astype(np.uint8)


def test_one_voxel_has_a_piece_at_each_of_its_corners():
    labels = np.zeros((3, 3, 3), np.uint8)
    labels[1, 1, 1] = 7
    (surface,) = trace_surfaces(labels).values()
    # Seen from the corner behind the voxel on all axes, the voxel is the first: bit 128.
    assert as_codes(surface)[2, 2, 2] == 128
    assert as_codes(surface)[1, 1, 1] == 1
    assert sorted(as_codes(surface).values()) == [1, 2, 4, 8, 16, 32, 64, 128]


@given(seed=st.integers(0, 10**6), shape=st.tuples(*(st.integers(1, 5),) * 3))
@settings(max_examples=40, deadline=None)
def test_every_label_equals_eight_shifted_reads(seed, shape):
    labels = random_labels(seed, shape)
    surfaces = trace_surfaces(labels)
    for label in range(1, 5):
        assert as_codes(surfaces.get(label)) == peers_codes(labels == label)
    assert set(surfaces) == set(np.unique(labels).tolist()) - {0}


@pytest.mark.parametrize("order", list(permutations(range(3))), ids=str)
def test_the_order_in_memory_changes_nothing(order):
    labels = random_labels(1, (4, 5, 6))
    stored = labels.transpose(order).copy().transpose(np.argsort(order))
    for label, surface in trace_surfaces(stored).items():
        assert as_codes(surface) == peers_codes(labels == label)
    backward = trace_surfaces(labels[::-1, :, ::-1])
    assert as_codes(backward[2]) == peers_codes(labels[::-1, :, ::-1] == 2)


@pytest.mark.parametrize("slab_bytes", [1, 60, 10**6])
def test_slabs_of_any_depth_give_the_same(slab_bytes, monkeypatch):
    labels = random_labels(2, (7, 5, 6))
    labels[2:4] = 0
    expected = {label: peers_codes(labels == label) for label in range(1, 5)}
    monkeypatch.setattr(_trace, "_SLAB_BYTES", slab_bytes)
    assert {k: as_codes(v) for k, v in trace_surfaces(labels).items()} == expected


def test_nothing_comes_of_nothing():
    assert trace_surfaces(np.zeros((3, 3, 3), np.uint8)) == {}
    assert trace_surfaces(np.zeros((0, 3, 3), np.uint8)) == {}


def test_two_byte_labels_are_told_apart():
    labels = np.array([[[1, 257, 65535]]], np.uint16)
    assert sorted(trace_surfaces(labels)) == [1, 257, 65535]


@given(seed=st.integers(0, 10**6))
@settings(max_examples=25, deadline=None)
def test_surfaces_enclose_their_voxels(seed):
    labels = random_labels(seed, (4, 3, 5))
    for label, surface in trace_surfaces(labels).items():
        assert voxel_count(surface) == np.count_nonzero(labels == label)


@given(seed=st.integers(0, 10**6), axis=st.integers(0, 2), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_cut_surface_is_that_of_the_slices_kept(seed, axis, data):
    labels = random_labels(seed, (5, 4, 6), highest=1)
    labels[1:4, 1:3, 1:5] = 1
    start = data.draw(st.integers(0, labels.shape[axis] - 1))
    stop = data.draw(st.integers(start + 1, labels.shape[axis]))
    kept = np.zeros_like(labels, bool)
    part = [slice(None)] * 3
    part[axis] = slice(start, stop)
    kept[tuple(part)] = labels[tuple(part)] == 1
    cut = cut_surface(trace_surfaces(labels)[1], labels, 1, axis=axis, slices=slice(start, stop))
    assert as_codes(cut) == peers_codes(kept)
    assert voxel_count(cut) == kept.sum()
