"""Starting weights: nnU-Net's He initialization, or what torch gives by itself."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

import torch
from torch import nn

from flare_nets.blocks import NEGATIVE_SLOPE, ResidualBlock
from flare_nets.unet import UNet

__all__ = ["Scheme", "initialize"]

Scheme: TypeAlias = Literal["he", "none"]


@torch.no_grad()
def initialize(
    net: UNet, *, scheme: Scheme = "he", generator: torch.Generator | None = None
) -> None:
    """Set the starting weights of a net in place.

    Parameters
    ----------
    net : UNet
        The net; only its convolutions, and the last normalization of residual blocks, are touched.
    scheme : {"he", "none"}
        ``"he"``: normal with the variance of He et al. (Delving deep into rectifiers, 2015) for
        leaky ReLU of slope 0.01, biases 0, and residual blocks that begin as their shortcut (weight
        and bias of their last normalization 0), as nnU-Net does. ``"none"``: leave what torch drew,
        as FLARE22's small net does.
    generator : torch.Generator, optional
        Source of the numbers; None: torch's global one.

    Raises
    ------
    ValueError
        If the scheme is unknown.
    """
    if scheme not in get_args(Scheme):
        raise ValueError(f"scheme must be one of {', '.join(get_args(Scheme))}, found {scheme!r}")
    if scheme == "none":
        return
    for module in net.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            nn.init.kaiming_normal_(module.weight, a=NEGATIVE_SLOPE, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, ResidualBlock):
            nn.init.zeros_(module.second.norm.weight)
            nn.init.zeros_(module.second.norm.bias)
