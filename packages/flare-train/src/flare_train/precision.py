"""In which numbers a net computes, and what that needs."""

from __future__ import annotations

import torch

from flare_train.config import TrainConfig

__all__ = ["autocast", "build_scaler", "has_bfloat16", "refuse_broken_gradient"]

_NARROW = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def autocast(config: TrainConfig, device: torch.device) -> torch.autocast:
    """Return the context in which the net computes in ``config.precision``.

    On a CPU without bfloat16 the net computes in float32, as imitated bfloat16 would be slower and
    less exact.
    """
    kind = _NARROW.get(config.precision)
    if device.type == "cpu" and kind is torch.bfloat16 and not has_bfloat16():
        kind = None
    return torch.autocast(device.type, kind or torch.bfloat16, enabled=kind is not None)


def has_bfloat16() -> bool:
    """Return whether the processor multiplies in bfloat16; False if this torch cannot tell."""
    known = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return any(known.get(name, False) for name in ("avx512_bf16", "amx_bf16", "bf16"))


def build_scaler(config: TrainConfig, device: torch.device) -> torch.amp.GradScaler | None:
    """Return what keeps small gradients above 0 in float16; other precisions need nothing."""
    return torch.amp.GradScaler(device.type) if config.precision == "float16" else None


def refuse_broken_gradient(config: TrainConfig, device: torch.device) -> None:
    """Refuse settings whose gradient cannot be trusted.

    Raises
    ------
    ValueError
        In bfloat16 on a CPU with two slices at a stage of the net.

    Notes
    -----
    On a CPU in bfloat16, torch 2.13 (oneDNN) fills the weight gradient of a 3 x 3 x 3 convolution
    over exactly two slices with whatever memory held before, infinity included.
    """
    if device.type != "cpu" or config.precision != "bfloat16":
        return
    slices = config.patch[0]
    for stride, kernel in zip(config.net.strides, config.net.kernels, strict=True):
        slices //= stride[0]
        if slices == 2 and kernel[0] > 1:
            raise ValueError(
                f"patch {config.patch} leaves two slices at a stage of the net, whose gradient is "
                "wrong in bfloat16 on a CPU; use precision = 'float32' or twice the slices"
            )
