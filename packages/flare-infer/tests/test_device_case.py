"""Cases from volumes to labels with the engine for a device, run on the CPU."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from flare_infer.backends import torch as torch_backend
from flare_infer.case import CaseSettings, Layer, segment_case
from flare_infer.components import Components
from flare_infer.device import segment
from flare_infer.device.member import DeviceMember
from flare_infer.fast import SAME_WINDOWS, FastSettings
from flare_infer.model import read_model
from flare_infer.stopwatch import Stopwatch

from .fast_scans import LIVER_HU, block, scan
from .test_device_storage import device_member, loaded_net


def labels_of(volume, spec, nets, **settings):
    seconds, slabs = {}, []
    how = CaseSettings(
        **{"watch": Stopwatch(seconds), "fast": SAME_WINDOWS, "mode": "fast", **settings}
    )
    labels = segment_case(
        [volume],
        [Layer(spec, nets, None)],
        how,
        on_slab=lambda place, slab: slabs.append((place, slab.copy())),
    )
    return labels, slabs, seconds


@pytest.fixture
def host_nets(model_folder):
    return torch_backend.load(read_model(model_folder), device="cpu", mode="fast")


@pytest.fixture
def members():
    return (device_member(loaded_net(), "cpu"),)


@pytest.mark.parametrize("mirror", [False, True])
def test_labels_are_those_of_the_host(ct, spec, host_nets, members, mirror):
    expected, _, _ = labels_of(ct, spec, host_nets, mirror=mirror)
    found, slabs, seconds = labels_of(ct, spec, members, mirror=mirror)
    assert found.array.dtype == expected.array.dtype
    assert found.geometry == expected.geometry
    assert len(np.unique(found.array)) > 2
    # Two ways to add in float32 decide alike but for near ties.
    assert (found.array == expected.array).mean() > 0.999
    assert np.array_equal(np.concatenate([slab for _, slab in slabs]), found.array)
    assert len(slabs) > 1
    assert set(seconds) == {"prepare", "search", "network", "decide", "restore"}


def test_windows_lie_where_the_body_is_as_on_the_host(spec, host_nets, members):
    volume = scan(
        (20, 60, 60),
        body=block((4, 16), (30, 60), (0, 28)),
        organs=[(block((6, 12), (40, 50), (5, 20)), LIVER_HU)],
    )
    counts = []
    for fast in (FastSettings(), FastSettings(coarse=2.0), SAME_WINDOWS):
        windows = {"host": 0, "device": 0}
        labels = {}
        for name, nets in (("host", host_nets), ("device", members)):

            def count(name=name, windows=windows):
                windows[name] += 1

            labels[name], _, _ = labels_of(volume, spec, nets, fast=fast, on_window=count)
        assert windows["host"] == windows["device"]
        counts.append(windows["device"])
        assert (labels["host"].array == labels["device"].array).mean() > 0.999
    assert counts[0] < counts[2]


@pytest.mark.parametrize(
    "change",
    [
        {"order": "decide-resample"},
        {"components": Components()},
    ],
)
def test_what_needs_whole_label_maps_takes_the_way_over_the_host(
    ct, spec, host_nets, members, change, monkeypatch
):
    monkeypatch.setattr(segment, "device_slabs", None)
    other = replace(spec, **change)
    expected, _, _ = labels_of(ct, other, host_nets)
    found, _, _ = labels_of(ct, other, members)
    assert (found.array == expected.array).mean() > 0.999


def test_on_a_gpu_weights_wait_on_the_host_in_fast_mode(model_folder):
    # As no GPU is touched, none is needed.
    (member,) = torch_backend.load(read_model(model_folder), device="cuda", mode="fast")
    assert isinstance(member, DeviceMember)
    assert (member.device.type, member._module) == ("cuda", None)


def test_a_case_is_described_without_torch():
    code = "import flare_infer.case, flare_infer.device.rows, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
