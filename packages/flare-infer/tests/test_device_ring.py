import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_infer.device.ring import DeviceRing
from flare_infer.ring import PlaneRing

from .device_cases import CPU


@settings(max_examples=50, deadline=None)
@given(depth=st.integers(1, 6), steps=st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_planes_are_those_of_the_ring_on_the_host(depth, steps):
    ring = DeviceRing(depth, (2, 1, 1), torch.float32, CPU)
    host, end = PlaneRing(depth, (2, 1, 1)), 0
    for step in steps:
        before, end = end, end + step
        ring.extend(end)
        host.extend(end)
        for z in range(max(before, end - depth), end):
            host[z][...] = z + 1
            ((slots, which),) = ring.parts(z, z + 1)
            assert which == slice(0, 1)
            assert (ring.values[:, slots] == 0).all()
            ring.values[:, slots] = z + 1
        held = [torch.zeros(2, 0, 1, 1)]
        held += [ring.values[:, slots] for slots, _ in ring.parts(max(0, end - depth), end)]
        expected = [host[z][0, 0, 0] for z in range(max(0, end - depth), end)]
        assert torch.cat(held, dim=1)[1, :, 0, 0].tolist() == expected
    assert (ring.end, ring.depth) == (end, depth)


def test_planes_that_are_not_held_are_refused():
    ring = DeviceRing(4, (1, 1, 1), torch.float16, CPU)
    ring.extend(6)
    for first, last in ((1, 3), (5, 7)):
        with pytest.raises(IndexError, match=f"planes {first} to {last} are not held: 4 planes to"):
            list(ring.parts(first, last))
    assert list(ring.parts(5, 5)) == []
