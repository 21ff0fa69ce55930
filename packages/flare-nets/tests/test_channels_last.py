"""The other memory order is the same function: values, gradients, tensors."""

import dataclasses

import pytest
import torch

from flare_nets import NetConfig, build_net, use_channels_last


def config(**changes):
    plain = NetConfig(
        architecture="plain",
        in_channels=2,
        out_channels=3,
        features=(4, 8, 12),
        kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        convs=(2, 1, 2),
        decoder_convs=(1, 2),
    )
    return dataclasses.replace(plain, **changes)


CONFIGS = (
    config(),
    config(architecture="residual"),
    config(norm="batch"),
    config(in_channels=1, conv_bias=False, up_bias=False, head_bias=False),
)


def both_nets(chosen):
    """A net and its copy in the other order, in double precision."""
    first = build_net(chosen, generator=torch.Generator().manual_seed(3)).double()
    with torch.no_grad():
        for name, weight in first.named_parameters():
            if ".norm." in name:
                weight.uniform_(0.5, 1.5, generator=torch.Generator().manual_seed(len(name)))
    second = build_net(chosen).double()
    second.load_state_dict(first.state_dict())
    return first, use_channels_last(second)


@pytest.mark.parametrize("chosen", CONFIGS)
def test_values_and_gradients_are_those_of_the_default_order(chosen):
    first, second = both_nets(chosen)
    generator = torch.Generator().manual_seed(1)
    shape = (2, chosen.in_channels, 4, 8, 12)
    x = torch.randn(shape, generator=generator, dtype=torch.float64)
    for net in (first, second):
        torch.autograd.backward(sum((level**2).sum() for level in net.forward_all(x)))
    for level, other in zip(first.forward_all(x), second.forward_all(x), strict=True):
        torch.testing.assert_close(other, level, rtol=1e-9, atol=1e-9)
    gradients = dict(second.named_parameters())
    for name, weight in first.named_parameters():
        torch.testing.assert_close(gradients[name].grad, weight.grad, rtol=1e-7, atol=1e-7)


def test_every_convolution_keeps_its_channels_innermost_and_its_name():
    first, second = both_nets(config())
    assert list(first.state_dict()) == list(second.state_dict())
    weights = [weight for weight in second.parameters() if weight.ndim == 5]
    assert weights
    for weight in weights:
        assert weight.is_contiguous(memory_format=torch.channels_last_3d)


def test_instance_norm_is_no_longer_called(monkeypatch):
    # torch's kernel copies to the default order, which is what this is there to avoid.
    first, second = both_nets(config())
    called = []
    monkeypatch.setattr(
        torch.nn.InstanceNorm3d,
        "forward",
        lambda module, x: called.append(1) or torch.nn.functional.instance_norm(x),
    )
    x = torch.zeros(1, 2, 4, 8, 8, dtype=torch.float64)
    second(x)
    assert not called
    # Group norm's gradient is slow in bfloat16.
    with torch.autocast("cpu", torch.bfloat16):
        second.float()(x.float())
    assert called
    called.clear()
    first(x)
    assert called
