"""Soft Dice from three sums per sample and channel."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from flare_train.loss_config import LossConfig
from flare_train.losses.terms import Term

__all__ = ["Overlap", "dice_term"]


@dataclass(frozen=True)
class Overlap:
    """How predicted and true channels meet, each (b, k).

    Parameters
    ----------
    both, predicted, reference : (b, k) floating tensors
        Sums over the voxels of ``p t``, ``p`` and ``t``.
    """

    both: Tensor
    predicted: Tensor
    reference: Tensor


def dice_term(overlap: Overlap, active: Tensor, config: LossConfig, *, weight: float) -> Term:
    """Return minus the soft Dice over what is active.

    Parameters
    ----------
    overlap : Overlap
    active : (b, k) bool tensor
        Samples and channels that count. What does not count gets a gradient of exactly 0.
    config : LossConfig
        ``batch_dice``: one ratio per channel, over the samples in which it is active. ``dice_mean``
        and ``reduction``: how the ratios are averaged.
    weight : float

    Notes
    -----
    Per ratio ``(2 sum p t + smooth) / (sum p + sum t + smooth)``, so a class that is absent and
    predicted nowhere scores 1. If nothing is active the term is 0 (-1 with ``dice_mean = "all"``).

    References
    ----------
    Drozdzal et al., *The importance of skip connections in biomedical image segmentation*, 2016,
    in the form of Isensee et al., *nnU-Net*, Nature Methods 2021 (sign turned); masked as Equation
    3 of the partial loss of FLARE 2023 (S3), summed over classes as MultiTalent (Ulrich et al.
    2023).

    Examples
    --------
    >>> one = torch.ones(1, 2)
    >>> term = dice_term(
    ...     Overlap(one, one * 2, one), torch.tensor([[True, False]]), LossConfig(), weight=1
    ... )
    >>> round(term.value(term.sums).item(), 4)  # - 2 / 3
    -0.6667
    """
    kept = active.to(overlap.both.dtype)
    if config.batch_dice:
        ones = torch.ones_like(kept)
        sums = torch.stack([overlap.both, overlap.predicted, overlap.reference, ones])
        packed = (sums * kept).sum(1).flatten()
        return Term(packed, lambda packed: _batch_dice(packed, config), weight)
    ratios = _ratios(overlap.both, overlap.predicted, overlap.reference, config.smooth)
    every, samples = kept.new_full((), kept.numel()), kept.new_full((), len(kept))
    packed = torch.stack([(ratios * kept).sum(), kept.sum(), every, samples])
    return Term(packed, lambda packed: _mean(*packed.unbind(), config=config), weight)


def _batch_dice(packed: Tensor, config: LossConfig) -> Tensor:
    both, predicted, reference, samples = packed.view(4, -1)
    kept = (samples > 0).to(both.dtype)
    total = (_ratios(both, predicted, reference, config.smooth) * kept).sum()
    return _mean(total, kept.sum(), kept.new_full((), len(kept)), kept.new_ones(()), config=config)


def _ratios(both: Tensor, predicted: Tensor, reference: Tensor, smooth: float) -> Tensor:
    return (2 * both + smooth) / (predicted + reference + smooth)


def _mean(
    total: Tensor, active: Tensor, every: Tensor, samples: Tensor, *, config: LossConfig
) -> Tensor:
    """Minus the mean (or the sum over classes) of ratios with the sum `total`."""
    count = active
    if config.dice_mean == "all":
        total, count = total + (every - active), every
    divisor = samples if config.reduction == "sum" else count
    return -total / torch.where(divisor > 0, divisor, 1)
