"""A net that keeps its weights and activations in half the space."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from flare_infer.device.member import DeviceMember
from flare_nets.blocks import ConvNorm

__all__ = ["device_member", "storage_of", "stored_net"]

# bfloat16 has the range of float32, which nets trained with nnU-Net's float16 do not need, and an
# eighth of float16's resolution: labels would differ eight times as far from ties. CPUs calculate
# in float32, so that the tests compare the engine and not the rounding.
_STORAGE = {"cuda": torch.float16, "cpu": torch.float32}
_LAYOUT = torch.channels_last_3d


def device_member(
    net: nn.Module, device: torch.device | str, *, storage: torch.dtype | None = None
) -> DeviceMember:
    """Return a member of a model whose weights go to a device when they are first needed.

    Parameters
    ----------
    net : Module
        On the host, in evaluation mode; it becomes the member's own.
    device : torch.device or str
    storage : torch.dtype, optional
        Of weights and activations. float16 on a GPU, float32 on the CPU; bfloat16 for a net whose
        activations leave float16's range.
    """
    place = torch.device(device)
    dtype = storage or _STORAGE[place.type]
    return DeviceMember(lambda: stored_net(net, dtype).to(place), _run, place)


def stored_net(net: nn.Module, storage: torch.dtype) -> nn.Module:
    """Make a net store in a type, channels innermost.

    Parameters
    ----------
    net : Module
        In evaluation mode; changed in place.
    storage : torch.dtype
        Of convolutions and all that flows between layers.

    Returns
    -------
    Module
        The same net: the same function of one window, rounded otherwise.

    Notes
    -----
    Norms keep float32 weights, and torch takes their statistics in float32 whatever it reads
    (``acc_type`` of its batch norm, and cuDNN's). torch's instance norm copies its input to the
    default memory order and back. Of a single window, which is what the engine runs, batch norm in
    training mode is the same formula and has kernels for this order.
    """
    for module in net.modules():
        if isinstance(module, ConvNorm) and isinstance(module.norm, nn.InstanceNorm3d):
            module.norm = _WindowNorm(module.norm)  # type: ignore[assignment]  # same call
    for module in net.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            for weight in module.parameters():
                weight.data = weight.data.to(storage)
            module.weight.data = module.weight.data.contiguous(memory_format=_LAYOUT)
    return net.requires_grad_(False)


def storage_of(net: nn.Module) -> torch.dtype:
    """Return the type that a net stores in: that of its first weights."""
    return next(net.parameters()).dtype


class _WindowNorm(nn.Module):
    """Instance norm of a batch of one."""

    def __init__(self, norm: nn.InstanceNorm3d) -> None:
        super().__init__()
        self.weight, self.bias, self.eps = norm.weight, norm.bias, norm.eps

    def forward(self, x: Tensor) -> Tensor:
        if len(x) != 1:
            raise ValueError(f"x must hold one window, got {len(x)}")
        return F.batch_norm(x, None, None, self.weight, self.bias, training=True, eps=self.eps)


def _run(module: nn.Module, windows: NDArray[np.float32]) -> NDArray[Any]:
    weights = next(module.parameters())
    with torch.inference_mode():
        tensor = torch.from_numpy(windows).to(weights.device, weights.dtype)
        logits: NDArray[Any] = module(tensor).float().cpu().numpy()
    return logits
