from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from flare_nets.adapters import Layout, export_weights, import_weights
from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.errors import WeightsError

Scatter = Callable[[torch.nn.Module], None]
LAYOUTS: tuple[Layout, ...] = ("nnunet-v2", "nnunet-v1")


@pytest.fixture
def config(config: NetConfig) -> NetConfig:
    # nnU-Net v1 splits off the last convolution, so that every stage needs two.
    return replace(config, convs=(1, 2, 3), decoder_convs=(2, 3))


def state_of(config: NetConfig) -> dict[str, Tensor]:
    return dict(build_net(config, initialization="none").state_dict())


def test_v2_names_of_a_plain_net(config: NetConfig) -> None:
    state = state_of(config)
    exported = export_weights(state, config)
    # Names that nnU-Net v2 gives; decoder stage 0 is the deepest of two.
    expected = {
        "encoder.stages.2.0.convs.1.conv.weight": "encoder.2.1.conv.weight",
        "encoder.stages.2.0.convs.1.all_modules.0.weight": "encoder.2.1.conv.weight",
        "decoder.encoder.stages.2.0.convs.1.norm.bias": "encoder.2.1.norm.bias",
        "decoder.encoder.stages.2.0.convs.1.all_modules.1.bias": "encoder.2.1.norm.bias",
        "decoder.stages.0.convs.2.conv.bias": "decoder.1.2.conv.bias",
        "decoder.stages.0.convs.2.all_modules.1.weight": "decoder.1.2.norm.weight",
        "decoder.transpconvs.0.weight": "up.1.weight",
        "decoder.seg_layers.1.bias": "heads.0.bias",
    }
    for foreign, ours in expected.items():
        assert exported[foreign] is state[ours]
    # Encoder convolutions are written four times, decoder ones twice, ups and heads once.
    encoder = sum(name.startswith("encoder") for name in state)
    decoder = sum(name.startswith("decoder") for name in state)
    assert len(exported) == 4 * encoder + 2 * decoder + (len(state) - encoder - decoder)


def test_v2_names_of_a_residual_net(config: NetConfig) -> None:
    config = replace(config, architecture="residual", features=(4, 4, 8))
    state = state_of(config)
    exported = export_weights(state, config)
    expected = {
        "encoder.stem.convs.0.conv.weight": "stem.conv.weight",
        "decoder.encoder.stem.convs.0.all_modules.1.weight": "stem.norm.weight",
        "encoder.stages.1.blocks.1.conv2.norm.bias": "encoder.1.1.second.norm.bias",
        # The projection stands behind the pooling.
        "encoder.stages.2.blocks.0.skip.1.conv.weight": "encoder.2.0.skip.conv.weight",
        "encoder.stages.2.blocks.0.skip.1.all_modules.1.bias": "encoder.2.0.skip.norm.bias",
    }
    for foreign, ours in expected.items():
        assert exported[foreign] is state[ours]
    # Equal features: pooling alone, without weights.
    assert not any("stages.1.blocks.0.skip" in name for name in exported)


def test_v2_projection_without_stride_stands_first(config: NetConfig) -> None:
    strides = (config.strides[0], (1, 1, 1), config.strides[2])
    config = replace(config, architecture="residual", strides=strides)
    exported = export_weights(state_of(config), config)
    assert "encoder.stages.1.blocks.0.skip.0.conv.weight" in exported
    assert "encoder.stages.2.blocks.0.skip.1.conv.weight" in exported


def test_v1_names(config: NetConfig) -> None:
    config = replace(config, up_bias=False, head_bias=False, decoder_kernels=config.kernels[1:])
    state = state_of(config)
    exported = export_weights(state, config, layout="nnunet-v1")
    expected = {
        "conv_blocks_context.0.blocks.0.conv.weight": "encoder.0.0.conv.weight",
        "conv_blocks_context.1.blocks.1.instnorm.bias": "encoder.1.1.norm.bias",
        "conv_blocks_context.2.0.blocks.1.conv.weight": "encoder.2.1.conv.weight",
        "conv_blocks_context.2.1.blocks.0.conv.weight": "encoder.2.2.conv.weight",
        "conv_blocks_localization.0.0.blocks.1.conv.weight": "decoder.1.1.conv.weight",
        "conv_blocks_localization.0.1.blocks.0.conv.weight": "decoder.1.2.conv.weight",
        "conv_blocks_localization.1.0.blocks.0.conv.weight": "decoder.0.0.conv.weight",
        "tu.0.weight": "up.1.weight",
        "seg_outputs.1.weight": "heads.0.weight",
    }
    for foreign, ours in expected.items():
        assert exported[foreign] is state[ours]
    assert len(exported) == len(state)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_there_and_back_is_the_same_net(
    config: NetConfig, layout: Layout, norm: str, scatter: Scatter
) -> None:
    config = replace(config, norm=norm)
    net = build_net(config)
    scatter(net)
    wrapped = {
        f"module._orig_mod.{name}": tensor
        for name, tensor in export_weights(net.state_dict(), config, layout=layout).items()
    }
    imported = import_weights(wrapped, config)
    assert imported.report.layout == layout
    assert imported.report.complete
    assert str(imported.report) == f"{layout}: all tensors match"
    assert imported.weights.keys() == net.state_dict().keys()
    other = build_net(config)
    other.load_state_dict(imported.weights)
    x = torch.randn(2, 2, 4, 8, 6)
    with torch.no_grad():
        assert torch.equal(other.eval()(x), net.eval()(x))


