from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.cost import count_cost
from flare_nets.presets import preset


@st.composite
def plain_configs(draw: st.DrawFn) -> NetConfig:
    n = draw(st.integers(2, 5))
    size = st.tuples(*(st.sampled_from([1, 2, 3]),) * 3)
    odd = st.tuples(*(st.sampled_from([1, 3, 5]),) * 3)
    shifted = draw(st.booleans())
    kernels = tuple(draw(st.lists(odd, min_size=n, max_size=n)))
    return NetConfig(
        architecture="plain",
        in_channels=draw(st.integers(1, 3)),
        out_channels=draw(st.integers(1, 5)),
        features=tuple(draw(st.lists(st.integers(1, 9), min_size=n, max_size=n))),
        kernels=kernels,
        strides=((1, 1, 1), *draw(st.lists(size, min_size=n - 1, max_size=n - 1))),
        convs=tuple(draw(st.lists(st.integers(1, 3), min_size=n, max_size=n))),
        decoder_convs=tuple(draw(st.lists(st.integers(1, 3), min_size=n - 1, max_size=n - 1))),
        decoder_kernels=kernels[1:] if shifted else None,
        norm=draw(st.sampled_from(["instance", "batch"])),
        conv_bias=draw(st.booleans()),
        up_bias=draw(st.booleans()),
        head_bias=draw(st.booleans()),
    )


def closed_formula(config: NetConfig) -> int:
    """Count the weights of a plain U-Net as a sum over stages: encoder, decoder, ups, heads."""
    f, n = config.features, config.stages
    per_channel = 3 if config.conv_bias else 2
    total = 0
    for s in range(n):
        k = math.prod(config.kernels[s])
        before = f[s - 1] if s else config.in_channels
        total += before * f[s] * k + (config.convs[s] - 1) * f[s] ** 2 * k
        total += per_channel * f[s] * config.convs[s]
    for s in range(n - 1):
        k = math.prod(config.decoder_kernel_sizes[s])
        c = config.decoder_convs[s]
        total += 2 * f[s] ** 2 * k + (c - 1) * f[s] ** 2 * k + per_channel * c * f[s]
        total += f[s + 1] * f[s] * math.prod(config.strides[s + 1]) + config.up_bias * f[s]
        total += f[s] * config.out_channels + config.head_bias * config.out_channels
    return total


@given(config=plain_configs())
@settings(max_examples=25, deadline=None)
def test_counts_follow_the_closed_formulas(config: NetConfig) -> None:
    patch = tuple(2 * step for step in config.total_stride)
    cost = count_cost(config, patch, all_heads=True)
    assert cost.parameters == closed_formula(config)
    by_name = {layer.name: layer for layer in cost.layers}
    voxels, macs = math.prod(patch), 0
    for s in range(config.stages):
        voxels //= math.prod(config.strides[s])
        for c in range(config.convs[s]):
            weights = build_weights(config, f"encoder.{s}.{c}.conv.weight")
            macs += voxels * weights
            assert by_name[f"encoder.{s}.{c}.conv"].macs == voxels * weights
    rest = [layer for layer in cost.layers if not layer.name.startswith("encoder")]
    assert cost.macs == macs + sum(layer.macs for layer in rest)
    assert len(by_name) == len(cost.layers)


def build_weights(config: NetConfig, name: str) -> int:
    return build_net(config, initialization="none", device="meta").state_dict()[name].numel()


@pytest.mark.parametrize(
    ("name", "gmac"),
    [
        ("swift", 139.1),
        ("s3", 119.8),
        ("s3-flat", 48.0),
        ("s2-tumor", 653.0),
        ("s2-final", 461.0),
        ("fine-big512x3", 1440.2),
    ],
)
def test_macs_match_the_recounted_numbers(name: str, gmac: float) -> None:
    chosen = preset(name)
    cost = count_cost(chosen.config, chosen.patch)
    assert cost.macs / 1e9 == pytest.approx(gmac, abs=0.06)


