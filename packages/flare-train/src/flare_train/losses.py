"""Soft Dice and cross entropy, with deep supervision.

Logits are (b, c, z, y, x) and targets (b, z, y, x) integers, the channel that each voxel belongs
to; channel 0 is the background. Everything is computed in float32 at least, whatever precision the
network ran in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "cross_entropy_loss",
    "deep_supervision_loss",
    "deep_supervision_weights",
    "dice_cross_entropy_loss",
    "soft_dice_loss",
]


def soft_dice_loss(
    logits: Tensor, targets: Tensor, *, batch_dice: bool = False, smooth: float = 1e-5
) -> Tensor:
    """Return minus the mean soft Dice of the foreground channels.

    Parameters
    ----------
    logits : (b, c, z, y, x) floating tensor
        Scores before the softmax, at least two channels.
    targets : (b, z, y, x) integer tensor
        Channel of each voxel.
    batch_dice : bool, optional
        Sum over the batch before the ratio is taken, as if it were one volume; else one Dice per
        sample.
    smooth : float, optional
        Added to both sides of the ratio. A class that is absent and predicted nowhere scores 1.

    Returns
    -------
    scalar tensor
        In [-1, 0); -1 is full agreement.

    Raises
    ------
    ValueError
        If there is no foreground channel or the grids differ.

    Notes
    -----
    Per channel ``(2 sum p t + smooth) / (sum p + sum t + smooth)`` with p the softmax and t the
    one-hot target.
    Memory: one array as large as the logits.

    References
    ----------
    Drozdzal et al., *The importance of skip connections in biomedical image segmentation*, 2016,
    in the form of Isensee et al., *nnU-Net*, Nature Methods 2021 (background left out, sign
    turned).

    Examples
    --------
    >>> sure = torch.tensor([[20.0, -20.0], [-20.0, 20.0]]).reshape(1, 2, 1, 1, 2)
    >>> round(soft_dice_loss(sure, torch.tensor([0, 1]).reshape(1, 1, 1, 2)).item(), 4)
    -1.0
    """
    _check_grids(logits, targets)
    probabilities = torch.softmax(_at_least_float32(logits), dim=1)[:, 1:]
    one_hot = _one_hot_foreground(targets, probabilities)
    axes = (0, 2, 3, 4) if batch_dice else (2, 3, 4)
    overlap = (probabilities * one_hot).sum(axes)
    sizes = probabilities.sum(axes) + one_hot.sum(axes)
    return -((2 * overlap + smooth) / (sizes + smooth)).mean()


def cross_entropy_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Return the cross entropy, averaged over all voxels of the batch.

    Examples
    --------
    >>> even = torch.zeros(1, 2, 1, 1, 2)
    >>> round(cross_entropy_loss(even, torch.tensor([0, 1]).reshape(1, 1, 1, 2)).item(), 4)  # ln 2
    0.6931
    """
    _check_grids(logits, targets)
    return F.cross_entropy(_at_least_float32(logits), targets.long())


def dice_cross_entropy_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    dice_weight: float = 1.0,
    cross_entropy_weight: float = 1.0,
    batch_dice: bool = False,
    smooth: float = 1e-5,
) -> Tensor:
    """Return the weighted sum of `soft_dice_loss` and `cross_entropy_loss`.

    Examples
    --------
    >>> even = torch.zeros(1, 2, 1, 1, 2)  # p = 1/2: Dice (2 * 0.5) / (1 + 1), entropy ln 2
    >>> round(dice_cross_entropy_loss(even, torch.tensor([0, 1]).reshape(1, 1, 1, 2)).item(), 4)
    0.1931
    """
    dice = soft_dice_loss(logits, targets, batch_dice=batch_dice, smooth=smooth)
    return dice_weight * dice + cross_entropy_weight * cross_entropy_loss(logits, targets)


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


def deep_supervision_loss(
    logits: Sequence[Tensor],
    targets: Tensor,
    *,
    dice_weight: float = 1.0,
    cross_entropy_weight: float = 1.0,
    batch_dice: bool = False,
    smooth: float = 1e-5,
) -> Tensor:
    """Return the weighted loss over all outputs of a decoder.

    Parameters
    ----------
    logits : sequence of (b, c, z', y', x') tensors
        Finest first; the finest lies on the grid of `targets`.
    targets : (b, z, y, x) integer tensor
        Brought to each coarser grid by nearest neighbor, so no new label can appear.

    Returns
    -------
    scalar tensor
        Weighted by `deep_supervision_weights`. An output of weight 0 is not evaluated and gets no
        gradient.
    """
    total = torch.zeros((), device=targets.device)
    for level, weight in zip(logits, deep_supervision_weights(len(logits)), strict=True):
        if weight == 0:
            continue
        total = total + weight * dice_cross_entropy_loss(
            level,
            _nearest(targets, level.shape[2:]),
            dice_weight=dice_weight,
            cross_entropy_weight=cross_entropy_weight,
            batch_dice=batch_dice,
            smooth=smooth,
        )
    return total


def _nearest(targets: Tensor, shape: Sequence[int]) -> Tensor:
    if targets.shape[1:] == torch.Size(shape):
        return targets
    # float32 holds every label below 2**24 exactly.
    resized = F.interpolate(targets[:, None].float(), size=list(shape), mode="nearest-exact")
    return resized[:, 0].to(targets.dtype)


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits if logits.dtype == torch.float64 else logits.float()


def _one_hot_foreground(targets: Tensor, like: Tensor) -> Tensor:
    channels = torch.arange(1, like.shape[1] + 1, device=targets.device).view(1, -1, 1, 1, 1)
    return (targets[:, None] == channels).to(like.dtype)


def _check_grids(logits: Tensor, targets: Tensor) -> None:
    if logits.ndim != 5 or logits.shape[1] < 2:
        raise ValueError(
            "logits must be (b, c, z, y, x) with at least 2 channels, got shape "
            f"{tuple(logits.shape)}"
        )
    expected = (logits.shape[0], *logits.shape[2:])
    if tuple(targets.shape) != expected:
        raise ValueError(
            f"targets must have shape {expected} like the logits, got {tuple(targets.shape)}"
        )
