"""A net and its weights in the form that nnU-Net v2 builds: the same function, more tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.nn import functional

from flare_nets.build import build_net
from flare_nets.config import NetConfig, Size
from flare_train.nnunet_plans import NEVER_ROW

__all__ = ["nnunet_net", "nnunet_weights"]

# Far below any logit, and far from what float16 cannot hold after nnU-Net's window weights of 10.
_NEVER = -500.0


def nnunet_net(net: NetConfig, *, out_channels: int) -> NetConfig:
    """Return the net that nnU-Net builds to do what a net does.

    nnU-Net v2 has heads on all decoder stages, with bias; one switch for the bias of convolutions
    and transposed convolutions; and one kernel for encoder and decoder at a resolution. So a bias
    that either has, both get, and a kernel is as large as the larger of the two.

    Examples
    --------
    >>> from flare_nets.presets import preset
    >>> swift = preset("swift").config
    >>> grown = nnunet_net(swift, out_channels=15)
    >>> swift.up_bias, grown.up_bias, grown.head_bias, grown.kernels == swift.kernels
    (False, True, True, True)
    """
    deepest = net.kernels[-1:]
    kernels = tuple(
        _larger(encoder, decoder)
        for encoder, decoder in zip(net.kernels[:-1], net.decoder_kernel_sizes, strict=True)
    )
    bias = net.conv_bias or net.up_bias
    return dataclasses.replace(
        net,
        out_channels=out_channels,
        kernels=(*kernels, *deepest),
        decoder_kernels=None,
        conv_bias=bias,
        up_bias=bias,
        head_bias=True,
        deep_supervision=True,
    )


def nnunet_weights(
    weights: Mapping[str, Tensor], target: NetConfig, *, rows: Sequence[int]
) -> dict[str, Tensor]:
    """Return the weights with which nnU-Net's net computes what the net did.

    Parameters
    ----------
    weights : mapping of str to tensor
        State dict of the net; not modified.
    target : NetConfig
        Of `nnunet_net`.
    rows : sequence of int
        For each channel of the target's heads, the channel of the net's own: see
        `flare_train.nnunet_plans.head_rows`.

    Returns
    -------
    dict of str to tensor
        State dict of the target: smaller kernels stand in the middle of larger ones among zeros,
        biases and heads that were not there are 0.

    Raises
    ------
    ValueError
        If a tensor is neither there nor one of those.

    Notes
    -----
    In exact arithmetic the function is the same. A kernel that grew or a new bias may change the
    order of a sum and so its last bit.
    """
    shapes = build_net(target, initialization="none", device="meta").state_dict()
    dtype = next(tensor.dtype for tensor in weights.values() if tensor.is_floating_point())
    result = {}
    for name, wanted in shapes.items():
        found = weights.get(name)
        if name.startswith("heads."):
            blank = torch.zeros(wanted.shape, dtype=dtype)
            result[name] = _head(found, blank, rows, is_bias=name.endswith(".bias"))
        elif found is None and name.endswith(".bias"):
            result[name] = torch.zeros(wanted.shape, dtype=dtype)
        elif found is None:
            raise ValueError(f"weights lack {name}")
        elif found.shape != wanted.shape:
            result[name] = _centered(found, wanted.shape)
        else:
            result[name] = found
    return result


def _head(found: Tensor | None, blank: Tensor, rows: Sequence[int], *, is_bias: bool) -> Tensor:
    """Fill a head's tensor, all 0, with rows in nnU-Net's order."""
    for place, row in enumerate(rows):
        if row >= 0 and found is not None:
            blank[place] = found[row]
        elif row == NEVER_ROW and is_bias:
            blank[place] = _NEVER
    return blank


def _centered(kernel: Tensor, shape: torch.Size) -> Tensor:
    """Return a kernel in the middle of a larger one."""
    margins: list[int] = []
    for small, large in zip(kernel.shape[:1:-1], shape[:1:-1], strict=True):
        margins += [(large - small) // 2] * 2
    return functional.pad(kernel, margins)


def _larger(first: Size, second: Size) -> Size:
    z, y, x = (max(a, b) for a, b in zip(first, second, strict=True))
    return z, y, x
