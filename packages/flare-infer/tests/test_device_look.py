import logging
from contextlib import contextmanager
from itertools import product

import numpy as np
import pytest
import torch

from flare_infer.device.look import WindowLook, recorded
from flare_infer.device.place import Place

from .device_cases import CPU, PlaceNet


def look_of(modules, axes, *, channels=2, classes=3, patch=(4, 5, 6)):
    return WindowLook(
        Place.open(CPU), modules, channels=channels, classes=classes, patch=patch, axes=axes
    )


def test_one_look_is_the_net_itself_and_later_windows_are_seen():
    module = PlaceNet(3)
    look = look_of([module], ())
    assert look.input.is_contiguous(memory_format=torch.channels_last_3d)
    for seed in (0, 1):
        window = torch.from_numpy(np.random.default_rng(seed).normal(size=(1, 2, 4, 5, 6)))
        with torch.inference_mode():
            look.input.copy_(window)
            assert torch.equal(look.mean(), module(window.float())[0])


@pytest.mark.parametrize("axes", [(0,), (1, 2), (0, 1, 2)])
def test_the_mean_is_that_over_members_and_all_their_mirror_images(axes):
    modules = [PlaceNet(3, seed=k) for k in range(2)]
    look = look_of(modules, axes)
    window = torch.from_numpy(np.random.default_rng(2).normal(size=(1, 2, 4, 5, 6))).float()
    expected = np.zeros((3, 4, 5, 6))
    images = list(product(*[(False, True)] * len(axes)))
    for module, chosen in product(modules, images):
        dims = [axis + 2 for axis, flipped in zip(axes, chosen, strict=True) if flipped]
        expected += torch.flip(module(torch.flip(window, dims)), dims)[0].double().numpy()
    expected /= len(modules) * len(images)
    # The second time nothing of the first is left.
    for _ in range(2):
        with torch.inference_mode():
            look.input.copy_(window)
            found = look.mean().numpy()
        np.testing.assert_allclose(found, expected, atol=1e-5)


class Gpu:
    """What a recording needs of CUDA, written down."""

    def __init__(self, monkeypatch, *, fails=False):
        self.events = []
        gpu = self

        class Graph:
            def replay(self):
                gpu.events.append("replay")

        @contextmanager
        def graph(made, *, pool, stream, capture_error_mode):
            gpu.events.append((pool, stream, capture_error_mode))
            yield
            if fails:
                raise RuntimeError("operation not permitted when stream is capturing")

        monkeypatch.setattr(torch.cuda, "CUDAGraph", Graph)
        monkeypatch.setattr(torch.cuda, "graph", graph)
        monkeypatch.setattr(Place, "is_cuda", True)
        monkeypatch.setattr(Place, "allocating", self.entered("allocating"))
        monkeypatch.setattr(Place, "working", self.entered("working"))
        monkeypatch.setattr(Place, "wait", lambda place: self.events.append("wait"))

    def entered(self, name):
        @contextmanager
        def enter(place, stream=None):
            self.events.append(name)
            yield

        return enter


class Pool:
    id = (0, 7)


def test_on_a_gpu_a_net_is_warmed_up_recorded_and_replayed(monkeypatch):
    gpu, module = Gpu(monkeypatch), PlaceNet(2)
    window = torch.ones((1, 1, 2, 2, 2))
    run = recorded(Place(CPU, compute="compute", pool=Pool), module, window)
    # The pool is the graph's own while it is recorded: it must not be entered a second time.
    recording = ((0, 7), "compute", "thread_local")
    assert gpu.events == ["allocating", "wait", "working", recording]
    assert len(module.windows) == 2
    first = run()
    assert run() is first
    assert gpu.events[4:] == ["replay", "replay"]
    assert len(module.windows) == 2


def test_a_net_that_cannot_be_recorded_is_called(monkeypatch, caplog):
    Gpu(monkeypatch, fails=True)
    module, window = PlaceNet(2), torch.ones((1, 1, 2, 2, 2))
    with caplog.at_level(logging.WARNING):
        run = recorded(Place(CPU, compute="compute", pool=Pool), module, window)
    assert "no CUDA graph, kernels are launched one by one: operation not" in caplog.text
    window.fill_(3)
    assert torch.equal(run(), module(window)[0])
