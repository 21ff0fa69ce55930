import dataclasses

import numpy as np
import pytest
import torch

from flare_fusion.rules import Origin
from flare_train.augment import augment, draw_parameters
from flare_train.batches import build_batch, channel_of_label, iterate_batches, rank_samples
from flare_train.config import AugmentConfig, LossConfig, SamplingConfig


def test_targets_are_channels_and_images_are_padded_with_zero(cases, make_config):
    config = make_config(patch=(16, 24, 24), augment=AugmentConfig())
    batch = build_batch(cases, config, 0)
    assert batch.images.shape == (2, 1, 16, 24, 24)
    assert batch.images.dtype == torch.float32
    assert set(batch.targets.unique().tolist()) <= {0, 1, 2}
    # Cases of (10, 16, 14) lie in the middle: 3, 4 and 5 voxels of padding before them.
    case = {case.id: case for case in cases}[batch.case_ids[0]]
    inside = batch.images[0, 0, 3:13, 4:20, 5:19]
    np.testing.assert_array_equal(inside.numpy(), np.float32(case.image[0]))
    assert batch.images[0].abs().sum() == pytest.approx(inside.abs().sum())


def test_annotated_channels(make_case, make_config):
    batch = build_batch([make_case(0, annotated=(14,))], make_config(), 0)
    assert batch.annotated.tolist() == [[True, False, True]] * 2


def test_patch_is_the_middle_of_what_is_read_where_something_moves(cases, make_config):
    still = make_config(augment=AugmentConfig())
    turning = make_config(augment=AugmentConfig(rotation_p=0.4, rotation_degrees=(40.0, 0.0, 0.0)))
    source = turning.augment.source_patch(still.patch, (3.0, 2.0, 2.0))
    assert source == (8, 16, 12)
    sizes = set()
    for iteration in range(12):
        plain, read = build_batch(cases, still, iteration), build_batch(cases, turning, iteration)
        parameters = draw_parameters(
            turning.augment, seed=0, iteration=iteration, batch=2, patch=still.patch
        )
        size = tuple(read.images.shape[2:])
        sizes.add(size)
        assert size == (source if parameters.spatial.any() else still.patch)
        images, targets = augment(
            read.images, read.targets, parameters, patch=still.patch, spacing_mm=(3.0, 2.0, 2.0)
        )
        for sample in np.flatnonzero(~parameters.spatial):
            assert torch.equal(images[sample], plain.images[sample])
            assert torch.equal(targets[sample], plain.targets[sample])
    assert sizes == {source, still.patch}


@pytest.mark.parametrize("world", [2, 4])
def test_processes_together_see_what_one_would(cases, make_config, world):
    config = make_config(batch=4, augment=AugmentConfig())
    for iteration in range(4):
        whole = build_batch(cases, config, iteration)
        parts = [
            build_batch(cases, config, iteration, rank=rank, world=world) for rank in range(world)
        ]
        assert torch.equal(torch.cat([part.images for part in parts]), whole.images)
        assert torch.equal(torch.cat([part.targets for part in parts]), whole.targets)
        assert torch.equal(torch.cat([part.annotated for part in parts]), whole.annotated)
        assert sum((part.case_ids for part in parts), ()) == whole.case_ids


@pytest.mark.parametrize(
    ("batch", "rank", "world", "message"),
    [
        (4, 0, 3, "multiple of the 3 processes, got 4; set batch to 3 or 6"),
        (1, 0, 2, "multiple of the 2 processes, got 1; set batch to 2 or 2"),
        (4, 2, 2, r"rank must lie in 0\.\.1, got 2"),
    ],
)
def test_uneven_shares_are_refused(batch, rank, world, message):
    with pytest.raises(ValueError, match=message):
        rank_samples(batch, rank=rank, world=world)


def with_unstated(case):
    labels = case.labels.copy()
    labels[:5] = 255
    origins = (labels == 14).astype(np.uint8) * int(Origin.TUMOR)
    return dataclasses.replace(case, labels=labels, origins=origins)


def test_unstated_voxels_stay_255(make_case, make_config):
    config = make_config(patch=(10, 16, 16), augment=AugmentConfig())
    batch = build_batch([with_unstated(make_case(0))], config, 0)
    assert (batch.targets[:, :5, :, 1:15] == 255).all()
    assert batch.targets[:, 5:].max() <= 2
    # The case is 14 wide: one voxel on each side is padding, which is background.
    assert not batch.targets[..., [0, 15]].any()


def test_origins_are_read_where_they_weigh(make_case, make_config):
    weighted = make_config(loss=LossConfig(origin_weights={"tumor": 2.0}), augment=AugmentConfig())
    case = with_unstated(make_case(0))
    batch = build_batch([case], weighted, 0)
    assert torch.equal(batch.origins, (batch.targets == 2).to(torch.uint8) * int(Origin.TUMOR))
    assert build_batch([case], make_config(), 0).origins is None
    assert build_batch([make_case(0)], weighted, 0).origins is None


@pytest.mark.parametrize("classes", [(0, 1, 14), (0, 1, 2, 14)])
def test_targets_follow_the_classes(make_case, make_config, classes):
    net = dataclasses.replace(make_config().net, out_channels=len(classes))
    config = make_config(net=net, classes=classes, patch=(10, 16, 14), augment=AugmentConfig())
    case = make_case(0)
    batch = build_batch([case], config, 0)
    expected = np.searchsorted(classes, case.labels)
    np.testing.assert_array_equal(batch.targets[0], expected)
    # Tensors on a device take another way to the same.
    tensors = dataclasses.replace(
        case, image=torch.from_numpy(case.image), labels=torch.from_numpy(case.labels)
    )
    assert torch.equal(build_batch([tensors], config, 0).targets, batch.targets)


def test_forced_sample_shows_an_annotated_class(make_case, make_config):
    config = make_config(sampling=SamplingConfig(foreground_share=1.0), augment=AugmentConfig())
    only_tumor = [make_case(0, annotated=(14,))]
    for iteration in range(10):
        batch = build_batch(only_tumor, config, iteration)
        assert (batch.targets == 2).flatten(1).any(1).all()


def test_channel_table_is_read_only():
    with pytest.raises(ValueError, match="read-only"):
        channel_of_label((0, 1))[3] = 1


@pytest.mark.parametrize("workers", [1, 3])
def test_workers_change_nothing(cases, workers, make_config):
    config = make_config()

    def build(iteration):
        return build_batch(cases, config, iteration)

    alone = list(iterate_batches(build, 2, 9))
    together = list(iterate_batches(build, 2, 9, workers=workers))
    assert len(alone) == len(together) == 7
    for first, second in zip(alone, together, strict=True):
        assert torch.equal(first.images, second.images)
        assert first.case_ids == second.case_ids


def test_an_error_in_a_worker_comes_out_and_ends_the_threads():
    def build(iteration):
        if iteration == 3:
            raise RuntimeError("broken file")
        return iteration

    batches = iterate_batches(build, 0, 100, workers=2)
    with pytest.raises(RuntimeError, match="broken file"):
        list(batches)


def test_leaving_early_builds_no_more():
    built = []

    def build(iteration):
        built.append(iteration)
        return iteration

    batches = iterate_batches(build, 0, 1000, workers=1)
    assert next(batches) == 0
    batches.close()
    assert len(built) < 10
