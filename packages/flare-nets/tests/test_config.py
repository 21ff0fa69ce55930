from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flare_nets.config import NetConfig

TWO_STAGES = {
    "architecture": "plain",
    "in_channels": 1,
    "out_channels": 3,
    "features": (4, 8),
    "kernels": ((1, 3, 3), (3, 3, 3)),
    "strides": ((1, 1, 1), (1, 2, 2)),
    "convs": (2, 2),
    "decoder_convs": (2,),
}


def test_lists_become_tuples_so_that_configs_from_json_are_equal() -> None:
    config = NetConfig(**TWO_STAGES)
    again = NetConfig.from_dict(json.loads(json.dumps(config.to_dict())))
    assert again == config
    assert hash(again) == hash(config)
    assert again.kernels == ((1, 3, 3), (3, 3, 3))


def test_config_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        NetConfig(**TWO_STAGES).in_channels = 2  # type: ignore[misc]


def test_heads_and_stages() -> None:
    config = replace(
        NetConfig(**TWO_STAGES),
        features=(4, 8, 16),
        kernels=((3, 3, 3),) * 3,
        strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
        convs=(1, 2, 3),
        decoder_convs=(1, 2),
    )
    assert (config.stages, config.heads) == (3, 2)
    assert replace(config, deep_supervision=False).heads == 1
    assert config.total_stride == (2, 4, 4)


def test_decoder_kernels_default_to_the_encoder_and_have_one_spelling() -> None:
    config = NetConfig(**TWO_STAGES)
    assert config.decoder_kernel_sizes == ((1, 3, 3),)
    assert replace(config, decoder_kernels=((1, 3, 3),)) == config
    older = replace(config, decoder_kernels=config.kernels[1:])
    assert older.decoder_kernel_sizes == ((3, 3, 3),)
    assert NetConfig.from_dict(older.to_dict()) == older != config


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"architecture": "transformer"},
            ValueError,
            "architecture must be one of plain, residual",
        ),
        ({"norm": "layer"}, ValueError, "norm must be one of instance, batch, found 'layer'"),
        ({"in_channels": 0}, ValueError, "in_channels must be >= 1, found 0"),
        ({"out_channels": 2.0}, TypeError, "out_channels must be an integer, found 2.0"),
        ({"out_channels": True}, TypeError, "out_channels must be an integer, found True"),
        ({"conv_bias": 1}, TypeError, "conv_bias must be True or False, found 1"),
        ({"features": (4,)}, ValueError, "features must name at least 2 stages"),
        ({"features": 4}, TypeError, "features must be a sequence, found 4"),
        ({"features": (4, 0)}, ValueError, r"features\[1\] must be >= 1, found 0"),
        ({"kernels": ((3, 3, 3),)}, ValueError, "kernels must have 2 entries, found 1"),
        ({"kernels": ((3, 3, 3), (3, 2, 3))}, ValueError, r"kernels\[1\] must be odd"),
        ({"kernels": ((3, 3, 3), (3, 3))}, ValueError, r"kernels\[1\] must have 3 entries"),
        ({"kernels": ((3, 3, 3), "333")}, TypeError, r"kernels\[1\] must be a sequence"),
        ({"strides": ((1, 2, 2), (2, 2, 2))}, ValueError, r"strides\[0\] must be \(1, 1, 1\)"),
        ({"convs": (2, 0)}, ValueError, r"convs\[1\] must be >= 1"),
        ({"decoder_convs": (2, 2)}, ValueError, "decoder_convs must have 1 entries, found 2"),
        ({"decoder_kernels": ((2, 2, 2),)}, ValueError, r"decoder_kernels\[0\] must be odd"),
    ],
)
def test_wrong_fields_are_named(
    changes: dict[str, object], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        NetConfig(**{**TWO_STAGES, **changes})


def test_from_dict_names_unknown_and_missing_fields() -> None:
    values = NetConfig(**TWO_STAGES).to_dict()
    with pytest.raises(ValueError, match="no field 'feature'; did you mean 'features'"):
        NetConfig.from_dict({**values, "feature": 3})
    with pytest.raises(ValueError, match="no field 'zzz'; known are architecture,"):
        NetConfig.from_dict({**values, "zzz": 3})
    del values["kernels"], values["convs"]
    with pytest.raises(ValueError, match=r"lacks the field\(s\) kernels, convs"):
        NetConfig.from_dict(values)


@pytest.mark.parametrize(
    ("patch", "message"),
    [
        ((4, 7, 8), r"total stride \(1, 2, 2\), found \(4, 7, 8\); nearest valid sizes: y 6 or 8$"),
        ((0, 1, 3), "z 1, y 2, x 2 or 4$"),
        ((4, 8), "patch must have 3 entries, found 2"),
        ((1, 2, 2), "over one voxel at the bottleneck"),
    ],
)
def test_wrong_patches_get_the_nearest_valid_sizes(patch: tuple[int, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        NetConfig(**TWO_STAGES).check_patch(patch)


def test_batch_norm_takes_a_bottleneck_of_one_voxel() -> None:
    assert NetConfig(**TWO_STAGES, norm="batch").check_patch([1, 2, 2]) == (1, 2, 2)


@given(sizes=st.tuples(*(st.integers(1, 40),) * 3))
@settings(max_examples=50, deadline=None)
def test_a_patch_is_taken_exactly_if_it_is_a_multiple(sizes: tuple[int, int, int]) -> None:
    config = NetConfig(**TWO_STAGES, norm="batch")
    fits = all(size % step == 0 for size, step in zip(sizes, config.total_stride, strict=True))
    if fits:
        assert config.check_patch(sizes) == sizes
    else:
        with pytest.raises(ValueError, match="multiple of the total stride"):
            config.check_patch(sizes)
