import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from flare_train.augment import draw_parameters
from flare_train.augment.displacement import displacement_field
from flare_train.augment.spatial import rotation_matrix, transform_spatially
from flare_train.augment_config import AugmentConfig

NOTHING = AugmentConfig()
MOVING = dataclasses.replace(
    AugmentConfig.preset("swift"), rotation_p=1, scale_p=1, elastic_p=1, mirror_axes=(0, 1, 2)
)


def labels(shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(1, 9, (1, *shape), generator=generator).to(torch.uint8)


def ball(shape, spacing_mm, radius_mm, center_mm=(0, 0, 0)):
    axes = [
        (np.arange(n) - (n - 1) / 2) * s - c
        for n, s, c in zip(shape, spacing_mm, center_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return torch.from_numpy((z**2 + y**2 + x**2 <= radius_mm**2).astype(np.uint8))[None]


def parameters(patch, **changes):
    """Return the parameters of one sample: nothing but what is given."""
    drawn = draw_parameters(NOTHING, seed=0, iteration=0, batch=1, patch=patch)
    changes = {name: np.asarray([value]) for name, value in changes.items()}
    if "in_plane" in changes:
        changes["in_plane"] = bool(changes["in_plane"][0])
    return dataclasses.replace(drawn, **changes)


def move(targets, *, patch=None, spacing_mm=(1, 1, 1), in_plane=False, **changes):
    patch = targets.shape[1:] if patch is None else patch
    return transform_spatially(
        targets[:, None].float(),
        targets,
        parameters(patch, in_plane=in_plane, **changes),
        patch=patch,
        spacing_mm=spacing_mm,
    )


@pytest.mark.parametrize(
    ("axis", "plane"), [(0, (1, 2)), (1, (0, 2)), (2, (0, 1))], ids=["z", "y", "x"]
)
def test_quarter_turn_equals_rot90(axis, plane):
    targets = labels((8, 8, 8))
    angles = np.zeros(3)
    angles[axis] = np.pi / 2
    images, moved = move(targets, angles=angles)
    # A positive angle carries the plane's first axis to its second: rot90's own direction.
    wanted = torch.rot90(targets, 1, [p + 1 for p in plane])
    torch.testing.assert_close(moved, wanted)
    torch.testing.assert_close(images[:, 0], wanted.float(), atol=1e-4, rtol=0)


def test_quarter_turn_in_the_plane_equals_rot90():
    targets = labels((3, 8, 8))
    images, moved = move(targets, angles=(np.pi / 2, 0, 0), in_plane=True)
    wanted = torch.rot90(targets, 1, [2, 3])
    torch.testing.assert_close(moved, wanted)
    torch.testing.assert_close(images[:, 0], wanted.float(), atol=1e-4, rtol=0)


def test_scale_of_a_half_doubles_a_ball_in_millimeters():
    spacing, shape = (3.0, 1.0, 2.0), (32, 96, 48)
    before = ball(shape, spacing, 15)
    _, after = move(before, scale=0.5, spacing_mm=spacing)
    torch.testing.assert_close(after.sum() / before.sum(), torch.tensor(8.0), rtol=0.03, atol=0)
    grown = ball(shape, spacing, 30)
    # Doubled voxels leave steps of up to 3 mm on the surface: 3 * 1 mm / 30 mm of the volume.
    assert (after != grown).float().sum() < 0.1 * grown.sum()


def test_rotation_is_rigid_on_anisotropic_voxels():
    # A ball 20 mm along +y, turned by 90 degrees about z, lies 20 mm along +x.
    spacing, shape = (3.0, 1.0, 2.0), (16, 80, 40)
    before = ball(shape, spacing, 9, center_mm=(0, 20, 0))
    wanted = ball(shape, spacing, 9, center_mm=(0, 0, 20))
    for in_plane in (False, True):
        _, after = move(before, angles=(np.pi / 2, 0, 0), spacing_mm=spacing, in_plane=in_plane)
        # The voxels of the two balls differ in shape: a few percent of the surface.
        assert (after != wanted).sum() < 0.2 * wanted.sum()


def test_matrix_is_a_rotation():
    matrix = rotation_matrix(np.array([0.3, -0.2, 1.1]))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize("in_plane", [False, True])
def test_all_at_once_equals_scipy(in_plane):
    source, patch, spacing = (10, 17, 21), (10, 12, 14), np.array([3.0, 1.0, 1.5])
    angles = np.array([0.5, 0.0, 0.0]) if in_plane else np.array([0.5, -0.3, 0.2])
    drawn = parameters(
        patch,
        angles=angles,
        scale=1.2,
        elastic_sigma=3.0,
        elastic_rms=1.5,
        mirror=(True, False, True),
        in_plane=in_plane,
    )
    image = torch.randn(1, 1, *source, generator=torch.Generator().manual_seed(1))
    targets = labels(source)
    images, moved = transform_spatially(image, targets, drawn, patch=patch, spacing_mm=spacing)

    field = displacement_field(
        patch[1:] if in_plane else patch, sigma=3.0, rms=1.5, seed=drawn.field_seeds[0]
    ).numpy()
    offsets = np.stack(
        np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in patch], indexing="ij")
    ).astype(float)
    if in_plane:
        offsets[1:] += field[:, np.newaxis]
    else:
        offsets += field
    factor = np.array([1.0, 1.2, 1.2]) if in_plane else np.full(3, 1.2)
    millimeters = np.einsum(
        "ij,jzyx->izyx", rotation_matrix(angles).T, offsets * spacing[:, None, None, None]
    )
    points = millimeters / spacing[:, None, None, None] * factor[:, None, None, None]
    points += (np.array(source)[:, None, None, None] - 1) / 2
    linear = map_coordinates(image[0, 0].numpy(), points, order=1, mode="grid-constant")
    nearest = map_coordinates(targets[0].numpy(), points, order=0, mode="grid-constant")
    np.testing.assert_allclose(images[0, 0], linear[::-1, :, ::-1], atol=2e-4)
    # A point half-way between voxels may fall to either side.
    assert (moved[0].numpy() != nearest[::-1, :, ::-1]).mean() < 0.01


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([(16, 20, 20), (6, 24, 20)]))
def test_labels_stay_with_the_image(seed, patch):
    # The image is the label map itself: after moving, rounding it gives the labels again except
    # where linear interpolation mixes neighbors.
    before = ball(patch, (1, 1, 1), 6, center_mm=(1, 2, -2))
    drawn = draw_parameters(MOVING, seed=seed, iteration=0, batch=1, patch=patch)
    images, moved = transform_spatially(before[:, None].float(), before, drawn, patch=patch)
    sure = (images[:, 0] < 0.01) | (images[:, 0] > 0.99)
    assert sure.float().mean() > 0.5
    assert torch.equal(images[:, 0].round()[sure].to(torch.uint8), moved[sure])


