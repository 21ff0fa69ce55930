"""What nnU-Net calls each of our tensors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from flare_nets.config import NetConfig

__all__ = ["foreign_names"]


def foreign_names(
    config: NetConfig, names: Sequence[str], *, layout: Literal["nnunet-v2", "nnunet-v1"]
) -> dict[str, tuple[str, ...]]:
    """Map each of our names to its foreign names, the one to trust first, then its copies.

    Raises
    ------
    ValueError
        If nnU-Net v1 has no such net: residual, or a stage with a single convolution.
    """
    if layout == "nnunet-v2":
        return {name: _v2(name, config) for name in names}
    if config.architecture != "plain":
        raise ValueError("nnunet-v1 holds plain U-Nets only, found architecture 'residual'")
    if config.convs[-1] < 2 or min(config.decoder_convs) < 2:
        raise ValueError(
            "nnunet-v1 needs at least 2 convolutions at the bottleneck and in the decoder, "
            f"found {config.convs[-1]} and {min(config.decoder_convs)}"
        )
    return {name: (_v1(name, config),) for name in names}


def _v2(name: str, config: NetConfig) -> tuple[str, ...]:
    part, *path = name.split(".")
    deepest = config.stages - 2
    if part in ("up", "heads"):
        stage, leaf = path
        foreign = {"up": "transpconvs", "heads": "seg_layers"}[part]
        return (f"decoder.{foreign}.{deepest - int(stage)}.{leaf}",)
    if part == "decoder":
        stage, conv, op, leaf = path
        return _v2_conv(f"decoder.stages.{deepest - int(stage)}.convs.{conv}", op, leaf)
    if part == "stem":
        prefix, op, leaf = "encoder.stem.convs.0", *path
    elif config.architecture == "plain":
        stage, conv, op, leaf = path
        prefix = f"encoder.stages.{stage}.0.convs.{conv}"
    else:
        stage, block, role, op, leaf = path
        inside = {"first": "conv1", "second": "conv2", "skip": _v2_skip(config, stage, block)}[role]
        prefix = f"encoder.stages.{stage}.blocks.{block}.{inside}"
    once = _v2_conv(prefix, op, leaf)
    return (*once, *(f"decoder.{copy}" for copy in once))


def _v2_skip(config: NetConfig, stage: str, block: str) -> str:
    # A pooling in front of the projection takes place 0 of the sequence.
    pools = block == "0" and config.strides[int(stage)] != (1, 1, 1)
    return f"skip.{int(pools)}"


def _v2_conv(prefix: str, op: str, leaf: str) -> tuple[str, str]:
    place = {"conv": 0, "norm": 1}[op]
    return f"{prefix}.{op}.{leaf}", f"{prefix}.all_modules.{place}.{leaf}"


def _v1(name: str, config: NetConfig) -> str:
    part, stage, *path = name.split(".")
    deepest = config.stages - 2
    if part in ("up", "heads"):
        foreign = {"up": "tu", "heads": "seg_outputs"}[part]
        return f"{foreign}.{deepest - int(stage)}.{path[0]}"
    conv, op, leaf = int(path[0]), {"conv": "conv", "norm": "instnorm"}[path[1]], path[2]
    bottom = part == "encoder" and int(stage) == config.stages - 1
    if part == "encoder" and not bottom:
        return f"conv_blocks_context.{stage}.blocks.{conv}.{op}.{leaf}"
    # Bottleneck and decoder keep their last convolution in a stack of its own.
    last = (config.convs[-1] if bottom else config.decoder_convs[int(stage)]) - 1
    inside = "1.blocks.0" if conv == last else f"0.blocks.{conv}"
    if bottom:
        return f"conv_blocks_context.{stage}.{inside}.{op}.{leaf}"
    return f"conv_blocks_localization.{deepest - int(stage)}.{inside}.{op}.{leaf}"
