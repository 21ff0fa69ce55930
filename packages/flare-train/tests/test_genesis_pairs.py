import dataclasses

import numpy as np
import pytest
import torch

from flare_train.genesis import restoration_pair
from flare_train.genesis_config import GenesisConfig

STILL = GenesisConfig(flip_p=0, shuffle_p=0, curve_p=0, paint_p=0)


def scan(size=2, shape=(16, 20, 24), seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, 1, *shape, generator=generator) * 300 - 100


def pair(config, images=None, *, seed=0, iteration=0, first=0):
    images = scan() if images is None else images
    return restoration_pair(images, config, seed=seed, iteration=iteration, first=first)


def test_targets_are_ct_numbers_scaled_to_the_window():
    # Stored with mean 80 and deviation 140: 0 is 80 HU, 2 is 360 HU, -10 is -1320 HU.
    images = torch.tensor([0.0, 2.0, -10.0]).view(1, 1, 1, 1, 3)
    config = dataclasses.replace(STILL, mean_hu=80.0, deviation_hu=140.0)
    inputs, targets = pair(config, images)
    torch.testing.assert_close(targets.ravel(), torch.tensor([0.54, 0.68, 0.0]))
    # Back in the given units: -1000 HU is what is left of the last.
    torch.testing.assert_close(inputs.ravel(), torch.tensor([0.0, 2.0, -1080 / 140]))
    unit, _ = pair(dataclasses.replace(config, inputs="unit"), images)
    torch.testing.assert_close(unit, targets)


@pytest.mark.parametrize("name", ["flip_p", "shuffle_p", "curve_p", "paint_p"])
def test_each_transform_does_its_own(name):
    images = scan()
    before = images.clone()
    clean = pair(STILL)[1]
    config = dataclasses.replace(STILL, inputs="unit", **{name: 1.0})
    config = dataclasses.replace(config, flip_rounds=1)
    inputs, targets = pair(config, images)
    assert torch.equal(images, before)
    assert inputs.min() >= 0
    assert inputs.max() <= 1
    assert not torch.equal(inputs, clean)
    if name == "flip_p":
        assert torch.equal(inputs, targets)
        for new, old in zip(targets, clean, strict=True):
            assert any(torch.equal(new, old.flip(axis)) for axis in (1, 2, 3))
    else:
        assert torch.equal(targets, clean)
    if name == "shuffle_p":
        # Only places change: no value that was not there, and most of the local mean stays.
        assert set(inputs.unique().tolist()) <= set(clean.unique().tolist())
    if name == "curve_p":
        order = clean[0].flatten().argsort()
        steps = inputs[0].flatten()[order].diff()
        assert (steps >= -1e-6).all() or (steps <= 1e-6).all()


@pytest.mark.parametrize("inner_p", [0.0, 1.0])
def test_painting_leaves_the_image_inside_or_outside_of_boxes(inner_p):
    config = dataclasses.replace(STILL, inputs="unit", paint_p=1.0, inner_p=inner_p, boxes=1)
    inputs, targets = pair(config, scan(1, (30, 36, 42)))
    kept = (inputs == targets)[0, 0]
    box = kept if inner_p == 0 else ~kept
    corners = torch.nonzero(box)
    low, high = corners.amin(0), corners.amax(0) + 1
    # Noise may meet the image's value by chance, but hardly more than in a few voxels.
    assert box.sum() / (high - low).prod() > 0.999
    noise = inputs[0, 0][~kept]
    assert abs(noise.mean() - 0.5) < 0.05
    assert abs(noise.var() - 1 / 12) < 0.01
    # A sixth to a third of each axis is filled; 3/7 to 4/7 of each axis are spared.
    shape = np.array([30, 36, 42])
    shares = (high - low).numpy() / shape
    assert (
        (shares >= (0.4 if inner_p == 0 else 0.16)) & (shares <= (0.6 if inner_p == 0 else 0.34))
    ).all()


def test_flips_follow_their_rounds():
    images = scan(1)
    odd = 0
    for iteration in range(400):
        _, targets = pair(dataclasses.replace(STILL, flip_p=0.4), images, iteration=iteration)
        odd += not torch.equal(targets, pair(STILL, images)[1])
    # First round 0.4; among those a second with 0.4, which undoes the first with 1/3; and so on:
    # 0.4 * (0.6 + 0.4 * (2/3 * 0.6 + 0.4)) = 0.368; a third round never leaves nothing.
    assert odd / 400 == pytest.approx(0.368, abs=0.08)


def test_samples_are_keyed_by_their_global_number():
    images = scan(4)
    inputs, targets = pair(GenesisConfig(), images, seed=2, iteration=7)
    share, clean = pair(GenesisConfig(), images[2:], seed=2, iteration=7, first=2)
    assert torch.equal(inputs[2:], share)
    assert torch.equal(targets[2:], clean)
    other, _ = pair(GenesisConfig(), images, seed=2, iteration=8)
    assert not torch.equal(inputs, other)


def test_channels_are_spoiled_alike():
    images = scan().repeat(1, 2, 1, 1, 1)
    inputs, targets = pair(GenesisConfig(), images, iteration=1)
    assert inputs.shape == images.shape
    assert torch.equal(inputs[:, 0], inputs[:, 1])
    assert torch.equal(targets[:, 0], targets[:, 1])


def test_single_voxels_and_half_precision_go_through():
    inputs, targets = pair(GenesisConfig(), torch.zeros(1, 1, 1, 1, 1, dtype=torch.float16))
    assert inputs.dtype == targets.dtype == torch.float32
    assert targets.item() == 0.5


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_device_gives_the_same_numbers():
    images = scan(4, (24, 32, 40))
    here = pair(GenesisConfig(), images)
    there = pair(GenesisConfig(), images.cuda())
    for ours, theirs in zip(here, there, strict=True):
        torch.testing.assert_close(theirs.cpu(), ours, atol=1e-3, rtol=1e-4)
