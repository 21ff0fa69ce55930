import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_train.augment import augment, draw_parameters
from flare_train.config import AugmentConfig

PATCH = (8, 12, 10)
FULL = AugmentConfig.preset("nnunet")
ALWAYS = dataclasses.replace(
    FULL,
    elastic_rms_voxels=(0.5, 2.0),
    shift=(-0.2, 0.2),
    **{entry.name: 1.0 for entry in dataclasses.fields(FULL) if entry.name.endswith("_p")},
)


def batch(seed=0, *, size=2, shape=PATCH):
    generator = torch.Generator().manual_seed(seed)
    images = torch.randn(size, 1, *shape, generator=generator)
    targets = torch.randint(0, 5, (size, *shape), generator=generator).to(torch.uint8)
    return images, targets


def draw(config, **key):
    key = {"seed": 0, "iteration": 0, "batch": 2, "patch": PATCH, **key}
    return draw_parameters(config, **key)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([PATCH, (9, 16, 15)]))
def test_no_new_labels_and_finite_images(seed, source):
    images, targets = batch(seed, shape=source)
    changed, moved = augment(
        images, targets, draw(ALWAYS, seed=seed), patch=PATCH, spacing_mm=(9, 7, 7)
    )
    assert moved.dtype == targets.dtype
    assert moved.shape == (2, *PATCH)
    assert set(moved.unique().tolist()) <= set(targets.unique().tolist())
    assert changed.shape == (2, 1, *PATCH)
    assert torch.isfinite(changed).all()


def test_intensity_changes_leave_labels_alone():
    images, targets = batch()
    still = dataclasses.replace(ALWAYS, rotation_p=0.0, scale_p=0.0, elastic_p=0.0, mirror_axes=())
    changed, same = augment(images, targets, draw(still), patch=PATCH)
    assert torch.equal(same, targets)
    assert not torch.equal(changed, images)


@pytest.mark.parametrize("config", [ALWAYS, dataclasses.replace(ALWAYS, rotation_p=0, scale_p=0)])
def test_inputs_are_not_modified(config):
    images, targets = batch()
    before = images.clone(), targets.clone()
    augment(images, targets, draw(config), patch=PATCH)
    assert torch.equal(images, before[0])
    assert torch.equal(targets, before[1])


def test_nothing_drawn_changes_nothing():
    images, targets = batch()
    changed, same = augment(images, targets, draw(AugmentConfig()), patch=PATCH)
    assert changed is images
    assert same is targets


def test_nothing_drawn_is_a_crop_of_the_middle():
    images, targets = batch(shape=(10, 15, 10))
    changed, moved = augment(images, targets, draw(AugmentConfig()), patch=PATCH)
    assert torch.equal(changed, images[:, :, 1:9, 1:13])
    assert torch.equal(moved, targets[:, 1:9, 1:13])


def test_a_sample_does_not_depend_on_its_batch():
    images, targets = batch(size=3)
    key = {"seed": 4, "iteration": 9}
    whole, _ = augment(images, targets, draw(ALWAYS, batch=3, **key), patch=PATCH)
    second = draw(ALWAYS, batch=1, first=1, **key)
    alone, _ = augment(images[1:2], targets[1:2], second, patch=PATCH)
    assert torch.equal(whole[1:2], alone)


def test_several_maps_move_together():
    images, targets = batch()
    targets += 1  # 0 is what lies beyond the border
    origins = 6 - targets
    parameters = draw(ALWAYS)
    changed, moved = augment(images, torch.stack([targets, origins], 1), parameters, patch=PATCH)
    alone, single = augment(images, targets, parameters, patch=PATCH)
    assert torch.equal(changed, alone)
    assert torch.equal(moved[:, 0], single)
    assert torch.equal(moved[:, 1], torch.where(single == 0, 0, 6 - single))


def test_half_precision_images_come_back_in_single():
    images, targets = batch()
    parameters = draw(ALWAYS)
    whole, labels = augment(images.half().float(), targets, parameters, patch=PATCH)
    halves, same = augment(images.half(), targets, parameters, patch=PATCH)
    assert torch.equal(whole, halves)
    assert torch.equal(labels, same)


def test_channels_change_on_their_own():
    images, targets = batch()
    pair = images.repeat(1, 2, 1, 1, 1)
    changed, _ = augment(pair, targets, draw(ALWAYS, channels=2), patch=PATCH)
    assert not torch.equal(changed[:, 0], changed[:, 1])
    single, _ = augment(images, targets, draw(ALWAYS, channels=1), patch=PATCH)
    assert single.shape == (2, 1, *PATCH)


def test_wrong_numbers_of_samples_and_small_sources_are_refused():
    images, targets = batch()
    with pytest.raises(ValueError, match=r"2 samples of 1 channels, got \(3, 1\)"):
        augment(images, targets, draw(ALWAYS, batch=3), patch=PATCH)
    with pytest.raises(ValueError, match=r"at least as large as the patch \(8, 12, 12\)"):
        augment(images, targets, draw(ALWAYS), patch=(8, 12, 12))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("patch", [(32, 48, 48), (8, 48, 48)], ids=["deep", "flat"])
def test_a_device_gives_the_same_numbers(patch):
    images, targets = batch(shape=(*patch[:1], 60, 60))
    config = dataclasses.replace(ALWAYS, rotation_degrees=(20, 0, 0))
    parameters = draw(config, patch=patch)
    here, labels = augment(images, targets, parameters, patch=patch)
    there, moved = augment(images.cuda(), targets.cuda(), parameters, patch=patch)
    torch.testing.assert_close(there.cpu(), here, atol=1e-3, rtol=1e-3)
    # A point half-way between two voxels may fall to either side.
    assert (moved.cpu() != labels).float().mean() < 1e-3
