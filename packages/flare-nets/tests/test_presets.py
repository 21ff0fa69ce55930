from __future__ import annotations

from dataclasses import replace

import pytest

from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.presets import preset, preset_names


def count(config: NetConfig) -> int:
    net = build_net(config, initialization="none", device="meta")
    return sum(parameter.numel() for parameter in net.parameters())


@pytest.mark.parametrize(
    ("name", "millions"),
    [
        ("swift", 3.150),
        ("fine-big512x3", 84.97),
        ("fine-cap320", 30.79),
        ("fine-cap1024", 88.39),
        ("s2-tumor", 30.79),
        ("s2-final", 30.71),
        ("s3", 5.65),
        ("s3-flat", 5.218),
        ("s4-teacher", 31.20),
        ("s4-teacher-flat", 31.12),
        ("s4-teacher-flat-shallow", 30.71),
        ("s4-student", 5.63),
        ("flare22-small", 5.63),
        ("flare22-big", 84.86),
        ("s5-plain", 30.79),
        ("resenc-m", 101.940),
        ("mini", 0.351),
    ],
)
def test_parameters_match_the_published_or_recounted_number(name: str, millions: float) -> None:
    digits = len(f"{millions}".partition(".")[2])
    # Half a unit of the last printed digit, and the float error of the tie.
    assert count(preset(name).config) / 1e6 == pytest.approx(millions, abs=0.5001 * 10**-digits)


def test_fine_cap1024_is_88_40_million_with_the_biases_of_nnunet_v2() -> None:
    config = replace(preset("fine-cap1024").config, up_bias=True, head_bias=True)
    assert round(count(config) / 1e6, 2) == 88.40


def test_swift_and_resenc_m_to_the_last_weight() -> None:
    assert count(preset("swift").config) == 3_150_144
    assert count(preset("resenc-m").config) == 101_940_170


def test_nnunet_v1_decoder_kernels_cost_flare22_small_13824_weights_more() -> None:
    # The finest decoder stage gets 27 instead of 9 kernel voxels: (32 x 16 + 16 x 16) x 18.
    config = preset("flare22-small").config
    older = replace(config, decoder_kernels=config.kernels[1:])
    assert count(older) - count(config) == (32 * 16 + 16 * 16) * 18


@pytest.mark.parametrize("name", preset_names())
def test_the_patch_fits_the_net(name: str) -> None:
    chosen = preset(name)
    assert chosen.name == name
    assert chosen.config.check_patch(chosen.patch) == chosen.patch
    assert NetConfig.from_dict(chosen.config.to_dict()) == chosen.config


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="no preset is named 'swifd'; did you mean 'swift'"):
        preset("swifd")
    with pytest.raises(ValueError, match="known are swift, fine-big512x3"):
        preset("?")