def two_stages() -> NetConfig:
    return NetConfig(
        architecture="plain",
        in_channels=1,
        out_channels=1,
        features=(4, 2),
        kernels=((3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (2, 2, 2)),
        convs=(1, 1),
        decoder_convs=(2,),
        norm="batch",
    )


def test_layers_worked_out_by_hand() -> None:
    cost = count_cost(two_stages(), (8, 8, 8))
    found = [(layer.name, layer.shape, layer.parameters, layer.macs) for layer in cost.layers]
    assert found == [
        ("encoder.0.0.conv", (4, 8, 8, 8), 27 * 4 + 4, 27 * 4 * 512),
        ("encoder.1.0.conv", (2, 4, 4, 4), 27 * 8 + 2, 27 * 8 * 64),
        # Each of the 64 input voxels spreads to 8 output voxels.
        ("up.0", (4, 8, 8, 8), 8 * 8 + 4, 8 * 8 * 64),
        ("decoder.0.0.conv", (4, 8, 8, 8), 27 * 32 + 4, 27 * 32 * 512),
        ("decoder.0.1.conv", (4, 8, 8, 8), 27 * 16 + 4, 27 * 16 * 512),
        ("heads.0", (1, 8, 8, 8), 4 + 1, 4 * 512),
    ]
    assert cost.to_dict()["layers"][0]["name"] == "encoder.0.0.conv"


def test_memory_worked_out_by_hand() -> None:
    cost = count_cost(two_stages(), (8, 8, 8))
    # One channel at full size is 512 voxels x 4 bytes; the coarse stage has 64 voxels.
    channel, coarse = 512 * 4, 64 * 4
    # Convolution and normalization of every layer (activations are in place), up, join, logits.
    everything = 2 * (4 + 4 + 4) * channel + 2 * 2 * coarse + 4 * channel + 8 * channel + channel
    # Normalization keeps two numbers of 4 bytes for each of its 4 + 2 + 4 + 4 channels.
    assert cost.activation_bytes == everything + 2 * 4 * 14
    # Alive at the first decoder block: input, join of 8, convolution of 4, normalization of 4.
    assert cost.peak_bytes == (1 + 8 + 4 + 4) * channel + 2 * 4 * 4


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_half_precision_halves_the_memory(precision: str) -> None:
    full = count_cost(two_stages(), (8, 8, 8))
    half = count_cost(two_stages(), (8, 8, 8), precision=precision)  # type: ignore[arg-type]
    # The statistics of normalization, 32 bytes here, stay in single precision.
    assert 2 * (half.peak_bytes - 32) == full.peak_bytes - 32
    assert half.macs == full.macs


def test_residual_layers_are_counted() -> None:
    config = replace(two_stages(), architecture="residual", decoder_convs=(1,))
    cost = count_cost(config, (8, 8, 8))
    names = [layer.name for layer in cost.layers]
    assert names[:4] == [
        "stem.conv",
        "encoder.0.0.first.conv",
        "encoder.0.0.second.conv",
        "encoder.1.0.first.conv",
    ]
    # The shortcut is projected after pooling: 64 voxels x 4 x 2 weights.
    assert {layer.name: layer.macs for layer in cost.layers}["encoder.1.0.skip.conv"] == 64 * 8


def test_the_largest_net_allocates_nothing() -> None:
    # 5 TiB of activations: only a count that never allocates can return.
    cost = count_cost(preset("fine-big512x3").config, (560, 2240, 2240))
    assert cost.activation_bytes > 5 * 2**40
    assert torch.get_default_dtype() is torch.float32


def test_wrong_arguments() -> None:
    with pytest.raises(ValueError, match="precision must be one of float32, float16, bfloat16"):
        count_cost(two_stages(), (8, 8, 8), precision="int8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="nearest valid sizes: z 6 or 8"):
        count_cost(two_stages(), (7, 8, 8))
