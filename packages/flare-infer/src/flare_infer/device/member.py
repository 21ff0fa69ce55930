"""A member of a model whose weights wait on the host; loads no torch."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from flare_infer.decide import logit_operators
from flare_infer.sliding import Net
from flare_infer.spec import Mode, ModelSpec
from flare_io.preparation import Preparation

if TYPE_CHECKING:
    import torch

__all__ = ["DeviceMember", "stays_on_device"]

# What the kernel interpolates between along each axis.
_MOST_TAPS = 2


class DeviceMember:
    """A net that goes to its device when it is first asked for; threads may share it.

    As a function it is a `flare_infer.sliding.Net`, for what runs window by window from NumPy: the
    coarse pass, layouts other than ``grid``.

    Parameters
    ----------
    settle : callable
        Returns the module on its device; called once.
    run : callable
        From a module and windows (1, c, z, y, x) float32 to logits, a new array.
    device : torch.device or str
    """

    def __init__(
        self,
        settle: Callable[[], torch.nn.Module],
        run: Callable[[torch.nn.Module, NDArray[np.float32]], NDArray[Any]],
        device: torch.device | str,
    ) -> None:
        self.device = device
        self._settle: Callable[[], torch.nn.Module] | None = settle
        self._run = run
        self._module: torch.nn.Module | None = None
        self._lock = threading.Lock()

    @property
    def module(self) -> torch.nn.Module:
        """The net on its device, moved there at the first call."""
        with self._lock:
            if self._module is None:
                assert self._settle is not None, "forgotten only when there is a module"
                self._module = self._settle()
                # What waited on the host is not needed twice.
                self._settle = None
            return self._module

    def __call__(self, windows: NDArray[np.float32]) -> NDArray[Any]:
        """Return the logits (1, classes, z, y, x) of windows (1, c, z, y, x)."""
        return self._run(self.module, windows)


def stays_on_device(
    nets: Sequence[Net], spec: ModelSpec, preparation: Preparation, *, mode: Mode
) -> TypeGuard[Sequence[DeviceMember]]:
    """Return whether a case can be segmented by `flare_infer.device.segment`.

    It can in fast mode with the layout ``grid`` where labels are decided voxel by voxel on the
    finer grid, from logits of order 0 or 1. What needs whole label maps (components, deciding
    before resampling) or whole logits (order 3) takes the way over the host.
    """
    if mode != "fast" or not all(isinstance(net, DeviceMember) for net in nets):
        return False
    voxelwise = spec.order == "resample-decide" and spec.components is None
    if spec.windows.layout != "grid" or not voxelwise:
        return False
    return all(axis.width <= _MOST_TAPS for axis in logit_operators(preparation, spec))
