"""From a config to a net."""

from __future__ import annotations

import torch

from flare_nets.config import Architecture, NetConfig
from flare_nets.initialize import Scheme, initialize
from flare_nets.plain import PlainUNet
from flare_nets.residual import ResidualUNet
from flare_nets.unet import UNet

__all__ = ["build_net"]

_CLASSES: dict[Architecture, type[UNet]] = {"plain": PlainUNet, "residual": ResidualUNet}


def build_net(
    config: NetConfig,
    *,
    initialization: Scheme = "he",
    device: torch.device | str = "cpu",
    generator: torch.Generator | None = None,
) -> UNet:
    """Build the net that a config describes.

    Parameters
    ----------
    config : NetConfig
        What to build.
    initialization : {"he", "none"}
        Starting weights, see ``initialize``.
    device : torch.device or str
        Where the weights live. ``"meta"`` allocates nothing: the quick way to a net whose weights
        come from a file, by ``net.load_state_dict(weights, assign=True)``.
    generator : torch.Generator, optional
        Source of the starting weights; None: torch's global one.

    Returns
    -------
    UNet
        In training mode, like every new torch module.

    Examples
    --------
    >>> from flare_nets.presets import preset
    >>> net = build_net(preset("swift").config, device="meta")
    >>> sum(parameter.numel() for parameter in net.parameters())
    3150144
    """
    with torch.device(device):
        net = _CLASSES[config.architecture](config)
    initialize(net, scheme=initialization, generator=generator)
    return net
