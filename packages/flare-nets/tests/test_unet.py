from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.presets import preset

Scatter = Callable[[torch.nn.Module], None]


def conv_norm(x: Tensor, weights: dict[str, Tensor], name: str, stride: tuple[int, ...]) -> Tensor:
    """Convolve, normalize by hand (mean and variance over space)."""
    weight = weights[f"{name}.conv.weight"]
    padding = [(edge - 1) // 2 for edge in weight.shape[2:]]
    x = F.conv3d(x, weight, weights.get(f"{name}.conv.bias"), stride=stride, padding=padding)
    mean = x.mean(dim=(2, 3, 4), keepdim=True)
    variance = x.var(dim=(2, 3, 4), keepdim=True, correction=0)
    x = (x - mean) / torch.sqrt(variance + 1e-5)
    scale, shift = weights[f"{name}.norm.weight"], weights[f"{name}.norm.bias"]
    return x * scale[:, None, None, None] + shift[:, None, None, None]


def leaky(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, 0.01 * x)


def encoder_stage(x: Tensor, weights: dict[str, Tensor], config: NetConfig, s: int) -> Tensor:
    for c in range(config.convs[s]):
        stride = config.strides[s] if c == 0 else (1, 1, 1)
        name = f"encoder.{s}.{c}"
        if config.architecture == "plain":
            x = leaky(conv_norm(x, weights, name, stride))
            continue
        skip = F.avg_pool3d(x, stride) if stride != (1, 1, 1) else x
        if f"{name}.skip.conv.weight" in weights:
            skip = conv_norm(skip, weights, f"{name}.skip", (1, 1, 1))
        x = leaky(conv_norm(x, weights, f"{name}.first", stride))
        x = leaky(conv_norm(x, weights, f"{name}.second", (1, 1, 1)) + skip)
    return x


def by_hand(x: Tensor, weights: dict[str, Tensor], config: NetConfig) -> list[Tensor]:
    """Run the U-Net from its state dict alone, finest output first."""
    if config.architecture == "residual":
        x = leaky(conv_norm(x, weights, "stem", (1, 1, 1)))
    skips = []
    for s in range(config.stages):
        x = encoder_stage(x, weights, config, s)
        skips.append(x)
    outputs = []
    for s in reversed(range(config.stages - 1)):
        stride = config.strides[s + 1]
        x = F.conv_transpose3d(x, weights[f"up.{s}.weight"], weights.get(f"up.{s}.bias"), stride)
        x = torch.cat([x, skips[s]], dim=1)
        for c in range(config.decoder_convs[s]):
            x = leaky(conv_norm(x, weights, f"decoder.{s}.{c}", (1, 1, 1)))
        head = weights[f"heads.{s}.weight"]
        outputs.insert(0, F.conv3d(x, head, weights.get(f"heads.{s}.bias")))
    return outputs


@pytest.mark.parametrize("architecture", ["plain", "residual"])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shifted", [True, False])
def test_forward_equals_the_formula(
    config: NetConfig, architecture: str, bias: bool, shifted: bool, scatter: Scatter
) -> None:
    kernels = config.kernels[1:] if shifted else None
    config = replace(config, architecture=architecture, decoder_kernels=kernels)
    config = replace(config, conv_bias=bias, up_bias=bias, head_bias=bias)
    net = build_net(config).double()
    scatter(net)
    x = torch.randn(2, 2, 4, 8, 6, dtype=torch.float64)
    kept = x.clone()
    with torch.no_grad():
        outputs = net.forward_all(x)
        expected = by_hand(x, net.state_dict(), config)
        assert [output.shape[2:] for output in outputs] == [(4, 8, 6), (4, 4, 3)]
        for output, wanted in zip(outputs, expected, strict=True):
            torch.testing.assert_close(output, wanted, rtol=0, atol=1e-10)
        torch.testing.assert_close(net(x), expected[0], rtol=0, atol=1e-10)
    assert torch.equal(x, kept)


def test_batch_norm_uses_its_statistics_in_eval(config: NetConfig, scatter: Scatter) -> None:
    net = build_net(replace(config, norm="batch"))
    scatter(net)
    x = torch.randn(2, 2, 4, 8, 6)
    with torch.no_grad():
        both = net.eval()(x)
        torch.testing.assert_close(both[1:], net(x[1:]))
        net.train()(x)
    assert int(net.state_dict()["encoder.0.0.norm.num_batches_tracked"]) == 1


def test_without_deep_supervision_there_is_one_head(config: NetConfig) -> None:
    net = build_net(replace(config, deep_supervision=False))
    x = torch.randn(1, 2, 4, 8, 6)
    outputs = net.forward_all(x)
    assert len(outputs) == 1
    assert torch.equal(outputs[0], net(x))
    assert [name for name in net.state_dict() if name.startswith("heads")] == [
        "heads.0.weight",
        "heads.0.bias",
    ]


@pytest.mark.parametrize("architecture", ["plain", "residual"])
def test_every_tensor_is_registered_once_and_gets_a_gradient(
    config: NetConfig, architecture: str
) -> None:
    net = build_net(replace(config, architecture=architecture))
    pointers = [tensor.data_ptr() for tensor in net.state_dict().values()]
    assert len(set(pointers)) == len(pointers)
    loss = sum(output.square().mean() for output in net.forward_all(torch.randn(1, 2, 4, 8, 6)))
    loss.backward()
    assert all(parameter.grad is not None for parameter in net.parameters())


@pytest.mark.parametrize("architecture", ["plain", "residual"])
def test_in_place_activations_keep_gradients_right(
    config: NetConfig, architecture: str, scatter: Scatter
) -> None:
    net = build_net(replace(config, architecture=architecture)).double()
    scatter(net)
    x = torch.randn(1, 2, 4, 4, 4, dtype=torch.float64, requires_grad=True)
    weights = dict(net.named_parameters())
    inputs = [x, *weights.values()]
    outputs = net.forward_all(x)
    expected = by_hand(x, weights, net.config)
    ours = torch.autograd.grad(sum(out.square().sum() for out in outputs), inputs)
    wanted = torch.autograd.grad(sum(out.square().sum() for out in expected), inputs)
    for a, b in zip(ours, wanted, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("architecture", ["plain", "residual"])
def test_channels_last_gives_the_same_logits(config: NetConfig, architecture: str) -> None:
    net = build_net(replace(config, architecture=architecture)).eval()
    x = torch.randn(2, 2, 4, 8, 6)
    with torch.no_grad():
        expected = net(x)
        net.to(memory_format=torch.channels_last_3d)
        found = net(x.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["plain", "residual"])
def test_export_with_a_free_size(config: NetConfig, architecture: str) -> None:
    net = build_net(replace(config, architecture=architecture)).eval()
    x = torch.randn(1, 2, 4, 8, 6)
    half = torch.export.Dim("half", min=2, max=16)
    program = torch.export.export(net, (x,), dynamic_shapes={"x": {2: 2 * half}})
    longer = torch.randn(1, 2, 10, 8, 6)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(longer), net(longer))


# torch's own instance normalization compares sizes while it is traced.
@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_trace_keeps_the_result(config: NetConfig) -> None:
    net = build_net(config).eval()
    x = torch.randn(1, 2, 4, 8, 6)
    with torch.no_grad():
        traced = torch.jit.trace(net, x)
        longer = torch.randn(1, 2, 8, 8, 6)
        torch.testing.assert_close(traced(longer), net(longer))


def test_state_dict_goes_through_a_file_and_is_assigned_to_a_meta_net() -> None:
    config = preset("unit").config
    net = build_net(config).eval()
    file = io.BytesIO()
    torch.save(net.state_dict(), file)
    file.seek(0)
    empty = build_net(config, device="meta").eval()
    empty.load_state_dict(torch.load(file, weights_only=True), assign=True)
    x = torch.randn(1, 1, 16, 24, 24)
    with torch.no_grad():
        assert torch.equal(empty(x), net(x))


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 3, 4, 8, 6), r"x must have shape \(b, 2, z, y, x\), found \(1, 3, 4, 8, 6\)"),
        ((2, 4, 8, 6), r"x must have shape \(b, 2, z, y, x\), found \(2, 4, 8, 6\)"),
        ((1, 2, 4, 9, 6), r"total stride \(2, 4, 2\), found \(4, 9, 6\); .* y 8 or 12"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(
    config: NetConfig, shape: tuple[int, ...], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        build_net(config)(torch.zeros(shape))
