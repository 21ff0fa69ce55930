from dataclasses import replace

import numpy as np
import pytest

from flare_infer import forecast
from flare_infer.backends.choice import Choice
from flare_infer.fast import FastSettings
from flare_infer.forecast import HowRun, admit_case, forecast_case, with_seconds
from flare_infer.model import Model, Overlay
from flare_io.geometry import Geometry
from flare_io.volume import Volume

from .fast_scans import SPACING_MM, VoxelNet

TORCH = Choice(device="cpu", backend="torch")
OPENVINO = Choice(device="cpu", backend="openvino", precision="float32")
FIELDS = {"folder": None, "members": 1, "parameters": 1000, "weights_sha256": ""}


@pytest.fixture
def model(spec):
    """A model of 3 MACs a window with an overlay of 5."""
    above = Model(spec=replace(spec, name="above"), macs=5, **FIELDS)
    overlay = Overlay(name="tumor", labels=(14,), sha256="", model=above)
    return Model(spec=spec, macs=3, overlays=(overlay,), **FIELDS)


def plan_of(model, mode, fast, **options):
    how = HowRun(choice=TORCH, mode=mode, fast=fast)
    return forecast_case(model, (24, 16, 16), spacing_mm=SPACING_MM, how=how, **options)


@pytest.mark.parametrize(("mode", "windows"), [("exact", 5), ("fast", 3), (None, 3)])
def test_every_layer_is_planned_as_it_is_run(model, mode, windows):
    # Windows of 8 planes over 24: steps of 4 planes in exact mode, of 8 by the shortcut; the
    # model's default is fast.
    plan = plan_of(model, mode, FastSettings(step=1.0))
    assert plan.windows == 2 * windows
    assert plan.macs == windows * 3 + windows * 5
    assert plan.seconds is None


def test_a_draft_holds_labels_on_two_grids(model):
    hows = [
        HowRun(choice=TORCH, fast=FastSettings(draft=draft), mode="fast") for draft in (False, True)
    ]
    peaks = [
        forecast_case(model, (128, 256, 256), spacing_mm=SPACING_MM, how=how).peak_mib
        for how in hows
    ]
    # 128 x 256 x 256 labels of one byte are 8 MiB, held twice.
    assert peaks[1] - peaks[0] == 16


def test_seconds_are_those_of_one_window_of_each_layer_times_the_work(model, monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(forecast.time, "perf_counter", lambda: next(clock))
    low, high, idle = VoxelNet(), VoxelNet(), VoxelNet()
    plan = plan_of(model, "exact", FastSettings())
    found = with_seconds(plan, model, ((low, idle), (high,)), (24, 16, 16))
    # Two seconds for 3 + 5 MACs; the plan has 40, and 6144 voxels of 40 ns each.
    assert found.seconds == pytest.approx(2.0 * 40 / 8 + 6144 * 4e-8)
    assert replace(found, seconds=None) == plan
    assert [each.shape for each in low.windows + high.windows] == [(1, 1, 8, 16, 16)] * 2
    assert idle.windows == []


def volume(array):
    return Volume(array, Geometry(SPACING_MM))


@pytest.mark.parametrize(
    ("choice", "mode"), [(TORCH, "exact"), (TORCH, "fast"), (OPENVINO, "fast")]
)
def test_a_case_is_admitted_by_its_budget(model, choice, mode):
    how = HowRun(choice=choice, fast=FastSettings(), mode=mode)
    hu = volume(np.zeros((24, 16, 16), np.int16))
    assert admit_case(model, [hu], how=how) is False
    plan = forecast_case(model, (24, 16, 16), spacing_mm=SPACING_MM, how=how)
    needed = plan.peak_mib
    assert plan.parts_mib["runtime"] == (230 if choice is TORCH else 110)
    assert admit_case(model, [hu], how=how, budget_mib=needed) is False
    with pytest.raises(MemoryError, match=f"memory_mib is 9, this case needs about {needed} MiB"):
        admit_case(model, [hu], how=how, budget_mib=9)


def test_a_case_is_admitted_by_its_voxels(model):
    how = HowRun(choice=TORCH, fast=FastSettings(), mode="exact")
    hu = np.zeros((24, 16, 16), np.int16)
    nan = hu.astype(np.float32)
    nan[1, 2, 3:5] = np.nan
    with pytest.raises(ValueError, match="channel 1 holds 2 voxels that are not finite"):
        admit_case(model, [volume(hu), volume(nan)], how=how)
    with pytest.raises(ValueError, match="must hold numbers, got bool"):
        admit_case(model, [volume(hu > 0)], how=how)
