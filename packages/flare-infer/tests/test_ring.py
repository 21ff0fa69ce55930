import numpy as np
import pytest

from flare_infer.ring import PlaneRing


def test_only_the_last_planes_are_held():
    ring = PlaneRing(3, (2, 1))
    ring.extend(3)
    for z in range(3):
        ring[z][...] = z + 1
    assert [ring[z][0, 0] for z in range(3)] == [1, 2, 3]
    ring.extend(5)
    assert ring.end == 5
    assert [ring[z][0, 0] for z in (2, 3, 4)] == [3, 0, 0]
    with pytest.raises(IndexError, match="plane 1 is not held: 3 planes to 5 are"):
        ring[1]
    with pytest.raises(IndexError, match="plane 5"):
        ring[5]


def test_planes_begun_stay_as_they_are():
    ring = PlaneRing(2, (1,))
    ring.extend(2)
    ring[1][...] = 5
    ring.extend(1)
    ring.extend(2)
    assert ring.end == 2
    assert ring[1] == 5


def test_a_plane_is_a_view():
    ring = PlaneRing(2, (4,))
    ring.extend(1)
    assert np.shares_memory(ring[0], ring[0])
    ring.extend(9)
    assert not ring[8].any()
