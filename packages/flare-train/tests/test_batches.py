import numpy as np
import pytest
import torch

from flare_train.batches import build_batch, channel_of_label, iterate_batches
from flare_train.config import SamplingConfig


def test_targets_are_channels_and_images_are_padded_with_zero(cases, make_config):
    config = make_config(patch=(16, 24, 24))
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


def test_forced_sample_shows_an_annotated_class(make_case, make_config):
    config = make_config(sampling=SamplingConfig(foreground_share=1.0))
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
