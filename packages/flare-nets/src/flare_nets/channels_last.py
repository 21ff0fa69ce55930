"""A net that keeps its channels next to each other in memory, as CPU convolutions like it."""

from __future__ import annotations

import torch

from flare_nets.blocks import ConvNorm
from flare_nets.unet import UNet

__all__ = ["use_channels_last"]


def use_channels_last(net: UNet) -> UNet:
    """Make a net compute with its channels innermost.

    Parameters
    ----------
    net : UNet
        Changed in place; names and values of its tensors stay as they are.

    Returns
    -------
    UNet
        The same net: the same function, rounded otherwise. Values of a forward pass agree to about
        1e-5 of their size.

    Notes
    -----
    torch's instance norm copies its input to the default memory order and so costs two more passes.
    Group norm with one channel a group is the same formula (Wu & He, Group normalization, 2018,
    section 3.1) and has a kernel for this order, which bfloat16 does without: its gradient there
    is slow (197 of 385 ms of a step). ``benchmarks/memory_order.py`` has the gain.

    Examples
    --------
    >>> from flare_nets import build_net, preset
    >>> net = use_channels_last(build_net(preset("swift").config))
    >>> net.heads[0].weight.is_contiguous(memory_format=torch.channels_last_3d)
    True
    """
    for weight in net.parameters():
        if weight.ndim == 5:
            weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    for module in net.modules():
        if isinstance(module, ConvNorm):
            module.channels_last = True
    return net
