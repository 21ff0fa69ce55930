"""Arrays of another library give the same numbers, and never come to main memory unasked."""

import sys

import numpy as np
import pytest

from flare_metrics import (
    average_surface_distance,
    confusion_volumes,
    detection_score,
    dice,
    hausdorff,
    jaccard,
    score_case,
    surface_dice,
    volume_difference,
)

from .device_arrays import stand_in

SPACING = (2.5, 0.8, 0.4)


@pytest.fixture
def device(monkeypatch):
    module = stand_in()
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def label_maps(seed, shape=(12, 20, 24)):
    rng = np.random.default_rng(seed)
    blocks = rng.integers(0, 4, tuple(-(-n // 4) for n in shape)) * rng.integers(0, 5, 1)
    reference = np.kron(blocks, np.ones((4,) * len(shape), int))[tuple(map(slice, shape))]
    prediction = np.roll(reference, 1, axis=-1)
    prediction[rng.random(shape) < 0.01] = 14
    return prediction.astype(np.uint8), reference.astype(np.uint8)


def test_the_stand_in_refuses_to_mix_with_main_memory(device):
    array = device.zeros(3)
    with pytest.raises(TypeError, match="implicit"):
        np.asarray(array)
    with pytest.raises(TypeError, match="Unsupported"):
        array + np.ones(3)
    assert float((array + 1).sum()) == 3


@pytest.mark.parametrize("shape", [(12, 20, 24), (20, 24)], ids=str)
@pytest.mark.parametrize("rules", ["sound", "flare22", "flare23", "flare24-task1"])
def test_case_scores_are_the_same(device, shape, rules):
    maps = label_maps(3, shape)
    if rules == "flare24-task1":
        maps = tuple((labels > 1).astype(np.uint8) for labels in maps)
    spacing = SPACING[-len(shape) :]
    here = score_case(*maps, spacing_mm=spacing, protocol=rules, distances=True)
    there = score_case(
        *map(device.asarray, maps), spacing_mm=spacing, protocol=rules, distances=True
    )
    for ours, theirs in zip(here.labels, there.labels, strict=True):
        assert theirs.presence == ours.presence
        for name in ("dsc", "nsd", "hd95_mm", "assd_mm", "prediction_ml", "reference_ml"):
            expected = getattr(ours, name)
            assert getattr(theirs, name) == pytest.approx(expected, rel=1e-9, nan_ok=True)
        assert theirs.detection == ours.detection


@pytest.mark.parametrize(
    "metric",
    [
        lambda a, b: dice(a, b),
        lambda a, b: jaccard(a, b),
        lambda a, b: volume_difference(a, b, spacing_mm=SPACING).relative,
        lambda a, b: confusion_volumes(a, b, spacing_mm=SPACING).precision,
        lambda a, b: detection_score(a, b, spacing_mm=SPACING).f1,
        lambda a, b: surface_dice(a, b, spacing_mm=SPACING, tolerance_mm=0.8),
        lambda a, b: surface_dice(a, b, spacing_mm=SPACING, tolerance_mm=2, tie="strict"),
        lambda a, b: surface_dice(a, b, spacing_mm=SPACING, tolerance_mm=1, edge="ignore"),
        lambda a, b: hausdorff(a, b, spacing_mm=SPACING),
        lambda a, b: hausdorff(a, b, spacing_mm=SPACING, definition="voxel"),
        lambda a, b: average_surface_distance(a, b, spacing_mm=SPACING),
        lambda a, b: average_surface_distance(a, b, spacing_mm=SPACING, definition="voxel-pooled"),
    ],
)
def test_functions_on_masks_are_the_same(device, metric):
    prediction, reference = (labels > 1 for labels in label_maps(5))
    expected = metric(prediction, reference)
    found = metric(device.asarray(prediction), device.asarray(reference))
    assert isinstance(found, float) and found == pytest.approx(expected, rel=1e-9)


def test_a_value_that_zeroes_the_case_is_seen_on_a_device(device):
    maps = [device.asarray(np.array([[[0, 1, value]]], np.uint8)) for value in (2, 1)]
    score = score_case(*maps, spacing_mm=SPACING, protocol="flare24-task1")
    assert (score[1].dsc, score[1].nsd, score[1].presence) == (0, 0, "both")


@pytest.mark.gpu
def test_a_device_gives_the_same_numbers():
    cupy = pytest.importorskip("cupy")
    maps = label_maps(7, (40, 64, 64))
    here = score_case(*maps, spacing_mm=SPACING, distances=True)
    there = score_case(*map(cupy.asarray, maps), spacing_mm=SPACING, distances=True)
    for ours, theirs in zip(here.labels, there.labels, strict=True):
        for name in ("dsc", "nsd", "hd95_mm", "assd_mm"):
            expected = getattr(ours, name)
            assert getattr(theirs, name) == pytest.approx(expected, rel=1e-9, nan_ok=True)