@pytest.mark.parametrize("axes", [(0,), (1,), (2,), (0, 2), (0, 1, 2)])
def test_mirroring_flips_the_middle_bit_for_bit(axes):
    targets = labels((6, 9, 10))
    mirror = [axis in axes for axis in range(3)]
    images, moved = move(targets, patch=(4, 6, 10), mirror=mirror)
    wanted = targets[:, 1:5, 1:7].flip([axis + 1 for axis in axes])
    assert torch.equal(moved, wanted)
    assert torch.equal(images[:, 0], wanted.float())


def test_what_lies_beyond_the_border_is_zero():
    targets = torch.ones(1, 8, 8, 8, dtype=torch.uint8)
    images, moved = move(targets, scale=2.0)
    # Every second voxel of 16: the middle half of each axis is read inside.
    assert moved.sum() == 4**3
    assert images.sum() == 4**3
    assert moved[0, 2:6, 2:6, 2:6].all()


def test_only_moving_samples_are_interpolated():
    drawn = draw_parameters(
        AugmentConfig(scale_p=0.5, scale=(0.7, 1.4)), seed=3, iteration=0, batch=8, patch=(6, 6, 6)
    )
    assert 0 < drawn.spatial.sum() < 8
    images = torch.randn(8, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0))
    targets = labels((8, 8, 8)).expand(8, 8, 8, 8)
    moved, _ = transform_spatially(images, targets, drawn, patch=(6, 6, 6))
    same = [torch.equal(new, old[:, 1:7, 1:7, 1:7]) for new, old in zip(moved, images, strict=True)]
    assert same == (~drawn.spatial).tolist()


def test_a_source_below_the_patch_is_refused():
    with pytest.raises(ValueError, match=r"at least as large as the patch \(8, 8, 9\), got \(8, 8"):
        move(labels((8, 8, 8)), patch=(8, 8, 9))
