"""The network of an nnU-Net v2 plans file as a config. Nothing here loads torch.

Both formats are read: ``architecture.arch_kwargs`` (nnU-Net 2.4 and later) and the older
``UNet_class_name`` with ``conv_kernel_sizes`` and friends. What the config cannot say is refused by
name, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from flare_nets.config import Architecture, NetConfig, Norm, Size

__all__ = ["config_from_plans"]

_ARCHITECTURES: dict[str, Architecture] = {
    "PlainConvUNet": "plain",
    "ResidualEncoderUNet": "residual",
}
_NORMS: dict[str, Norm] = {"InstanceNorm3d": "instance", "BatchNorm3d": "batch"}
_COUNT_KEYS: dict[Architecture, str] = {
    "plain": "n_conv_per_stage",
    "residual": "n_blocks_per_stage",
}
_CHECKED_KEYS = {
    *("n_stages", "features_per_stage", "conv_op", "kernel_sizes", "strides", "conv_bias"),
    *("n_conv_per_stage_decoder", "norm_op", "norm_op_kwargs", "dropout_op", "dropout_op_kwargs"),
    *("nonlin", "nonlin_kwargs", "nonlin_first", "deep_supervision", "block"),
    *("bottleneck_channels", "stem_channels"),
}


def config_from_plans(
    plans: Mapping[str, Any], configuration: str, *, in_channels: int, out_channels: int
) -> NetConfig:
    """Return the net of one configuration of an nnU-Net v2 plans file.

    Parameters
    ----------
    plans : mapping
        What ``plans.json`` holds.
    configuration : str
        A key of ``plans["configurations"]``, such as ``"3d_fullres"``; what it inherits counts.
    in_channels, out_channels : int
        Image channels and logits (labels, or regions), which stand in ``dataset.json``.

    Returns
    -------
    NetConfig
        With heads on all decoder stages, as every checkpoint of nnU-Net holds them.

    Raises
    ------
    ValueError
        If the configuration is missing, or the net has something that ``NetConfig`` cannot say:
        another class, two dimensions, dropout, another activation or normalization. The message
        names it.

    Examples
    --------
    >>> kwargs = {
    ...     "features_per_stage": [8, 16],
    ...     "conv_op": "torch.nn.modules.conv.Conv3d",
    ...     "kernel_sizes": [[1, 3, 3], [3, 3, 3]],
    ...     "strides": [[1, 1, 1], [1, 2, 2]],
    ...     "n_stages": 2,
    ...     "n_conv_per_stage": 2,
    ...     "n_conv_per_stage_decoder": 2,
    ...     "conv_bias": True,
    ...     "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
    ...     "norm_op_kwargs": {"eps": 1e-05, "affine": True},
    ...     "nonlin": "torch.nn.LeakyReLU",
    ... }
    >>> architecture = {"network_class_name": "unet.PlainConvUNet", "arch_kwargs": kwargs}
    >>> plans = {"configurations": {"3d_fullres": {"architecture": architecture}}}
    >>> config_from_plans(plans, "3d_fullres", in_channels=1, out_channels=3).features
    (8, 16)
    """
    chosen = _resolve(plans, configuration)
    if "architecture" in chosen:
        name = str(chosen["architecture"].get("network_class_name", ""))
        kwargs = dict(chosen["architecture"].get("arch_kwargs", {}))
    else:
        name, kwargs = _old_format(chosen)
    architecture = _ARCHITECTURES.get(_last(name))
    if architecture is None:
        raise ValueError(
            f"plans: network class must be one of {', '.join(_ARCHITECTURES)}, found {name!r}"
        )
    _refuse_unsupported(kwargs, architecture)
    n = int(_required(kwargs, "n_stages"))
    bias = bool(kwargs.get("conv_bias", False))
    # nnU-Net counts decoder stages from the deepest.
    decoder_convs = _per_stage(_required(kwargs, "n_conv_per_stage_decoder"), n - 1)[::-1]
    return NetConfig(
        architecture=architecture,
        in_channels=in_channels,
        out_channels=out_channels,
        features=_per_stage(_required(kwargs, "features_per_stage"), n),
        kernels=_sizes(_required(kwargs, "kernel_sizes"), n),
        strides=_sizes(_required(kwargs, "strides"), n),
        convs=_per_stage(_required(kwargs, _COUNT_KEYS[architecture]), n),
        decoder_convs=decoder_convs,
        norm=_NORMS[_last(kwargs["norm_op"])],
        conv_bias=bias,
        up_bias=bias,
        head_bias=True,
    )


def _resolve(plans: Mapping[str, Any], configuration: str) -> dict[str, Any]:
    """Return a configuration with everything that it inherits."""
    configurations = plans.get("configurations", {})
    chain: list[str] = []
    merged: dict[str, Any] = {}
    name: str | None = configuration
    while name is not None:
        if name in chain:
            raise ValueError(f"plans: configurations inherit in a circle: {' -> '.join(chain)}")
        if name not in configurations:
            known = ", ".join(configurations) or "none"
            raise ValueError(f"plans: no configuration is named {name!r}; there are: {known}")
        chain.append(name)
        merged = {**configurations[name], **merged}
        name = configurations[name].get("inherits_from")
    return merged


def _old_format(chosen: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Translate the keys that nnU-Net wrote before version 2.4."""
    name = str(chosen.get("UNet_class_name", ""))
    counts = _required(chosen, "n_conv_per_stage_encoder")
    base, cap = (
        _required(chosen, "UNet_base_num_features"),
        _required(chosen, "unet_max_num_features"),
    )
    count_key = _COUNT_KEYS[_ARCHITECTURES.get(name, "plain")]
    return name, {
        "n_stages": len(counts),
        "features_per_stage": [min(base * 2**s, cap) for s in range(len(counts))],
        "conv_op": f"Conv{len(_required(chosen, 'patch_size'))}d",
        "kernel_sizes": _required(chosen, "conv_kernel_sizes"),
        "strides": _required(chosen, "pool_op_kernel_sizes"),
        count_key: counts,
        "n_conv_per_stage_decoder": _required(chosen, "n_conv_per_stage_decoder"),
        "conv_bias": True,
        "norm_op": "InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "nonlin": "LeakyReLU",
    }


