"""What a net costs for one patch, counted without weights or arithmetic (torch's meta device).

A multiply-accumulate (MAC) is one weight times one number added to a sum, so that 1 MAC = 2 FLOP.
Counted are convolutions, transposed convolutions and heads at their true sizes, padding included;
biases, normalization, activations and pooling (below 1 % together) are not.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias, get_args

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from flare_nets.build import build_net
from flare_nets.config import NetConfig, Size
from flare_nets.unet import UNet

__all__ = ["Cost", "LayerCost", "Precision", "count_cost"]

Precision: TypeAlias = Literal["float32", "float16", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class LayerCost:
    """One convolution: its name in the net, its output (channels, z, y, x), weights and MACs."""

    name: str
    shape: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one forward pass costs.

    Attributes
    ----------
    patch : (3,) int
        Size (z, y, x) of the input; one image.
    parameters : int
        Weights of the net, all heads included.
    macs : int
        Sum over ``layers``.
    layers : tuple of LayerCost
        In the order in which they run.
    activation_bytes : int
        Everything the pass allocates, freed or not: about what training keeps for its gradients.
    peak_bytes : int
        Most that is alive at one time without gradients: input, activations, logits. Weights and
        the work space of convolution libraries come on top.
    """

    patch: Size
    parameters: int
    macs: int
    layers: tuple[LayerCost, ...]
    activation_bytes: int
    peak_bytes: int

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict ready for JSON."""
        return asdict(self)


def count_cost(
    config: NetConfig,
    patch: Sequence[int],
    *,
    precision: Precision = "float32",
    all_heads: bool = False,
) -> Cost:
    """Count weights, multiply-accumulates and activation memory of one forward pass.

    Parameters
    ----------
    config : NetConfig
        The net; any size, nothing is allocated.
    patch : (3,) int
        Size (z, y, x) in voxels, a multiple of the total stride.
    precision : {"float32", "float16", "bfloat16"}
        Type of weights and activations; changes the bytes only.
    all_heads : bool
        Count ``forward_all`` (training with deep supervision) instead of ``forward``.

    Returns
    -------
    Cost

    Raises
    ------
    ValueError
        If the patch does not fit the net, or the precision is unknown.

    Examples
    --------
    >>> from flare_nets.presets import preset
    >>> cost = count_cost(preset("swift").config, (32, 128, 192))
    >>> round(cost.parameters / 1e6, 3), round(cost.macs / 1e9, 1)
    (3.15, 139.1)
    """
    if precision not in get_args(Precision):
        names = ", ".join(get_args(Precision))
        raise ValueError(f"precision must be one of {names}, found {precision!r}")
    size = config.check_patch(patch)
    net = build_net(config, initialization="none", device="meta").eval()
    dtype: torch.dtype = getattr(torch, precision)
    net.to(dtype)
    layers: list[LayerCost] = []
    _watch_layers(net, layers)
    run: Callable[[Tensor], object] = net.forward_all if all_heads else net.forward
    with torch.no_grad(), _MemoryMeter() as meter:
        x = torch.empty((1, config.in_channels, *size), dtype=dtype, device="meta")
        outputs = run(x)
    del outputs
    return Cost(
        patch=size,
        parameters=sum(parameter.numel() for parameter in net.parameters()),
        macs=sum(layer.macs for layer in layers),
        layers=tuple(layers),
        activation_bytes=meter.allocated_bytes - x.nbytes,
        peak_bytes=meter.peak_bytes,
    )


def _watch_layers(net: UNet, layers: list[LayerCost]) -> None:
    """Append the cost of every convolution to ``layers`` when it runs."""

    def watch(name: str, module: nn.Conv3d | nn.ConvTranspose3d) -> None:
        def record(_: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
            # A convolution gathers all weights at every output voxel; a transposed one scatters
            # them from every input voxel.
            grid = output.shape[2:] if isinstance(module, nn.Conv3d) else inputs[0].shape[2:]
            layers.append(
                LayerCost(
                    name=name,
                    shape=tuple(output.shape[1:]),
                    parameters=sum(parameter.numel() for parameter in module.parameters()),
                    macs=module.weight.numel() * math.prod(grid),
                )
            )

        module.register_forward_hook(record)

    for name, module in net.named_modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            watch(name, module)


class _MemoryMeter(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in torch
    """Follow every new storage from its making to its end, as the eager run would hold it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # untyped in torch
        self.allocated_bytes = 0
        self.peak_bytes = 0
        self._live_bytes = 0
        self._known: weakref.WeakSet[torch.UntypedStorage] = weakref.WeakSet()

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        inputs = [
            _storage(leaf) for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)
        ]
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor) and not any(_storage(leaf) is old for old in inputs):
                self._add(_storage(leaf))
        return result

    def _add(self, storage: torch.UntypedStorage) -> None:
        if storage in self._known:
            return
        self._known.add(storage)
        size = storage.nbytes()
        self.allocated_bytes += size
        self._live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self._live_bytes)
        weakref.finalize(storage, self._free, size)

    def _free(self, size: int) -> None:
        self._live_bytes -= size


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return tensor.untyped_storage()
