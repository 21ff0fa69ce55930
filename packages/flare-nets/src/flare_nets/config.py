"""The description of one network: a frozen value that goes to and from a plain dict.

Everything is listed by stage, stage 0 being the finest; sizes are (z, y, x). Nothing here loads
torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from difflib import get_close_matches
from typing import Any, Literal, TypeAlias, cast, get_args

__all__ = ["Architecture", "NetConfig", "Norm", "Size"]

Size: TypeAlias = tuple[int, int, int]
Architecture: TypeAlias = Literal["plain", "residual"]
Norm: TypeAlias = Literal["instance", "batch"]


@dataclass(frozen=True, kw_only=True)
class NetConfig:
    """A 3-D U-Net of nnU-Net's family.

    Parameters
    ----------
    architecture : {"plain", "residual"}
        Encoder of plain convolutions, or of a stem and residual blocks; plain decoder in both.
    in_channels, out_channels : int
        Channels of the image and of the logits, >= 1.
    features : (n,) int
        Channels of every stage, n >= 2.
    kernels : (n, 3) int
        Odd kernel size of every encoder stage.
    strides : (n, 3) int
        Stride that leads into every stage; the first is (1, 1, 1).
    convs : (n,) int
        Convolutions (plain) or blocks of two convolutions (residual) of every encoder stage.
    decoder_convs : (n - 1,) int
        Convolutions of the decoder stage at each resolution, finest first like all other fields.
    decoder_kernels : (n - 1, 3) int, optional
        Kernel of the decoder stages. None: those of the encoder at the same resolution, as nnU-Net
        v2 does. nnU-Net v1 takes the kernel of the next coarser stage: ``kernels[1:]``.
    norm : {"instance", "batch"}
        Normalization after every convolution, with weight and bias, eps 1e-5.
    conv_bias, up_bias, head_bias : bool
        Bias of the 3x3x3 convolutions, the transposed convolutions, the 1x1x1 heads.
    deep_supervision : bool
        A head on every decoder stage; False: on the finest alone.

    Raises
    ------
    ValueError, TypeError
        If a field breaks its rule; the message names field, rule and value.

    Examples
    --------
    >>> config = NetConfig(
    ...     architecture="plain",
    ...     in_channels=1,
    ...     out_channels=15,
    ...     features=(8, 16),
    ...     kernels=((1, 3, 3), (3, 3, 3)),
    ...     strides=((1, 1, 1), (1, 2, 2)),
    ...     convs=(2, 2),
    ...     decoder_convs=(2,),
    ... )
    >>> config.total_stride
    (1, 2, 2)
    >>> NetConfig.from_dict(config.to_dict()) == config
    True
    """

    architecture: Architecture
    in_channels: int
    out_channels: int
    features: tuple[int, ...]
    kernels: tuple[Size, ...]
    strides: tuple[Size, ...]
    convs: tuple[int, ...]
    decoder_convs: tuple[int, ...]
    decoder_kernels: tuple[Size, ...] | None = None
    norm: Norm = "instance"
    conv_bias: bool = True
    up_bias: bool = True
    head_bias: bool = True
    deep_supervision: bool = True

    def __post_init__(self) -> None:
        """Turn lists into tuples and check every rule."""
        _check_choice("architecture", self.architecture, get_args(Architecture))
        _check_choice("norm", self.norm, get_args(Norm))
        for name in ("in_channels", "out_channels"):
            _positive(name, getattr(self, name))
        for name in ("conv_bias", "up_bias", "head_bias", "deep_supervision"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{name} must be True or False, found {getattr(self, name)!r}")
        n = len(_sequence("features", self.features))
        if n < 2:
            raise ValueError(f"features must name at least 2 stages, found {self.features!r}")
        self._store("features", _integers("features", self.features, n))
        self._store("kernels", _sizes("kernels", self.kernels, n, odd=True))
        self._store("strides", _sizes("strides", self.strides, n))
        self._store("convs", _integers("convs", self.convs, n))
        self._store("decoder_convs", _integers("decoder_convs", self.decoder_convs, n - 1))
        if self.decoder_kernels is not None:
            kernels = _sizes("decoder_kernels", self.decoder_kernels, n - 1, odd=True)
            # One spelling for one net, so that equal nets are equal values.
            self._store("decoder_kernels", None if kernels == self.kernels[:-1] else kernels)
        if self.strides[0] != (1, 1, 1):
            raise ValueError(
                f"strides[0] must be (1, 1, 1), found {self.strides[0]}: "
                "the logits have the grid of the input"
            )

    def _store(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)

    @property
    def stages(self) -> int:
        """Number of resolutions, the bottleneck included."""
        return len(self.features)

    @property
    def heads(self) -> int:
        """Number of outputs that ``forward_all`` returns."""
        return self.stages - 1 if self.deep_supervision else 1

    @property
    def decoder_kernel_sizes(self) -> tuple[Size, ...]:
        """Kernel of every decoder stage, finest first, with the default filled in."""
        return self.kernels[:-1] if self.decoder_kernels is None else self.decoder_kernels

    @property
    def total_stride(self) -> Size:
        """Product of all strides: an input must be a multiple of it, axis by axis."""
        z, y, x = (math.prod(stride[axis] for stride in self.strides) for axis in range(3))
        return z, y, x

    def check_patch(self, patch: Sequence[int]) -> Size:
        """Return a patch size as a tuple if the net can take it.

        Parameters
        ----------
        patch : (3,) int
            Size (z, y, x) in voxels.

        Returns
        -------
        (3,) int

        Raises
        ------
        ValueError
            If an axis is no positive multiple of ``total_stride`` (the message names the nearest
            sizes that are), or if instance normalization would see one voxel at the bottleneck.

        Examples
        --------
        >>> from flare_nets.presets import preset
        >>> preset("swift").config.check_patch((32, 130, 192))
        Traceback (most recent call last):
        ...
        ValueError: patch must be a multiple of the total stride (4, 8, 8), found (32, 130, 192);
        nearest valid sizes: y 128 or 136
        """
        z, y, x = (int(size) for size in _sequence("patch", patch, 3))
        found, total = (z, y, x), self.total_stride
        nearest = [
            f"{axis} {_nearest_multiples(size, step)}"
            for axis, size, step in zip("zyx", found, total, strict=True)
            if size < 1 or size % step
        ]
        if nearest:
            raise ValueError(
                f"patch must be a multiple of the total stride {total}, found {found}; "
                f"nearest valid sizes: {', '.join(nearest)}"
            )
        if self.norm == "instance" and found == total:
            raise ValueError(
                "patch must leave over one voxel at the bottleneck for instance normalization, "
                f"found {found} with total stride {total}; double one axis"
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a dict of numbers, strings and lists, ready for JSON."""
        return {name: _listed(value) for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> NetConfig:
        """Build a config from what ``to_dict`` returned.

        Raises
        ------
        ValueError
            If a field is missing or unknown; an unknown one is answered with the nearest name.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else f"; known are {', '.join(known)}"
                raise ValueError(f"net config has no field {name!r}{hint}")
        missing = [name for name in known[:8] if name not in values]
        if missing:
            raise ValueError(f"net config lacks the field(s) {', '.join(missing)}")
        return cls(**values)


def _check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, found {value!r}")


def _sequence(name: str, values: object, length: int | None = None) -> Sequence[Any]:
    if isinstance(values, str) or not isinstance(values, Sequence):
        raise TypeError(f"{name} must be a sequence, found {values!r}")
    if length is not None and len(values) != length:
        raise ValueError(f"{name} must have {length} entries, found {len(values)}: {values!r}")
    return values


def _positive(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be an integer, found {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be >= 1, found {value}")
    return value


def _integers(name: str, values: object, length: int) -> tuple[int, ...]:
    entries = enumerate(_sequence(name, values, length))
    return tuple(_positive(f"{name}[{index}]", value) for index, value in entries)


def _sizes(name: str, values: object, length: int, *, odd: bool = False) -> tuple[Size, ...]:
    rows = enumerate(_sequence(name, values, length))
    sizes = tuple(cast(Size, _integers(f"{name}[{index}]", row, 3)) for index, row in rows)
    for index, size in enumerate(sizes):
        if odd and not all(edge % 2 for edge in size):
            raise ValueError(f"{name}[{index}] must be odd in every axis, found {size}")
    return sizes


def _nearest_multiples(size: int, step: int) -> str:
    below = size // step * step
    return f"{below} or {below + step}" if below > 0 else f"{step}"


def _listed(value: object) -> object:
    return [_listed(entry) for entry in value] if isinstance(value, tuple) else value
