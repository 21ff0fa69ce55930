import dataclasses

import pytest
import torch
from torch import nn

from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.presets import preset
from flare_train.planning.feature_maps import feature_map_voxels


def counted(net_config, patch):
    """Run the net without memory and add up what its convolutions give; the oracle."""
    net = build_net(net_config, initialization="none", device="meta")
    voxels = []

    def record(module, inputs, output):
        voxels.append(output[0].numel())

    for module in net.modules():
        if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
            module.register_forward_hook(record)
    with torch.no_grad():
        net(torch.empty((1, net_config.in_channels, *patch), device="meta"))
    return sum(voxels)


@pytest.mark.parametrize("name", ["swift", "s2-final", "s3", "flare22-big"])
def test_it_is_what_the_convolutions_of_one_pass_give(name):
    found = preset(name)
    assert feature_map_voxels(found.config, found.patch) == counted(found.config, found.patch)


def test_a_skip_that_pools_alone_counts_as_in_nnunet():
    found = preset("resenc-m")
    # From 320 to 320 features by (1, 2, 2): pooled to 3 x 5 x 10 without a convolution.
    expected = counted(found.config, found.patch) + 320 * 3 * 5 * 10
    assert feature_map_voxels(found.config, found.patch) == expected


def test_a_residual_net_by_hand():
    net = NetConfig(
        architecture="residual",
        in_channels=1,
        out_channels=2,
        features=(4, 8),
        kernels=((3, 3, 3),) * 2,
        strides=((1, 1, 1), (2, 2, 2)),
        convs=(1, 3),
        decoder_convs=(1,),
    )
    # 512 voxels: stem 4, one block 2 x 4, no projection; decoder 4, up 4, head 2.
    # 64 voxels: three blocks 6 x 8, one projection 8.
    assert feature_map_voxels(net, (8, 8, 8)) == 512 * (4 + 8 + 4 + 4 + 2) + 64 * (48 + 8)


def test_other_outputs_count_at_the_finest_head_alone():
    net = preset("swift").config
    more = feature_map_voxels(net, (32, 128, 192), outputs=20)
    assert more - feature_map_voxels(net, (32, 128, 192)) == 5 * 32 * 128 * 192
    flat = dataclasses.replace(net, deep_supervision=False)
    assert feature_map_voxels(flat, (32, 128, 192)) == feature_map_voxels(net, (32, 128, 192))
