"""The plain U-Net: every encoder stage is a stack of convolutions."""

from __future__ import annotations

from torch import nn

from flare_nets.blocks import conv_stack
from flare_nets.unet import UNet

__all__ = ["PlainUNet"]


class PlainUNet(UNet):
    """nnU-Net's plain U-Net (``PlainConvUNet``); see ``UNet`` for its outputs."""

    def _encoder_stage(self, stage: int) -> nn.Module:
        config = self.config
        before = config.features[stage - 1] if stage else config.in_channels
        return conv_stack(
            (before, config.features[stage]),
            config.kernels[stage],
            count=config.convs[stage],
            stride=config.strides[stage],
            norm=config.norm,
            bias=config.conv_bias,
        )
