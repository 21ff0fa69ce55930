import numpy as np
import pytest

from flare_io.errors import GeometryError
from flare_io.geometry import AxisOrder, Geometry
from flare_io.volume import Volume, require_same_grid, to_canonical

GRID = Geometry((2.0, 1.0, 1.0))


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4, 5), (0, 3, 4)])
def test_a_volume_is_three_dimensional_with_voxels(shape):
    with pytest.raises(ValueError, match="must be"):
        Volume(np.zeros(shape), GRID)


def test_the_array_is_neither_copied_nor_writable_through_the_volume():
    array = np.zeros((2, 3, 4))
    volume = Volume(array, GRID)
    assert np.shares_memory(volume.array, array) and array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        volume.array[0] = 1


def test_another_array_keeps_grid_and_notes():
    volume = Volume(np.zeros((2, 3, 4)), GRID, ("odd",))
    other = volume.with_array(np.ones((2, 3, 4), np.uint8))
    assert other.geometry is volume.geometry and other.notes == ("odd",)
    with pytest.raises(ValueError, match=r"must have shape \(2, 3, 4\), got \(2, 3, 5\)"):
        volume.with_array(np.ones((2, 3, 5)))


def test_canonical_is_a_view_and_the_way_back_exact():
    ras = Geometry((2.0, 1.0, 1.0), (5, 6, 7), ((1, 0, 0), (0, -1, 0), (0, 0, -1)))
    volume = Volume(np.arange(24).reshape(2, 3, 4), ras, ("odd",))
    canonical, order = to_canonical(volume)
    assert np.shares_memory(canonical.array, volume.array)
    assert order == AxisOrder((0, 1, 2), (False, True, True))
    assert np.array_equal(order.undo(canonical.array), volume.array)
    # The last voxel of y and x, 2 and 3 steps toward A and R, is the new first.
    assert canonical.geometry.origin == (5.0, 4.0, 4.0)
    assert canonical.notes == ("odd",)


def test_same_grid():
    volume = Volume(np.zeros((2, 3, 4)), GRID)
    require_same_grid(volume, volume, name="labels")
    moved = Volume(np.zeros((2, 3, 4)), Geometry((2.0, 1.0, 1.0), (1, 0, 0)))
    with pytest.raises(GeometryError, match=r"labels: must lie on .* 1 mm apart"):
        require_same_grid(moved, volume, name="labels")
