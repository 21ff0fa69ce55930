"""Weights and targets of the outputs of a decoder."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["deep_supervision_weights", "nearest_codes"]


def deep_supervision_weights(outputs: int) -> tuple[float, ...]:
    """Return the weight of each output of a decoder, finest first.

    Halved from one output to the next, the coarsest set to 0, the sum made 1.

    Parameters
    ----------
    outputs : int
        Number of outputs, >= 1. A single one has weight 1.

    References
    ----------
    nnU-Net v2, `nnUNetTrainer._build_loss`.

    Examples
    --------
    >>> [round(weight, 3) for weight in deep_supervision_weights(5)]
    [0.533, 0.267, 0.133, 0.067, 0.0]
    """
    if outputs < 1:
        raise ValueError(f"outputs must be >= 1, got {outputs}")
    if outputs == 1:
        return (1.0,)
    weights = [0.5**level for level in range(outputs - 1)] + [0.0]
    return tuple(weight / sum(weights) for weight in weights)


def nearest_codes(codes: Tensor, shape: Sequence[int]) -> Tensor:
    """Bring integer codes (b, z, y, x) to another grid by nearest neighbor: none can appear.

    Examples
    --------
    >>> nearest_codes(torch.arange(4, dtype=torch.uint8).reshape(1, 1, 1, 4), (1, 1, 2)).flatten()
    tensor([1, 3], dtype=torch.uint8)
    """
    if codes.shape[1:] == torch.Size(shape):
        return codes
    # float32 holds every code below 2**24 exactly.
    resized = F.interpolate(codes[:, None].float(), size=list(shape), mode="nearest-exact")
    return resized[:, 0].to(codes.dtype)