def test_import_shares_memory(config: NetConfig) -> None:
    exported = export_weights(state_of(config), config)
    imported = import_weights(exported, config)
    foreign = exported["decoder.transpconvs.0.weight"]
    assert imported.weights["up.1.weight"].data_ptr() == foreign.data_ptr()
    assert imported.report.duplicates == len(exported) - len(imported.weights)


def test_the_report_names_every_problem(config: NetConfig) -> None:
    exported = export_weights(state_of(config), config)
    del exported["decoder.transpconvs.1.weight"]
    exported["decoder.extra.weight"] = torch.zeros(1)
    exported["decoder.seg_layers.1.weight"] = torch.zeros(5, 4, 1, 1, 1)
    norm = "encoder.stages.1.0.convs.0.norm.weight"
    exported[norm] = exported[norm] + 1
    with pytest.raises(WeightsError, match="pass strict=False") as caught:
        import_weights(exported, config)
    for part in (
        "nnunet-v2: 1 missing (decoder.transpconvs.1.weight)",
        "1 unexpected (decoder.extra.weight)",
        "1 mis-shaped (decoder.seg_layers.1.weight: expected (3, 4, 1, 1, 1), "
        "found (5, 4, 1, 1, 1))",
        f"1 conflicting ({norm})",
    ):
        assert part in str(caught.value)
    partial = import_weights(exported, config, strict=False)
    assert not partial.report.complete
    assert set(state_of(config)) - set(partial.weights) == {
        "up.0.weight",
        "heads.0.weight",
        "encoder.1.0.norm.weight",
    }


def test_an_empty_state_dict_is_a_short_message(config: NetConfig) -> None:
    with pytest.raises(WeightsError, match=r"missing \(encoder[^;]+;[^;]+;[^;]+; \.\.\.\)"):
        import_weights({}, config)


def test_a_missing_copy_is_no_problem_but_a_nan_copy_is_equal(config: NetConfig) -> None:
    exported = export_weights(state_of(config), config)
    lean = {name: value for name, value in exported.items() if "all_modules" not in name}
    name = "encoder.stages.0.0.convs.0.norm.bias"
    lean[name] = torch.full_like(lean[name], torch.nan)
    lean[f"decoder.{name}"] = lean[name].clone()
    assert import_weights(lean, config).report.complete


def test_strip_heads_takes_any_number_of_outputs(config: NetConfig) -> None:
    exported = export_weights(state_of(config), config)
    target = replace(config, out_channels=9)
    imported = import_weights(exported, target, strip_heads=True)
    assert imported.report.complete
    heads = tuple(f"heads.{s}.{leaf}" for s in (0, 1) for leaf in ("weight", "bias"))
    assert imported.report.stripped == heads
    net = build_net(target)
    missing, unexpected = net.load_state_dict(imported.weights, strict=False)
    assert (sorted(missing), unexpected) == (sorted(heads), [])


def test_coarse_heads_are_set_aside_without_deep_supervision(config: NetConfig) -> None:
    exported = export_weights(state_of(config), config)
    single = replace(config, deep_supervision=False)
    imported = import_weights(exported, single)
    assert imported.report.unused_heads == (
        "decoder.seg_layers.0.bias",
        "decoder.seg_layers.0.weight",
    )
    build_net(single).load_state_dict(imported.weights)
    with pytest.raises(ValueError, match="deep_supervision=True: nnU-Net builds every head"):
        export_weights(imported.weights, single)


def test_wrong_arguments(config: NetConfig) -> None:
    state = state_of(config)
    with pytest.raises(ValueError, match="layout must be one of nnunet-v2, nnunet-v1, found 'v2'"):
        import_weights(state, config, layout="v2")  # type: ignore[arg-type]
    with pytest.raises(WeightsError, match=r"1 names in only one of them, such as up.0.bias"):
        export_weights({n: t for n, t in state.items() if n != "up.0.bias"}, config)
    with pytest.raises(ValueError, match="nnunet-v1 holds plain U-Nets only"):
        residual = replace(config, architecture="residual")
        export_weights(state_of(residual), residual, layout="nnunet-v1")
    with pytest.raises(ValueError, match=r"needs at least 2 convolutions .* found 3 and 1"):
        single = replace(config, decoder_convs=(1, 2))
        export_weights(state_of(single), single, layout="nnunet-v1")
