"""What only a GPU can show: streams, graphs, the compiled kernel, memory. Skipped without one."""

import copy
import gc

import numpy as np
import pytest
import torch

from flare_infer.device import decide_torch, engine
from flare_infer.device.look import recorded
from flare_infer.device.place import Place
from flare_infer.device.storage import stored_net
from flare_infer.predictor import Predictor
from flare_infer.windows import WindowPlan
from flare_nets.build import build_net
from flare_nets.presets import preset

from .device_cases import description, device_labels, host_logits, preparation_of
from .test_device_decide import HIGH, decided, drawn_box, placed
from .test_device_storage import device_member, loaded_net, window_of
from .test_upsample import HEADS, SOFTMAX, drawn, operators_for

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"),
]


def scan_of(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(1, *shape)).astype(np.float32)


def margins(logits, spec, preparation):
    """How far each voxel's largest logit leads the next, in float64."""
    from flare_infer.decide import logit_operators

    whole = logits.astype(np.float64)
    for axis, operator in enumerate(logit_operators(preparation, spec), start=1):
        whole = np.moveaxis(np.tensordot(operator.matrix(), whole, (1, axis)), 0, axis)
    ordered = np.sort(whole, axis=0)
    return ordered[-1] - ordered[-2]


@pytest.mark.parametrize("mirror", [False, True])
def test_labels_are_those_of_the_cpu_where_margins_are_not_small(mirror, record_property):
    windows = WindowPlan(patch=(8, 16, 16), mirror_axes=(0, 1, 2))
    spec, array, large = description(windows, SOFTMAX), scan_of(30, 40, 44), (50, 70, 66)
    net = loaded_net()
    logits = host_logits([copy.deepcopy(net)], array, spec, mirror=mirror)
    labels = {
        device: device_labels(
            [device_member(copy.deepcopy(net), device)], array, spec, large, mirror=mirror
        )
        for device in ("cpu", "cuda")
    }
    differs = labels["cpu"] != labels["cuda"]
    lead = margins(logits, spec, preparation_of((30, 40, 44), large))
    record_property("differing", float(differs.mean()))
    record_property("largest margin", float(lead[differs].max(initial=0)))
    # float16 has 11 bits; a few layers add up.
    assert lead[differs].max(initial=0) < 2**-7 * np.abs(logits).max()


def test_two_runs_are_the_same():
    spec, array = description(WindowPlan(patch=(8, 16, 16)), SOFTMAX), scan_of(40, 40, 44)
    member = device_member(loaded_net(), "cuda")
    first, second = (device_labels([member], array, spec, (60, 70, 66)) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_recorded_net_gives_what_its_kernels_give_one_by_one():
    place = Place.open("cuda")
    module = stored_net(loaded_net(), torch.float16).to(place.device)
    with place.allocating():
        window = torch.zeros((1, 1, 8, 16, 16), dtype=torch.float16, device=place.device)
        window = window.contiguous(memory_format=torch.channels_last_3d)
    run = recorded(place, module, window)
    # A plain call would be named eager.
    assert run.__name__ == "replay"
    for seed in range(3):
        with place.working():
            window.copy_(torch.from_numpy(window_of(8, 16, 16, seed=seed)))
            found, expected = run().clone(), module(window)[0]
        place.wait()
        assert torch.equal(found, expected)
    assert not torch.backends.cudnn.benchmark


@pytest.mark.parametrize("head", (*HEADS, HIGH))
def test_the_compiled_kernel_decides_as_torch_does(head):
    pytest.importorskip("triton")
    from flare_infer.device import decide_triton

    for seed in range(8):
        rng = np.random.default_rng(seed)
        small, large = (tuple(int(n) for n in rng.integers(1, top, 3)) for top in (20, 60))
        logits, box = drawn(seed, small, "smooth", np.float32), drawn_box(rng, small)
        operators = operators_for(small, large, (None, 0, 1, 2)[seed % 4])
        held = placed(logits, box, ahead=(1, 2, 0), device=torch.device("cuda"))
        planes = slice(0, large[0])
        found = decided(decide_triton, held, operators, head, planes)
        expected = decided(None, held, operators, head, planes)
        # A product added in one step or in two.
        assert (found != expected).mean() < 1e-4


def test_everything_but_the_weights_is_given_back_and_memory_does_not_grow_with_a_scan(
    record_property,
):
    entry = preset("swift")
    net = build_net(entry.config, initialization="he").eval()
    member = device_member(net, "cuda")
    classes = entry.config.out_channels
    head = type(SOFTMAX)(labels=tuple(range(classes)), rivals=tuple(range(classes)))
    spec = description(WindowPlan(patch=entry.patch), head)
    peaks, left = [], []
    for planes in (64, 192):
        torch.cuda.reset_peak_memory_stats()
        device_labels([member], scan_of(planes, 200, 260), spec, (planes, 300, 400))
        gc.collect()
        peaks.append(torch.cuda.max_memory_reserved() / 2**20)
        left.append(torch.cuda.memory_reserved() / 2**20)
    record_property("peak MiB", peaks)
    record_property("left MiB", left)
    assert peaks[1] <= 1.05 * peaks[0] < 1500
    assert left[1] <= left[0] < 64


def test_without_triton_torch_decides_the_same(monkeypatch):
    pytest.importorskip("triton")
    spec, array = description(WindowPlan(patch=(8, 16, 16)), SOFTMAX), scan_of(20, 30, 34)
    member = device_member(loaded_net(), "cuda")
    by_kernel = device_labels([member], array, spec, (30, 60, 50))
    calls = []

    def decide(*arguments):
        calls.append(1)
        return decide_torch.decide_planes(*arguments)

    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    monkeypatch.setattr(engine, "decide_planes", decide)
    by_torch = device_labels([member], array, spec, (30, 60, 50))
    assert calls
    assert (by_kernel != by_torch).mean() < 1e-4


def test_a_predictor_loads_without_a_context_and_agrees_with_the_cpu(model_folder, ct):
    held = torch.cuda.memory_allocated()
    predictor = Predictor.load(model_folder, device="cuda", mode="fast")
    assert torch.cuda.memory_allocated() == held
    expected = Predictor.load(model_folder, device="cpu", backend="torch", mode="fast").predict(ct)
    seconds = {}
    found = predictor.predict(ct, timings=seconds)
    assert (found.array == expected.array).mean() > 0.99
    assert {"prepare", "network", "decide"} <= set(seconds)
