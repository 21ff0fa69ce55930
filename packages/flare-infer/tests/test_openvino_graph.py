from dataclasses import replace

import numpy as np
import pytest
import torch

from flare_infer.backends.openvino import CORE
from flare_infer.backends.openvino_graph import build_graph
from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.presets import preset, preset_names


@pytest.fixture
def config():
    """Three anisotropic stages with a different count of everything, biases everywhere."""
    return NetConfig(
        architecture="plain",
        in_channels=2,
        out_channels=3,
        features=(4, 6, 8),
        kernels=((1, 3, 3), (3, 5, 3), (3, 3, 3)),
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 1)),
        convs=(1, 2, 3),
        decoder_convs=(2, 3),
    )


PATCH = (4, 16, 12)


def scattered_net(config, *, seed=0):
    """Return a net whose vectors, many of them 0 or 1 at the start, are all over the place."""
    torch.manual_seed(seed)
    net = build_net(config).eval()
    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(0.3 * torch.randn_like(tensor))
    return net


def arrays(net):
    return {name: tensor.numpy() for name, tensor in net.state_dict().items()}


def require_same_logits(net, patch, *, seed=1):
    """Hold OpenVINO's logits to 1e-4 of the largest of torch's."""
    shape = (1, net.config.in_channels, *patch)
    window = np.random.default_rng(seed).normal(size=shape).astype(np.float32)
    with torch.inference_mode():
        expected = net(torch.from_numpy(window)).numpy()
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}
    graph = build_graph(net.config, arrays(net), patch)
    found = CORE.compile_model(graph, "CPU", settings)(window)[0]
    assert expected.std() > 0.01
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("architecture", ["plain", "residual"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
@pytest.mark.parametrize("biased", [True, False])
def test_logits_are_those_of_torch(config, architecture, norm, biased):
    bias = dict.fromkeys(("conv_bias", "up_bias", "head_bias"), biased)
    net = scattered_net(replace(config, architecture=architecture, norm=norm, **bias))
    require_same_logits(net, PATCH)


def test_kernels_of_the_decoder_and_one_head(config):
    kernels = ((3, 5, 3), (3, 3, 3))
    net = scattered_net(replace(config, decoder_kernels=kernels, deep_supervision=False))
    require_same_logits(net, PATCH)


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_gives_the_logits_of_torch_at_a_fraction_of_its_width(name):
    config = preset(name).config
    thin = replace(config, features=tuple(size // 8 + 1 for size in config.features))
    patch = tuple(2 * step for step in config.total_stride)
    require_same_logits(scattered_net(thin), patch)


def test_the_unit_preset_as_it_is():
    entry = preset("unit")
    require_same_logits(scattered_net(entry.config), entry.patch)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("up.1.weight"), "tensor missing: up.1.weight"),
        (lambda t: t.update(extra=np.zeros(1)), "unexpected: ['extra']"),
        (
            lambda t: t.update({"heads.0.bias": np.zeros(5, np.float32)}),
            "heads.0.bias must have shape (3,), got (5,)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(config, change, message):
    tensors = arrays(scattered_net(config))
    change(tensors)
    with pytest.raises(ValueError) as caught:
        build_graph(config, tensors, PATCH)
    assert message in str(caught.value)


def test_a_window_that_the_net_cannot_take_is_refused(config):
    with pytest.raises(ValueError, match="multiple of the total stride"):
        build_graph(config, arrays(scattered_net(config)), (3, 16, 12))