def _refuse_unsupported(kwargs: Mapping[str, Any], architecture: Architecture) -> None:
    """Raise for every option whose value would give another net than the config describes."""
    for key in kwargs:
        if key not in _CHECKED_KEYS and key != _COUNT_KEYS[architecture]:
            raise ValueError(f"plans: arch_kwargs has an unknown option {key!r} = {kwargs[key]!r}")
    norm_op = kwargs.get("norm_op")
    norm_kwargs = kwargs.get("norm_op_kwargs") or {}
    affine_by_default = _last(norm_op) == "BatchNorm3d"
    slope = (kwargs.get("nonlin_kwargs") or {}).get("negative_slope", 0.01)
    features = kwargs.get("features_per_stage")
    first = features[0] if isinstance(features, Sequence) else features
    stem = kwargs.get("stem_channels")
    rules = (
        (
            "conv_op",
            _last(kwargs.get("conv_op")) == "Conv3d",
            "Conv3d (2-D nets are not supported)",
        ),
        ("norm_op", _last(norm_op) in _NORMS, f"one of {', '.join(_NORMS)}"),
        (
            "norm_op_kwargs",
            set(norm_kwargs) <= {"eps", "affine", "momentum", "track_running_stats"}
            and norm_kwargs.get("eps", 1e-5) == 1e-5
            and norm_kwargs.get("affine", affine_by_default) is True
            and norm_kwargs.get("momentum", 0.1) == 0.1
            and norm_kwargs.get("track_running_stats", affine_by_default) is affine_by_default,
            "eps 1e-5, affine, default statistics",
        ),
        ("dropout_op", kwargs.get("dropout_op") is None, "null"),
        ("nonlin", _last(kwargs.get("nonlin")) == "LeakyReLU", "LeakyReLU"),
        ("nonlin_kwargs", slope == 0.01, "negative_slope 0.01"),
        ("nonlin_first", not kwargs.get("nonlin_first", False), "false"),
        ("block", _last(kwargs.get("block") or "BasicBlockD") == "BasicBlockD", "BasicBlockD"),
        ("bottleneck_channels", kwargs.get("bottleneck_channels") is None, "null"),
        ("stem_channels", stem is None or stem == first, "null"),
    )
    for key, holds, wanted in rules:
        if not holds:
            raise ValueError(f"plans: {key} must be {wanted}, found {kwargs.get(key)!r}")


def _required(values: Mapping[str, Any], key: str) -> Any:
    if key not in values:
        raise ValueError(f"plans: the configuration lacks {key!r}")
    return values[key]


def _last(name: object) -> str:
    return str(name).rsplit(".", 1)[-1]


def _per_stage(value: int | Sequence[int], n: int) -> tuple[int, ...]:
    return (value,) * n if isinstance(value, int) else tuple(value)


def _sizes(value: int | Sequence[int | Sequence[int]], n: int) -> tuple[Size, ...]:
    rows = [value] * n if isinstance(value, int) else value
    return tuple(cast(Size, (row,) * 3 if isinstance(row, int) else tuple(row)) for row in rows)
