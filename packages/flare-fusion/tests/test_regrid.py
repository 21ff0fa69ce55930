"""Label maps brought to another grid: by hand, and against a voxel-by-voxel search."""

import itertools

import numpy as np
import pytest

from flare_fusion.regrid import labels_on_grid
from flare_io.geometry import Geometry
from flare_io.volume import Volume

ARRAY = np.random.default_rng(0).integers(1, 9, (3, 4, 5)).astype(np.uint8)


def turned(degrees):
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    return ((1, 0, 0), (0, c, -s), (0, s, c))


def searched(labels, geometry, shape):
    """Return the label of the nearest voxel, looking at one point after the other."""
    result = np.zeros(shape, labels.array.dtype)
    for index in itertools.product(*map(range, shape)):
        place = labels.geometry.index_from_world(geometry.world_from_index(index))
        nearest = np.floor(place + 0.5).astype(int)
        if ((nearest >= 0) & (nearest < labels.array.shape)).all():
            result[index] = labels.array[tuple(nearest)]
    return result


@pytest.mark.parametrize(
    ("source", "target", "shape"),
    [
        (Geometry((2, 1, 1)), Geometry((1.3, 0.7, 0.9), (0.21, 0.13, -0.4)), (5, 6, 7)),
        (Geometry((2, 1, 1)), Geometry((2, 1, 1), (4, 0, 1), ((-1, 0, 0), (0, 0, 1), (0, 1, 0))),
         (3, 5, 4)),
        (Geometry((2, 1, 1), (0.3, 0.2, 0.1), turned(20)), Geometry((1.1, 0.8, 1.2)), (6, 5, 4)),
        (Geometry((2, 1, 1)), Geometry((1, 1, 1), (0.3, 2.1, 0.4), turned(-35)), (4, 4, 4)),
    ],
    ids=["spacing", "axes", "from oblique", "to oblique"],
)  # fmt: skip
def test_each_voxel_takes_the_nearest_label_in_the_patient(source, target, shape):
    labels = Volume(ARRAY, source)
    moved, outside = labels_on_grid(labels, target, shape)
    expected = searched(labels, target, shape)
    assert (moved.array == expected).all()
    # No label of the source is 0.
    assert outside == (expected == 0).sum()
    assert moved.geometry == target
    assert moved.array.dtype == np.uint8


def test_there_and_back_by_another_axis_order_is_exact():
    grid = Geometry((2, 1, 1.5), (5, 6, 7))
    other = Geometry((1.5, 2, 1), (9, 9, 13), ((0, -1, 0), (0, 0, -1), (-1, 0, 0)))
    moved, outside = labels_on_grid(Volume(ARRAY, grid), other, (5, 3, 4))
    back, _ = labels_on_grid(moved, grid, ARRAY.shape)
    assert outside == (moved.array == 0).sum()
    assert set(np.unique(back.array)) <= {0, *np.unique(ARRAY)}
    same, none_outside = labels_on_grid(Volume(ARRAY, grid), grid, ARRAY.shape)
    assert (same.array == ARRAY).all()
    assert none_outside == 0


def test_halfway_the_higher_index_counts():
    two = Volume(np.array([[[3, 7]]], np.uint8), Geometry((1, 1, 1)))
    moved, outside = labels_on_grid(two, Geometry((1, 1, 1), (0, 0, 0.5)), (1, 1, 2))
    assert moved.array.ravel().tolist() == [7, 0]
    assert outside == 1


def test_elsewhere_nothing_is_left():
    far, outside = labels_on_grid(Volume(ARRAY, Geometry((1, 1, 1))),
                                  Geometry((1, 1, 1), (99, 0, 0)), (2, 2, 2))  # fmt: skip
    assert outside == 8
    assert not far.array.any()
