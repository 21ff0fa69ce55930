"""What both U-Nets share: skips from an encoder, the decoder, the heads.

Names in the state dict, every tensor once, s = 0 the finest resolution:
``encoder.{s}.{c}.conv|norm`` (residual: ``stem.conv|norm`` and
``encoder.{s}.{b}.first|second|skip.conv|norm``), ``up.{s}`` (into resolution s),
``decoder.{s}.{c}.conv|norm``, ``heads.{s}``.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from flare_nets.blocks import conv_stack
from flare_nets.config import NetConfig

__all__ = ["UNet"]


class UNet(nn.Module, ABC):
    """A U-Net: ``net(x)`` gives the logits, ``net.forward_all(x)`` those of every head.

    Parameters
    ----------
    config : NetConfig
        What to build.

    Notes
    -----
    Encoder stage s shrinks what stage s - 1 gave by ``strides[s]``; decoder stage s joins the
    transposed convolution of stage s + 1 (kernel = stride) with the encoder's stage s. Ronneberger
    et al., U-Net, 2015; topology as in nnU-Net (Isensee et al., 2021).
    """

    def __init__(self, config: NetConfig) -> None:
        super().__init__()
        self.config = config
        features, strides = config.features, config.strides
        self.encoder = nn.ModuleList(self._encoder_stage(s) for s in range(config.stages))
        self.up = nn.ModuleList(
            nn.ConvTranspose3d(
                features[s + 1], features[s], strides[s + 1], strides[s + 1], bias=config.up_bias
            )
            for s in range(config.stages - 1)
        )
        self.decoder = nn.ModuleList(
            conv_stack(
                (2 * features[s], features[s]),
                config.decoder_kernel_sizes[s],
                count=config.decoder_convs[s],
                stride=(1, 1, 1),
                norm=config.norm,
                bias=config.conv_bias,
            )
            for s in range(config.stages - 1)
        )
        self.heads = nn.ModuleList(
            nn.Conv3d(features[s], config.out_channels, 1, bias=config.head_bias)
            for s in range(config.heads)
        )

    @abstractmethod
    def _encoder_stage(self, stage: int) -> nn.Module:
        """Return the modules of one encoder stage."""

    def _enter(self, x: Tensor) -> Tensor:
        """Return what the first encoder stage takes."""
        return x

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits on the grid of the input.

        Parameters
        ----------
        x : (b, in_channels, z, y, x) float tensor
            Every spatial axis a multiple of ``config.total_stride``. Not modified.

        Returns
        -------
        (b, out_channels, z, y, x) float tensor

        Raises
        ------
        ValueError
            If the shape does not fit; the message names the nearest valid sizes.
        """
        logits: Tensor = self.heads[0](self._decode(x)[0])
        return logits

    def forward_all(self, x: Tensor) -> list[Tensor]:
        """Return the logits of every head, finest first, for deep supervision.

        Entry s has the grid of the input divided by the strides up to stage s; without
        ``config.deep_supervision`` there is one entry.
        """
        levels = self._decode(x, keep=len(self.heads))
        return [head(level) for head, level in zip(self.heads, levels, strict=True)]

    def _decode(self, x: Tensor, *, keep: int = 1) -> list[Tensor]:
        """Return the ``keep`` finest levels of the decoder, finest first."""
        # While a graph is recorded, sizes are symbols (export) or tensors (trace).
        if not torch.compiler.is_compiling() and all(type(size) is int for size in x.shape):
            self._check_input(x)
        skips = []
        x = self._enter(x)
        for stage in self.encoder:
            x = stage(x)
            skips.append(x)
        skips.pop()
        levels: list[Tensor] = []
        for s in reversed(range(len(self.up))):
            # Every tensor is let go with its last use. The join is the largest of all; calling the
            # stage as one module would hold it to the end of the stage.
            x = self.up[s](x)
            x = torch.cat((x, skips.pop()), dim=1)
            for block in self.decoder[s].children():
                x = block(x)
            if s < keep:
                levels.insert(0, x)
        return levels

    def _check_input(self, x: Tensor) -> None:
        if x.ndim != 5 or x.shape[1] != self.config.in_channels:
            raise ValueError(
                f"x must have shape (b, {self.config.in_channels}, z, y, x), found {tuple(x.shape)}"
            )
        self.config.check_patch(x.shape[2:])
