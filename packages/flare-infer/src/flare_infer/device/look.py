"""One window after the other through the members of a model, recorded once and replayed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor, nn

from flare_infer.device.place import Place
from flare_infer.device.storage import storage_of
from flare_infer.windows import Shape

__all__ = ["RECORDING", "WindowLook", "recorded"]

logger = logging.getLogger(__name__)

RECORDING = threading.Lock()
"""Held while a graph is recorded: a process can record but one at a time."""

Run = Callable[[], Tensor]


class WindowLook:
    """The members of a model with one input for all of them.

    Parameters
    ----------
    place : Place
    modules : sequence of Module
        On the device of the place.
    channels : int
    classes : int
    patch : (3,) int
    axes : sequence of int
        Mirror axes (0 = z) over whose combinations is averaged; none: the window alone.

    Attributes
    ----------
    input : (1, channels, z, y, x) tensor
        To be filled before each look, which may change it.
    """

    def __init__(
        self,
        place: Place,
        modules: Sequence[nn.Module],
        *,
        channels: int,
        classes: int,
        patch: Shape,
        axes: Sequence[int],
    ) -> None:
        dims = [axis + 2 for axis in axes]
        flips = [chosen for size in range(len(dims)) for chosen in combinations(dims, size + 1)]
        self._flips: list[tuple[int, ...]] = [(), *flips]
        self._looks = len(modules) * len(self._flips)
        storage = storage_of(modules[0])
        with place.allocating():
            innermost = torch.zeros((1, *patch, channels), dtype=storage, device=place.device)
            # Of one channel both orders are the same: only strides tell the first layer which to
            # take.
            self.input = innermost.permute(0, 4, 1, 2, 3)
            # Of a single look the net's own output is the mean.
            summed = classes if self._looks > 1 else 0
            self._total = torch.empty((summed, *patch), device=place.device)
        self._runs = [recorded(place, module, self.input) for module in modules]

    def mean(self) -> Tensor:
        """Return the mean logits (classes, z, y, x) of members and mirror images.

        Valid until the next call; of a single look in the storage type, else float32.
        """
        if self._looks == 1:
            return self._runs[0]()
        self._total.zero_()
        before: tuple[int, ...] = ()
        for flip in self._flips:
            # From the last image to this one: what is flipped twice is as it was.
            change = sorted(set(flip) ^ set(before))
            if change:
                self.input.copy_(torch.flip(self.input, change))
            before = flip
            for run in self._runs:
                logits = run()
                self._total += torch.flip(logits, [dim - 1 for dim in flip]) if flip else logits
        return self._total.div_(self._looks)


def recorded(place: Place, module: nn.Module, window: Tensor) -> Run:
    """Return a call of a net on whatever a tensor holds by then.

    Parameters
    ----------
    place : Place
    module : Module
    window : (1, c, z, y, x) tensor
        The input of all calls.

    Returns
    -------
    callable
        Gives the logits (classes, z, y, x), which the next call overwrites. On a GPU all kernels of
        the net are one launch, recorded here; where recording fails, and on the CPU, they are
        launched one by one.

    Notes
    -----
    ``torch.backends.cudnn.benchmark`` is left off: trying out algorithms costs seconds and the
    memory of the largest, once for each layer of a cold start.
    """

    def eager() -> Tensor:
        logits: Tensor = module(window)[0]
        return logits

    if not place.is_cuda:
        return eager
    # The first call loads kernels and makes plans, which is not allowed while a graph is recorded.
    # On the same stream and from the same pool, so that the graph takes the memory that it leaves.
    with place.allocating():
        eager()
    place.wait()
    try:
        with RECORDING, place.working():
            graph = torch.cuda.CUDAGraph()
            # Other threads go on meanwhile.
            mode = "thread_local"
            with torch.cuda.graph(
                graph, pool=place.pool.id, stream=place.compute, capture_error_mode=mode
            ):
                logits = eager()
    except RuntimeError as error:
        logger.warning("no CUDA graph, kernels are launched one by one: %s", error)
        return eager

    def replay() -> Tensor:
        graph.replay()
        return logits

    return replay
