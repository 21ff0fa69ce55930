"""The nets of the five systems and the small ones for phantoms, by name. Nothing here loads torch.

A preset is one reading of a paper; where paper and code leave more than one, each has its name.
Change single fields with ``dataclasses.replace(preset("swift").config, out_channels=2)``.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

from flare_nets.config import NetConfig, Size

__all__ = ["Preset", "preset", "preset_names"]

_ONE: Size = (1, 1, 1)
_PLANE: Size = (1, 2, 2)
_TWO: Size = (2, 2, 2)
_CUBE: Size = (3, 3, 3)
_FLAT: Size = (1, 3, 3)


@dataclass(frozen=True, kw_only=True)
class Preset:
    """A named net with the patch it was made for."""

    name: str
    config: NetConfig
    patch: Size
    description: str


def preset(name: str) -> Preset:
    """Return a preset by name.

    Raises
    ------
    ValueError
        If there is none of that name; the message gives the nearest.

    Examples
    --------
    >>> preset("swift").config.features
    (24, 48, 96, 192)
    """
    if name not in _PRESETS:
        near = get_close_matches(name, _PRESETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_PRESETS)}"
        raise ValueError(f"no preset is named {name!r}; {hint}")
    return _PRESETS[name]


def preset_names() -> tuple[str, ...]:
    """Return the names of all presets, in the order of the systems."""
    return tuple(_PRESETS)


def _doubled(base: int, stages: int, cap: int) -> tuple[int, ...]:
    return tuple(min(base * 2**s, cap) for s in range(stages))


def _plain(
    features: tuple[int, ...],
    strides: tuple[Size, ...],
    out_channels: int,
    *,
    flat_stages: int = 0,
    convs: int = 2,
    bias: bool = True,
) -> NetConfig:
    """Describe a plain U-Net; ``strides`` leads into stages 1 and up, the first stages are flat."""
    n = len(features)
    return NetConfig(
        architecture="plain",
        in_channels=1,
        out_channels=out_channels,
        features=features,
        kernels=(_FLAT,) * flat_stages + (_CUBE,) * (n - flat_stages),
        strides=(_ONE, *strides),
        convs=(convs,) * n,
        decoder_convs=(convs,) * (n - 1),
        up_bias=bias,
        head_bias=bias,
    )


def _fine(cap: int, convs: int, description: str, name: str) -> Preset:
    strides = (_PLANE, _TWO, _TWO, _TWO, _PLANE)
    # nnU-Net v1 gives transposed convolutions and heads no bias.
    config = _plain(_doubled(32, 6, cap), strides, 15, convs=convs, bias=False)
    return Preset(name=name, config=config, patch=(56, 224, 224), description=description)


def _resenc_m() -> NetConfig:
    return NetConfig(
        architecture="residual",
        in_channels=1,
        out_channels=2,
        features=_doubled(32, 6, 320),
        kernels=(_CUBE,) * 6,
        strides=(_ONE, *(_TWO,) * 4, _PLANE),
        convs=(1, 3, 4, 6, 6, 6),
        decoder_convs=(1,) * 5,
    )


_DEFAULT = _doubled(32, 6, 320)
_SMALL = _doubled(16, 5, 256)
_SWIFT_STRIDES = (_PLANE, _TWO, _TWO)
_FLARE22_SMALL = _plain(_SMALL, (_PLANE, _TWO, _TWO, _TWO), 14, flat_stages=1, bias=False)
_FLARE22_BIG = _plain(
    _doubled(32, 6, 512),
    (_PLANE, _TWO, _TWO, _TWO, _PLANE),
    14,
    flat_stages=1,
    convs=3,
    bias=False,
)


def _teacher(name: str, strides: tuple[Size, ...], flat_stages: int, description: str) -> Preset:
    config = _plain(_DEFAULT, strides, 14, flat_stages=flat_stages)
    return Preset(name=name, config=config, patch=(48, 192, 192), description=description)


_PRESETS: dict[str, Preset] = {
    entry.name: entry
    for entry in (
        Preset(
            name="swift",
            config=_plain((24, 48, 96, 192), _SWIFT_STRIDES, 15, bias=False),
            patch=(32, 128, 192),
            description="S1 Swift: 4 stages, the net that S1 submits",
        ),
        _fine(512, 3, "S1 Fine, our default reading: 3 convolutions, cap 512", "fine-big512x3"),
        _fine(320, 2, "S1 Fine read as nnU-Net's default: cap 320", "fine-cap320"),
        _fine(1024, 2, "S1 Fine read without a cap: 1024 features", "fine-cap1024"),
        Preset(
            name="s2-tumor",
            config=_plain(_DEFAULT, (*(_TWO,) * 4, _PLANE), 2),
            patch=(112, 160, 160),
            description="S2 tumor net: background and tumor",
        ),
        Preset(
            name="s2-final",
            config=_plain(_DEFAULT, (_PLANE, _TWO, _TWO, _TWO, _PLANE), 15, flat_stages=1),
            patch=(56, 160, 192),
            description="S2 final net: 13 organs and tumor",
        ),
        Preset(
            name="s3",
            config=_plain(_SMALL, (_TWO,) * 4, 15),
            patch=(128, 128, 128),
            description="S3 small net, 3x3x3 kernels everywhere",
        ),
        Preset(
            name="s3-flat",
            config=_plain(_SMALL, (_TWO,) * 4, 15, flat_stages=3),
            patch=(128, 128, 128),
            description="S3 read to match its printed 5.22 M: 1x3x3 in three stages",
        ),
        _teacher(
            "s4-teacher",
            (_PLANE, *(_TWO,) * 4),
            0,
            "S4 teacher, matches the printed 31.2 M: 3x3x3 in the first stage",
        ),
        _teacher("s4-teacher-flat", (_PLANE, *(_TWO,) * 4), 1, "S4 teacher, 1x3x3 first stage"),
        _teacher(
            "s4-teacher-flat-shallow",
            (_PLANE, _TWO, _TWO, _TWO, _PLANE),
            1,
            "S4 teacher, 1x3x3 first stage, z halved three times instead of four",
        ),
        Preset(
            name="s4-student",
            config=_FLARE22_SMALL,
            patch=(32, 128, 192),
            description="S4 student: the small net of FLARE22's winner",
        ),
        Preset(
            name="flare22-small",
            config=_FLARE22_SMALL,
            patch=(32, 128, 192),
            description="FLARE22 winner, small net",
        ),
        Preset(
            name="flare22-big",
            config=_FLARE22_BIG,
            patch=(48, 224, 224),
            description="FLARE22 winner, big net",
        ),
        Preset(
            name="s5-plain",
            config=_plain(_DEFAULT, (*(_TWO,) * 4, _PLANE), 2),
            patch=(96, 160, 160),
            description="S5 as its text says: nnU-Net's default plain U-Net",
        ),
        Preset(
            name="resenc-m",
            config=_resenc_m(),
            patch=(96, 160, 160),
            description="S5 as its table says: nnU-Net's residual-encoder M",
        ),
        Preset(
            name="mini",
            config=_plain((8, 16, 32, 64), _SWIFT_STRIDES, 15, bias=False),
            patch=(32, 48, 48),
            description="Swift at a third of its width, for the phantom preset mini",
        ),
        Preset(
            name="unit",
            config=_plain((4, 8, 16), (_PLANE, _TWO), 15, bias=False),
            patch=(16, 24, 24),
            description="three tiny stages for tests on the phantom preset unit",
        ),
    )
}
