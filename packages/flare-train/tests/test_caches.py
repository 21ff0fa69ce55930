import dataclasses

import numpy as np
import pytest
import torch

import flare_train.caches as caches
from flare_train.batches import build_batch
from flare_train.caches import cached_on_device, held_in_memory, kept_bytes, open_cases
from flare_train.config import LossConfig
from flare_train.errors import TrainingDataError
from flare_train.store import read_stored_case, write_stored_case


@pytest.fixture
def stored(tmp_path, make_case):
    """Return four cases that lie in mapped files, the first one with origins."""
    for index in range(4):
        case = make_case(index)
        origins = (case.labels == 14).astype(np.uint8) if index == 0 else None
        write_stored_case(tmp_path, dataclasses.replace(case, origins=origins))
    return [read_stored_case(tmp_path, f"case_{index}", in_memory=False) for index in range(4)]


def equal(one, other):
    return all(
        torch.equal(getattr(one, name), getattr(other, name))
        for name in ("images", "targets", "annotated", "origins")
        if getattr(one, name) is not None
    )


def test_bytes_are_those_of_the_arrays(stored):
    voxels = 10 * 16 * 14
    assert [kept_bytes(case) for case in stored] == [4 * voxels, *[3 * voxels] * 3]


@pytest.mark.parametrize(
    "keep",
    [held_in_memory, lambda cases: cached_on_device(cases, "cpu")],
    ids=["memory", "device"],
)
def test_batches_are_the_same(stored, make_config, keep):
    config = make_config(batch=4, loss=LossConfig(origin_weights={"ground_truth": 2.0}))
    kept = keep(stored)
    knows = 0
    for iteration in range(6):
        expected, found = (build_batch(cases, config, iteration) for cases in (stored, kept))
        assert equal(expected, found)
        knows += expected.origins is not None
    assert knows
    assert kept[0].shape == stored[0].shape


@pytest.mark.parametrize("share", [0, 1, 2, 4])
def test_as_many_as_fit_are_kept(stored, share):
    room = sum(kept_bytes(case) for case in stored[:share])
    held = held_in_memory(stored, memory_bytes=room)
    assert [isinstance(case.image, np.ndarray) for case in held] == [True] * share + [False] * (
        4 - share
    )
    moved = cached_on_device(stored, "cpu", memory_bytes=room)
    assert [isinstance(case.image, torch.Tensor) for case in moved] == [True] * share + [False] * (
        4 - share
    )
    assert all(case is given for case, given in zip(held[share:], stored[share:], strict=True))


def test_mixed_places_give_the_same_batches(stored, make_config):
    config = make_config(batch=4)
    mixed = cached_on_device(stored, "cpu", memory_bytes=2 * kept_bytes(stored[0]))
    for iteration in range(4):
        assert equal(build_batch(stored, config, iteration), build_batch(mixed, config, iteration))


def test_default_room_is_most_of_the_free_memory(stored, monkeypatch):
    monkeypatch.setattr(caches, "available_bytes", lambda: 2 * kept_bytes(stored[0]))
    held = held_in_memory(stored)
    assert [isinstance(case.image, np.ndarray) for case in held] == [True, False, False, False]
    monkeypatch.setattr(caches, "available_bytes", lambda: None)
    assert all(isinstance(case.image, np.ndarray) for case in held_in_memory(stored))


def test_opened_cases_are_held_where_there_is_room(stored, tmp_path, monkeypatch):
    ids = ["case_2", "case_0"]
    opened = open_cases(tmp_path, ids)
    assert [case.id for case in opened] == ids
    assert all(isinstance(case.image, np.ndarray) for case in opened)
    np.testing.assert_array_equal(opened[1].origins, stored[0].origins[:])
    monkeypatch.setattr(caches, "available_bytes", lambda: 0)
    assert not any(isinstance(case.image, np.ndarray) for case in open_cases(tmp_path, ids))
    with pytest.raises(TrainingDataError, match="no whole case of this name"):
        open_cases(tmp_path, ["case_9"])


def test_what_is_held_already_stays(stored):
    on_device = cached_on_device(stored, "cpu", memory_bytes=kept_bytes(stored[0]))
    held = held_in_memory(on_device, memory_bytes=kept_bytes(stored[1]))
    kinds = [type(case.image).__name__ for case in held]
    assert kinds == ["Tensor", "ndarray", "NDArray", "NDArray"]


@pytest.mark.gpu
def test_batches_are_cut_on_the_gpu(stored, make_config):
    config = make_config(batch=4)
    kept = cached_on_device(stored, "cuda")
    for iteration in range(4):
        found = build_batch(kept, config, iteration)
        expected = build_batch(stored, config, iteration)
        assert found.images.device.type == "cuda"
        assert torch.equal(found.images.cpu(), expected.images)
        assert torch.equal(found.targets.cpu(), expected.targets)
