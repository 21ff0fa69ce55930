"""Binary cross entropy and soft Dice of independent channels, masked by what a case annotates."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from flare_train.loss_config import LossConfig
from flare_train.losses.dice import Overlap, dice_term
from flare_train.losses.terms import Term, mean_term

__all__ = ["sigmoid_terms"]


def sigmoid_terms(
    logits: Tensor, truth: Tensor, weights: Tensor | None, counted: Tensor, config: LossConfig
) -> list[Term]:
    """Return the terms of one output whose channels each decide for themselves.

    Parameters
    ----------
    logits : (b, k, z, y, x) floating tensor
    truth : (b, k, z, y, x) bool tensor
        Where each channel's class lies.
    weights : (b, z, y, x) floating tensor or None
        Of each voxel; None: 1.
    counted : (b, k) bool tensor
        Channels that the sample's case annotates. The others get a gradient of exactly 0.
    config : LossConfig

    Notes
    -----
    With m the mask, over samples b and channels c:
    ``sum m [ sum_i w BCE / sum_i w - Dice ] / sum m``. ``reduction = "sum"`` divides by the number
    of samples instead, so that a channel weighs the same however many others are masked.
    If nothing counts the terms are 0.

    References
    ----------
    Partial loss of Nanjing University, FLARE 2023 (S3); MultiTalent (Ulrich et al., MICCAI 2023)
    for the sum.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    active = counted
    voxels = logits.new_full((len(logits), 1), logits[0, 0].numel())
    if weights is not None:
        weights = weights.to(logits.dtype)[:, None]
        voxels = weights.flatten(1).sum(1, keepdim=True)
        active = active & (voxels > 0)
    kept = active.to(logits.dtype)
    terms = []
    if config.cross_entropy_weight:
        # softplus(x) - x t is the binary cross entropy of the logit x.
        entropy = _sum(F.softplus(logits), weights) - _sum(torch.where(truth, logits, 0), weights)
        mean = entropy / torch.where(voxels > 0, voxels, 1)
        count = kept.new_full((), len(kept)) if config.reduction == "sum" else kept.sum()
        terms.append(mean_term((mean * kept).sum(), count, weight=config.cross_entropy_weight))
    if config.dice_weight:
        p = torch.sigmoid(logits)
        overlap = Overlap(
            both=_sum(torch.where(truth, p, 0), weights),
            predicted=_sum(p, weights),
            reference=_sum(truth.to(p.dtype), weights),
        )
        terms.append(dice_term(overlap, active, config, weight=config.dice_weight))
    return terms


def _sum(values: Tensor, weights: Tensor | None) -> Tensor:
    return (values if weights is None else values * weights).sum((2, 3, 4))
