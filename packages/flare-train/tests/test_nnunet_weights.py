import dataclasses

import pytest
import torch

from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_train.nnunet_plans import NEVER_ROW, ZERO_ROW
from flare_train.nnunet_weights import nnunet_net, nnunet_weights

NET = NetConfig(
    architecture="plain",
    in_channels=2,
    out_channels=3,
    features=(4, 8, 8),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    convs=(2, 2, 2),
    decoder_convs=(2, 2),
)
ROWS = (0, 1, 2)


def scattered(config, *, seed=0):
    """Return a net in float64 none of whose weights is 0 or 1 by initialization."""
    net = build_net(config).double().eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for tensor in net.parameters():
            tensor.normal_(0, 0.5, generator=generator)
    return net


def grown(config, *, rows=ROWS):
    """Return a net and what nnU-Net builds of it, both in float64."""
    net = scattered(config)
    target = nnunet_net(config, out_channels=len(rows))
    other = build_net(target).double().eval()
    other.load_state_dict(nnunet_weights(net.state_dict(), target, rows=rows))
    return net, other


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"up_bias": False, "head_bias": False},
        {"conv_bias": False, "up_bias": False},
        {"conv_bias": False},
        {"deep_supervision": False},
        {"decoder_kernels": ((3, 3, 3), (3, 3, 3))},
        {"kernels": ((3, 3, 3),) * 3, "decoder_kernels": ((1, 1, 3), (3, 1, 1))},
        {"architecture": "residual"},
        {"architecture": "residual", "decoder_kernels": ((3, 3, 3), (5, 3, 3))},
        {"norm": "batch", "head_bias": False},
    ],
)
def test_nnunets_net_computes_the_same(changes):
    config = dataclasses.replace(NET, **changes)
    net, other = grown(config)
    x = torch.randn(2, 2, 8, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(other(x), net(x), rtol=1e-9, atol=1e-9)
        if config.deep_supervision:
            for ours, theirs in zip(net.forward_all(x), other.forward_all(x), strict=True):
                torch.testing.assert_close(theirs, ours, rtol=1e-9, atol=1e-9)


def test_the_net_has_what_nnunet_always_builds():
    lean = dataclasses.replace(
        NET,
        up_bias=False,
        head_bias=False,
        deep_supervision=False,
        decoder_kernels=((3, 1, 1), (3, 3, 5)),
    )
    found = nnunet_net(lean, out_channels=5)
    assert (found.conv_bias, found.up_bias, found.head_bias) == (True, True, True)
    assert found.deep_supervision
    assert found.decoder_kernels is None
    assert found.kernels == ((3, 3, 3), (3, 3, 5), (3, 3, 3))
    assert found.out_channels == 5
    bare = nnunet_net(dataclasses.replace(NET, conv_bias=False, up_bias=False), out_channels=3)
    assert (bare.conv_bias, bare.up_bias, bare.head_bias) == (False, False, True)


def test_rows_of_the_head_go_to_their_labels():
    net, other = grown(NET, rows=(ZERO_ROW, 2, NEVER_ROW, 0))
    x = torch.randn(1, 2, 8, 16, 16, dtype=torch.float64)
    with torch.no_grad():
        ours, theirs = net(x)[0], other(x)[0]
    assert torch.equal(theirs[0], torch.zeros_like(theirs[0]))
    torch.testing.assert_close(theirs[1], ours[2])
    assert bool((theirs[2] == -500).all())
    torch.testing.assert_close(theirs[3], ours[0])


def test_heads_that_a_net_for_inference_lacks_are_0():
    config = dataclasses.replace(NET, deep_supervision=False)
    _, other = grown(config)
    assert not other.heads[1].weight.any()
    assert other.heads[0].weight.any()


def test_a_tensor_that_lacks_is_an_error():
    weights = scattered(NET).state_dict()
    del weights["encoder.1.0.norm.weight"]
    target = nnunet_net(NET, out_channels=3)
    with pytest.raises(ValueError, match=r"weights lack encoder\.1\.0\.norm\.weight"):
        nnunet_weights(weights, target, rows=ROWS)
