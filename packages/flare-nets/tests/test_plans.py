from __future__ import annotations

from typing import Any

import pytest

from flare_nets.config import NetConfig
from flare_nets.plans import config_from_plans

PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
RESIDUAL = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"


def arch_kwargs(**changes: Any) -> dict[str, Any]:
    return {
        "n_stages": 3,
        "features_per_stage": [32, 64, 128],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "n_conv_per_stage": [2, 2, 3],
        "n_conv_per_stage_decoder": [3, 2],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-05, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
        **changes,
    }


def plans(kwargs: dict[str, Any], name: str = PLAIN) -> dict[str, Any]:
    architecture = {"network_class_name": name, "arch_kwargs": kwargs}
    return {"configurations": {"3d_fullres": {"architecture": architecture}}}


def read(plans: dict[str, Any], configuration: str = "3d_fullres") -> NetConfig:
    return config_from_plans(plans, configuration, in_channels=2, out_channels=5)


EXPECTED = NetConfig(
    architecture="plain",
    in_channels=2,
    out_channels=5,
    features=(32, 64, 128),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    convs=(2, 2, 3),
    decoder_convs=(2, 3),  # the plans begin at the deepest
)


def test_the_new_format() -> None:
    assert read(plans(arch_kwargs())) == EXPECTED


def test_single_numbers_stand_for_every_stage() -> None:
    kwargs = arch_kwargs(
        features_per_stage=8, kernel_sizes=3, n_conv_per_stage=2, n_conv_per_stage_decoder=1
    )
    kwargs["strides"] = [1, 2, [1, 2, 2]]
    config = read(plans(kwargs))
    assert config.features == (8, 8, 8)
    assert config.kernels == ((3, 3, 3),) * 3
    assert config.strides == ((1, 1, 1), (2, 2, 2), (1, 2, 2))
    assert (config.convs, config.decoder_convs) == ((2, 2, 2), (1, 1))


def test_the_residual_encoder_with_batch_norm_and_no_bias() -> None:
    kwargs = arch_kwargs(
        norm_op="torch.nn.BatchNorm3d", norm_op_kwargs=None, conv_bias=False, stem_channels=32
    )
    kwargs["n_blocks_per_stage"] = kwargs.pop("n_conv_per_stage")
    config = read(plans(kwargs, RESIDUAL))
    assert (config.architecture, config.norm, config.convs) == ("residual", "batch", (2, 2, 3))
    assert (config.conv_bias, config.up_bias, config.head_bias) == (False, False, True)


@pytest.mark.parametrize("name", ["PlainConvUNet", "ResidualEncoderUNet"])
def test_the_old_format(name: str) -> None:
    old = {
        "patch_size": [64, 128, 128],
        "UNet_class_name": name,
        "UNet_base_num_features": 32,
        "unet_max_num_features": 100,
        "n_conv_per_stage_encoder": [2, 2, 3],
        "n_conv_per_stage_decoder": [3, 2],
        "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    }
    config = read({"configurations": {"3d_fullres": old}})
    assert config.features == (32, 64, 100)
    assert config.strides == EXPECTED.strides
    assert config.decoder_convs == (2, 3)
    assert config.architecture == ("plain" if name == "PlainConvUNet" else "residual")
    del old["conv_kernel_sizes"]
    with pytest.raises(ValueError, match="the configuration lacks 'conv_kernel_sizes'"):
        read({"configurations": {"3d_fullres": old}})
    two_d = {
        "configurations": {"3d_fullres": {**old, "patch_size": [9, 9], "conv_kernel_sizes": []}}
    }
    with pytest.raises(ValueError, match=r"conv_op must be Conv3d .2-D nets are not supported."):
        read(two_d)


def test_inherited_configurations() -> None:
    chain = plans(arch_kwargs())
    chain["configurations"]["batch8"] = {"inherits_from": "3d_fullres", "batch_size": 8}
    chain["configurations"]["again"] = {"inherits_from": "batch8"}
    assert read(chain, "again") == EXPECTED
    chain["configurations"]["3d_fullres"]["inherits_from"] = "again"
    with pytest.raises(ValueError, match="in a circle: again -> batch8 -> 3d_fullres"):
        read(chain, "again")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"conv_op": "torch.nn.Conv2d"}, "conv_op must be Conv3d .* found 'torch.nn.Conv2d'"),
        ({"norm_op": "torch.nn.GroupNorm"}, "norm_op must be one of InstanceNorm3d, BatchNorm3d"),
        ({"norm_op": None}, "norm_op must be one of"),
        ({"norm_op_kwargs": {"eps": 1e-3, "affine": True}}, "norm_op_kwargs must be eps 1e-5"),
        ({"norm_op_kwargs": {}}, "norm_op_kwargs must be eps 1e-5, affine"),
        ({"dropout_op": "torch.nn.Dropout3d"}, "dropout_op must be null"),
        ({"nonlin": "torch.nn.ReLU"}, "nonlin must be LeakyReLU, found 'torch.nn.ReLU'"),
        ({"nonlin_kwargs": {"negative_slope": 0.2}}, "nonlin_kwargs must be negative_slope 0.01"),
        ({"nonlin_first": True}, "nonlin_first must be false"),
        ({"block": "a.BottleneckD"}, "block must be BasicBlockD"),
        ({"bottleneck_channels": 8}, "bottleneck_channels must be null"),
        ({"stem_channels": 16}, "stem_channels must be null, found 16"),
        ({"squeeze": True}, "unknown option 'squeeze' = True"),
        ({"n_blocks_per_stage": 2}, "unknown option 'n_blocks_per_stage'"),
        ({"kernel_sizes": [[3, 3], [3, 3], [3, 3]]}, r"kernels\[0\] must have 3 entries"),
    ],
)
def test_what_the_config_cannot_say_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read(plans(arch_kwargs(**changes)))


def test_unknown_names() -> None:
    with pytest.raises(ValueError, match="named '3d_lowres'; there are: 3d_fullres"):
        read(plans(arch_kwargs()), "3d_lowres")
    with pytest.raises(ValueError, match=r"network class must be one of .* found 'a.SwinUNETR'"):
        read(plans(arch_kwargs(), "a.SwinUNETR"))
    with pytest.raises(ValueError, match="lacks 'n_stages'"):
        kwargs = arch_kwargs()
        del kwargs["n_stages"]
        read(plans(kwargs))
