"""A running average of the weights, which is often the better net."""

from __future__ import annotations

import copy

import torch

from flare_nets.unet import UNet

__all__ = ["average_of", "update_average"]


def average_of(net: UNet) -> UNet:
    """Return a copy of a net that starts an average; it takes no gradient."""
    average = copy.deepcopy(net)
    average.requires_grad_(False)
    return average.eval()


@torch.no_grad()
def update_average(average: UNet, net: UNet, *, decay: float, updates: int) -> None:
    """Move the average towards the net.

    Parameters
    ----------
    average : UNet
        Changed in place: ``d * average + (1 - d) * net``.
    net : UNet
        After its update.
    decay : float
        In [0, 1).
    updates : int
        Updates made before this one. d is ``min(decay, (1 + updates) / (10 + updates))``, so that
        a young average forgets the weights it began with.

    References
    ----------
    The rule of TensorFlow's `ExponentialMovingAverage` with ``num_updates``.

    Examples
    --------
    >>> from flare_nets.build import build_net
    >>> from flare_nets.config import NetConfig
    >>> config = NetConfig(
    ...     architecture="plain",
    ...     in_channels=1,
    ...     out_channels=2,
    ...     features=(2, 2),
    ...     kernels=((1, 1, 1),) * 2,
    ...     strides=((1, 1, 1), (2, 2, 2)),
    ...     convs=(1, 1),
    ...     decoder_convs=(1,),
    ... )
    >>> net = build_net(config)
    >>> average = average_of(net)
    >>> _ = net.heads[0].bias.data.fill_(1.0)
    >>> update_average(average, net, decay=0.999, updates=0)  # d = 1/10
    >>> average.heads[0].bias
    Parameter containing:
    tensor([0.9000, 0.9000])
    """
    share = min(decay, (1 + updates) / (10 + updates))
    torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - share)
