"""Labels on another grid: right by place, whatever the axes."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_metrics.files import LabelMap
from flare_metrics.grid import Grid
from flare_metrics.resample import resampled


def grid(shape, spacing=(1.0, 1.0, 1.0), origin=(0.0, 0.0, 0.0), turn=None):
    """Return a grid whose axis z runs along world z, y along y, x along x, then turned."""
    affine = np.zeros((4, 4))
    affine[[2, 1, 0], [0, 1, 2]] = spacing
    affine[:3, 3], affine[3, 3] = origin, 1
    if turn is not None:
        affine[:3] = turn @ affine[:3]
    return Grid(shape, tuple(spacing), affine)


def about_z(degrees):
    angle = np.radians(degrees)
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def nearest_by_hand(labels, target):
    """Return the same, voxel by voxel and in exact steps: no slices, no index matrix."""
    result = np.zeros(target.shape, labels.array.dtype)
    inverse = np.linalg.inv(labels.grid.affine)
    for index in np.ndindex(*target.shape):
        place = inverse @ (target.affine @ np.array([*index, 1.0]))
        near = np.floor(place[:3] + 0.5 + 1e-6).astype(int)
        if (near >= 0).all() and (near < labels.array.shape).all():
            result[index] = labels.array[tuple(near)]
    return result


def random_labels(shape, seed=0):
    return np.random.default_rng(seed).integers(0, 15, shape, dtype=np.uint8)


def test_the_same_grid_changes_nothing():
    own = grid((3, 4, 5), (2.5, 0.8, 0.8), (7, -3, 2))
    labels = LabelMap(random_labels((3, 4, 5)), own)
    assert (resampled(labels, own).array == labels.array).all()


def test_a_shift_of_whole_voxels_moves_and_fills_with_background():
    labels = LabelMap(random_labels((3, 4, 5)), grid((3, 4, 5)))
    # The target starts two voxels further along world x, which is the last axis.
    found = resampled(labels, grid((3, 4, 5), origin=(2, 0, 0))).array
    assert (found[..., :3] == labels.array[..., 2:]).all()
    assert (found[..., 3:] == 0).all()
    far = resampled(labels, grid((3, 4, 5), origin=(1000, 0, 0))).array
    assert not far.any()


def test_flipped_and_permuted_axes_find_their_place():
    labels = LabelMap(random_labels((3, 4, 5)), grid((3, 4, 5), (2.5, 0.8, 0.7)))
    order = [2, 0, 1]
    affine = labels.grid.affine[:, [*order, 3]]
    turned = Grid((5, 3, 4), (0.7, 2.5, 0.8), affine.copy())
    assert (resampled(labels, turned).array == labels.array.transpose(order)).all()
    flipped = labels.grid.affine.copy()
    flipped[:, 3] += flipped[:, 0] * 2
    flipped[:, 0] *= -1
    assert (resampled(labels, Grid((3, 4, 5), (2.5, 0.8, 0.7), flipped)).array
            == labels.array[::-1]).all()  # fmt: skip


def test_halves_do_not_depend_on_rounding():
    # Every target voxel lies exactly between two source voxels.
    labels = LabelMap(np.arange(6, dtype=np.uint8).reshape(1, 1, 6), grid((1, 1, 6), (1, 1, 0.3)))
    found = resampled(labels, grid((1, 1, 5), (1, 1, 0.3), (0.15, 0, 0)))
    assert found.array.ravel().tolist() == [1, 2, 3, 4, 5]


@settings(max_examples=25, deadline=None)
@given(
    st.floats(-180, 180),
    st.tuples(*[st.floats(-4, 4)] * 3),
    st.tuples(*[st.floats(0.4, 3)] * 3),
    st.integers(0, 99),
)
def test_any_grid_agrees_with_the_voxelwise_oracle(degrees, origin, spacing, seed):
    labels = LabelMap(random_labels((4, 5, 6), seed), grid((4, 5, 6), (2.0, 0.8, 0.9)))
    for turn in (None, about_z(degrees)):
        target = grid((3, 6, 5), spacing, origin, turn)
        found = resampled(labels, target)
        expected = nearest_by_hand(labels, target)
        # A place on the border between two voxels may go either way with the last bit.
        assert (found.array != expected).sum() <= 1
        assert found.grid is target


def test_a_body_keeps_its_place_on_an_oblique_grid():
    # A ball of 6 mm around the world's (10, 10, 10), once on each grid.
    def ball(own):
        index = np.stack(np.meshgrid(*map(np.arange, own.shape), indexing="ij"), -1)
        world = index @ own.affine[:3, :3].T + own.affine[:3, 3]
        return LabelMap((np.linalg.norm(world - 10, axis=-1) <= 6).astype(np.uint8), own)

    fine = grid((40, 40, 40), (0.5, 0.5, 0.5))
    oblique = grid((20, 30, 30), (1.0, 0.8, 0.8), (0, -4, 0), about_z(20))
    moved, drawn = resampled(ball(fine), oblique).array, ball(oblique).array
    dice = 2 * (moved & drawn).sum() / (moved.sum() + drawn.sum())
    # Both are drawn in voxels of up to 1 mm.
    assert dice > 0.96
