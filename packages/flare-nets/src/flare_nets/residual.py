"""The residual-encoder U-Net: a stem, then residual blocks; the decoder stays plain."""

from __future__ import annotations

from torch import Tensor, nn

from flare_nets.blocks import ConvNorm, residual_stack
from flare_nets.config import NetConfig
from flare_nets.unet import UNet

__all__ = ["ResidualUNet"]


class ResidualUNet(UNet):
    """nnU-Net's residual-encoder U-Net (``ResidualEncoderUNet``); see ``UNet`` for its outputs."""

    def __init__(self, config: NetConfig) -> None:
        super().__init__(config)
        self.stem = ConvNorm(
            config.in_channels,
            config.features[0],
            config.kernels[0],
            norm=config.norm,
            bias=config.conv_bias,
        )

    def _encoder_stage(self, stage: int) -> nn.Module:
        config = self.config
        return residual_stack(
            (config.features[max(stage - 1, 0)], config.features[stage]),
            config.kernels[stage],
            count=config.convs[stage],
            stride=config.strides[stage],
            norm=config.norm,
            bias=config.conv_bias,
        )

    def _enter(self, x: Tensor) -> Tensor:
        entered: Tensor = self.stem(x)
        return entered
