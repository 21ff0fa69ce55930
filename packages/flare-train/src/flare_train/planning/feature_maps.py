"""How many voxels the feature maps of a net hold: nnU-Net's measure of memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flare_nets.config import NetConfig

__all__ = ["feature_map_voxels"]


def feature_map_voxels(net: NetConfig, patch: Sequence[int], *, outputs: int | None = None) -> int:
    """Return the channels x voxels of all convolutions' outputs for one patch.

    Parameters
    ----------
    net : NetConfig
    patch : (3,) int
        A multiple of the net's total stride.
    outputs : int, optional
        Channels of the head instead of the net's own. nnU-Net counts the entries of ``labels`` in
        ``dataset.json`` here, an ignore label included.

    Notes
    -----
    Counted are convolutions, skips of residual blocks that change size or channels, transposed
    convolutions and the finest head; normalization and activation work in place. nnU-Net takes
    5.6e8 of them, at two patches a batch, for 8 GB. Cost: no array is made.

    Examples
    --------
    >>> net = NetConfig(
    ...     architecture="plain",
    ...     in_channels=1,
    ...     out_channels=3,
    ...     features=(4, 8),
    ...     kernels=((3, 3, 3),) * 2,
    ...     strides=((1, 1, 1), (2, 2, 2)),
    ...     convs=(2, 2),
    ...     decoder_convs=(2,),
    ... )
    >>> # 512 voxels: encoder 2 x 4, decoder 2 x 4, up 4, head 3; 64 voxels: 2 x 8
    >>> feature_map_voxels(net, (8, 8, 8)) == 512 * (8 + 8 + 4 + 3) + 64 * 16
    True
    """
    heads = net.out_channels if outputs is None else outputs
    size = tuple(patch)
    total = net.features[0] * math.prod(size) if net.architecture == "residual" else 0
    for stage in range(net.stages):
        before = net.features[max(stage - 1, 0)]
        size = tuple(edge // step for edge, step in zip(size, net.strides[stage], strict=True))
        voxels = math.prod(size)
        maps = net.convs[stage]
        if net.architecture == "residual":
            projected = before != net.features[stage] or net.strides[stage] != (1, 1, 1)
            maps = 2 * maps + int(projected)
        total += maps * net.features[stage] * voxels
        if stage < net.stages - 1:
            total += (net.decoder_convs[stage] + 1) * net.features[stage] * voxels
        if stage == 0:
            total += heads * voxels
    return total
