import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.augment import augment, draw_parameters
from flare_train.augment.intensity import (
    add_noise,
    change_brightness,
    change_contrast,
    change_gamma,
    shift_intensity,
)
from flare_train.augment.spatial import rotation_matrix, transform_spatially
from flare_train.config import AugmentConfig

ALWAYS = dataclasses.replace(
    AugmentConfig.light(),
    **{entry.name: 1.0 for entry in dataclasses.fields(AugmentConfig) if entry.name.endswith("_p")},
)


def batch(seed=0, *, size=2, shape=(8, 12, 10)):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 1, *shape, generator=generator)
    targets = torch.randint(0, 5, (size, *shape), generator=generator).to(torch.uint8)
    return images, targets


def ball(shape, spacing_mm, radius_mm, center_mm=(0, 0, 0)):
    axes = [
        (np.arange(n) - (n - 1) / 2) * s - c
        for n, s, c in zip(shape, spacing_mm, center_mm, strict=True)
    ]
    z, y, x = np.meshgrid(*axes, indexing="ij")
    return torch.from_numpy((z**2 + y**2 + x**2 <= radius_mm**2).astype(np.uint8))[None]


def move(targets, *, angles=(0, 0, 0), scale=np.nan, spacing_mm=(1, 1, 1)):
    images = targets[:, None].float()
    return transform_spatially(
        images,
        targets,
        angles=np.array([angles], float),
        scale=np.array([scale]),
        spacing_mm=spacing_mm,
    )


@pytest.mark.parametrize(
    ("axis", "plane"), [(0, (1, 2)), (1, (0, 2)), (2, (0, 1))], ids=["z", "y", "x"]
)
def test_quarter_turn_equals_rot90(axis, plane):
    _, targets = batch(size=1, shape=(8, 8, 8))
    angles = np.zeros(3)
    angles[axis] = np.pi / 2
    images, labels = move(targets, angles=angles)
    # A positive angle carries the plane's first axis to its second: rot90's own direction.
    wanted = torch.rot90(targets, 1, [p + 1 for p in plane])
    torch.testing.assert_close(labels, wanted)
    torch.testing.assert_close(images[:, 0], wanted.float(), atol=1e-4, rtol=0)


def test_scaling_grows_a_ball_in_millimeters():
    spacing, shape = (3.0, 1.0, 2.0), (32, 96, 48)
    before = ball(shape, spacing, 15)
    _, after = move(before, scale=2.0, spacing_mm=spacing)
    torch.testing.assert_close(after.sum() / before.sum(), torch.tensor(8.0), rtol=0.03, atol=0)
    grown = ball(shape, spacing, 30)
    # Doubled voxels leave steps of up to 3 mm on the surface: 3 * 1 mm / 30 mm of the volume.
    assert (after != grown).float().sum() < 0.1 * grown.sum()


def test_rotation_is_rigid_on_anisotropic_voxels():
    # A ball 20 mm along +y, turned by 90 degrees about z, lies 20 mm along +x.
    spacing, shape = (3.0, 1.0, 2.0), (16, 80, 40)
    before = ball(shape, spacing, 9, center_mm=(0, 20, 0))
    _, after = move(before, angles=(np.pi / 2, 0, 0), spacing_mm=spacing)
    wanted = ball(shape, spacing, 9, center_mm=(0, 0, 20))
    # The voxels of the two balls differ in shape: a few percent of the surface.
    assert (after != wanted).sum() < 0.2 * wanted.sum()


def test_matrix_is_a_rotation():
    matrix = rotation_matrix(np.array([0.3, -0.2, 1.1]))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_labels_stay_with_the_image(seed):
    # The image is the label map itself: after moving, rounding it gives the labels again except
    # where linear interpolation mixes neighbors.
    labels = ball((16, 20, 20), (1, 1, 1), 6, center_mm=(1, 2, -2))
    parameters = draw_parameters(ALWAYS, seed=seed, iteration=0, batch=1)
    images, moved = transform_spatially(
        labels[:, None].float(), labels, angles=parameters.angles, scale=parameters.scale
    )
    sure = (images[:, 0] < 0.01) | (images[:, 0] > 0.99)
    assert sure.float().mean() > 0.8
    assert torch.equal(images[:, 0].round()[sure].to(torch.uint8), moved[sure])


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_no_new_labels_and_finite_images(seed):
    images, targets = batch(seed)
    parameters = draw_parameters(ALWAYS, seed=seed, iteration=1, batch=2)
    changed, moved = augment(images, targets, parameters, spacing_mm=(9, 7, 7))
    assert moved.dtype == targets.dtype
    assert set(moved.unique().tolist()) <= set(targets.unique().tolist())
    assert changed.shape == images.shape
    assert torch.isfinite(changed).all()


