from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch

from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.initialize import initialize
from flare_nets.presets import preset


def test_he_has_the_variance_of_leaky_relu() -> None:
    net = build_net(preset("s3").config)
    weights = net.state_dict()
    # std = sqrt(2 / ((1 + 0.01^2) fan)); fan = in x 27, and for a transposed one out x 8 (its
    # weight is stored the other way round).
    for name, fan in (("encoder.4.1.conv.weight", 256 * 27), ("up.3.weight", 128 * 8)):
        expected = math.sqrt(2 / (1.0001 * fan))
        assert float(weights[name].std()) == pytest.approx(expected, rel=0.01)
        assert abs(float(weights[name].mean())) < 0.01 * expected
    biases = [tensor for name, tensor in weights.items() if name.endswith("bias")]
    assert all(not bias.any() for bias in biases)


def test_residual_blocks_begin_as_their_shortcut(config: NetConfig) -> None:
    net = build_net(replace(config, architecture="residual"))
    for name, tensor in net.state_dict().items():
        if ".second.norm." in name:
            assert not tensor.any()
        elif name.endswith("norm.weight"):
            assert torch.equal(tensor, torch.ones_like(tensor))


def test_none_leaves_what_torch_drew(config: NetConfig) -> None:
    torch.manual_seed(5)
    net = build_net(config, initialization="none")
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    initialize(net, scheme="none")
    assert all(torch.equal(before[name], tensor) for name, tensor in net.state_dict().items())
    assert before["encoder.0.0.conv.bias"].any()


def test_a_generator_decides_alone(config: NetConfig) -> None:
    nets = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        nets.append(build_net(config, generator=torch.Generator().manual_seed(7)))
    first, second = (net.state_dict() for net in nets)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_an_unknown_scheme_is_refused(config: NetConfig) -> None:
    with pytest.raises(ValueError, match="scheme must be one of he, none, found 'xavier'"):
        build_net(config, initialization="xavier")  # type: ignore[arg-type]