def test_intensity_changes_leave_labels_alone():
    images, targets = batch()
    still = dataclasses.replace(ALWAYS, rotation_p=0.0, scale_p=0.0)
    parameters = draw_parameters(still, seed=0, iteration=0, batch=2)
    changed, same = augment(images, targets, parameters)
    assert torch.equal(same, targets)
    assert not torch.equal(changed, images)


def test_inputs_are_not_modified():
    images, targets = batch()
    before = images.clone(), targets.clone()
    augment(images, targets, draw_parameters(ALWAYS, seed=0, iteration=0, batch=2))
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])


def test_nothing_drawn_changes_nothing():
    images, targets = batch()
    parameters = draw_parameters(AugmentConfig(), seed=0, iteration=0, batch=2)
    changed, same = augment(images, targets, parameters)
    assert changed is images
    assert same is targets


def test_a_sample_does_not_depend_on_its_batch():
    images, targets = batch(size=3)
    parameters = draw_parameters(ALWAYS, seed=4, iteration=9, batch=3)
    whole, _ = augment(images, targets, parameters)
    first = draw_parameters(ALWAYS, seed=4, iteration=9, batch=1)
    alone, _ = augment(images[:1], targets[:1], first)
    torch.testing.assert_close(whole[:1], alone, rtol=0, atol=1e-5)


def test_transforms_have_streams_of_their_own():
    full = draw_parameters(ALWAYS, seed=0, iteration=3, batch=4)
    less = dataclasses.replace(ALWAYS, scale_p=0.0, noise_p=0.0)
    drawn = draw_parameters(less, seed=0, iteration=3, batch=4)
    assert np.isnan(drawn.scale).all()
    np.testing.assert_array_equal(drawn.angles, full.angles)
    np.testing.assert_array_equal(drawn.gamma, full.gamma)


def test_probabilities_and_ranges():
    drawn = [
        draw_parameters(AugmentConfig.light(), seed=0, iteration=i, batch=4) for i in range(250)
    ]
    scales = np.concatenate([each.scale for each in drawn])
    # 1000 draws at p = 0.3: deviation 0.0145
    assert abs(np.mean(~np.isnan(scales)) - 0.3) < 0.05
    scales = scales[~np.isnan(scales)]
    assert 0.85 <= scales.min() < 0.88
    assert 1.16 < scales.max() <= 1.2
    # Smaller and larger equally often, though the two sides differ in width.
    assert abs(np.mean(scales < 1) - 0.5) < 0.12
    angles = np.rad2deg(np.concatenate([each.angles for each in drawn]))
    assert (np.nanmax(np.abs(angles), axis=0) <= [15, 8, 8]).all()


def test_brightness_shift_and_untouched_samples():
    images, _ = batch()
    factors = np.array([np.nan, 1.5])
    brighter = change_brightness(images, factors)
    assert torch.equal(brighter[0], images[0])
    torch.testing.assert_close(brighter[1], images[1] * 1.5)
    torch.testing.assert_close(shift_intensity(images, factors)[1], images[1] + 1.5)


def test_contrast_keeps_mean_when_lowered_and_range_when_raised():
    images, _ = batch()
    lower = change_contrast(images, np.array([0.5, 0.5]))
    torch.testing.assert_close(lower.mean((2, 3, 4)), images.mean((2, 3, 4)), atol=1e-5, rtol=0)
    torch.testing.assert_close(lower.std((2, 3, 4)), images.std((2, 3, 4)) / 2)
    higher = change_contrast(images, np.array([3.0, 3.0]))
    assert torch.equal(higher.amax((2, 3, 4)), images.amax((2, 3, 4)))


@pytest.mark.parametrize("inverted", [False, True])
def test_gamma_keeps_mean_deviation_and_order(inverted):
    images, _ = batch()
    bent = change_gamma(images, np.array([0.7, 1.5]), inverted=inverted)
    torch.testing.assert_close(bent.mean((2, 3, 4)), images.mean((2, 3, 4)), atol=1e-4, rtol=0)
    torch.testing.assert_close(bent.std((2, 3, 4)), images.std((2, 3, 4)), atol=1e-4, rtol=1e-4)
    for before, after in zip(images, bent, strict=True):
        assert torch.equal(before.flatten().argsort(), after.flatten().argsort())


def test_gamma_of_a_constant_image_is_the_image():
    constant = torch.full((1, 1, 2, 2, 2), 3.0)
    torch.testing.assert_close(change_gamma(constant, np.array([1.5])), constant)


def test_noise_has_its_variance_and_its_own_seed():
    images = torch.zeros(3, 1, 20, 20, 20)
    noisy = add_noise(images, np.array([0.25, np.nan, 0.25]), seeds=(1, 2, 3))
    assert noisy[0].std().item() == pytest.approx(0.5, rel=0.05)
    assert torch.equal(noisy[1], images[1])
    assert not torch.equal(noisy[0], noisy[2])
    assert torch.equal(noisy, add_noise(images, np.array([0.25, np.nan, 0.25]), seeds=(1, 5, 3)))
