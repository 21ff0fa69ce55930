"""Exclusion loss: what a case does not annotate cannot lie where it annotates something else."""

from __future__ import annotations

import torch
from torch import Tensor

from flare_train.loss_config import LossConfig
from flare_train.losses.terms import Term, mean_term

__all__ = ["exclusion_term"]


def exclusion_term(
    logits: Tensor, targets: Tensor, weights: Tensor | None, counted: Tensor, config: LossConfig
) -> Term:
    """Return the overlap of unannotated classes with the annotated foreground.

    Parameters
    ----------
    logits : (b, c, z, y, x) floating tensor
        Of the net, nothing merged.
    targets : (b, z, y, x) int64 tensor
        0 where no counted class lies.
    weights : (b, z, y, x) floating tensor or None
        Of each voxel; None: 1.
    counted : (b, c) bool tensor
    config : LossConfig
        Its ``dice_weight`` and ``cross_entropy_weight`` weigh the two parts.

    Notes
    -----
    With e the annotated foreground and p the probability of an unannotated class: the Dice
    ``2 sum p e / (sum p + sum e + smooth)``, and ``mean e log(1 + p)``, which unlike ``log p`` has
    a floor. Averaged over the pairs of sample and unannotated class; 0 if there is none.
    Cost: one softmax and two arrays as large as the logits.

    References
    ----------
    Shi et al., *Marginal loss and exclusion loss for partially supervised multi-organ
    segmentation*, Medical Image Analysis 2021, with epsilon = 1.
    """
    p = torch.softmax(logits, 1)[:, 1:]
    missing = (~counted[:, 1:]).to(p.dtype)
    taken = (targets > 0).to(p.dtype)
    weight = torch.ones_like(taken) if weights is None else weights.to(p.dtype)
    inside = (taken * weight)[:, None]
    shared = (p * inside).sum((2, 3, 4))
    sizes = (p * weight[:, None]).sum((2, 3, 4)) + inside.sum((2, 3, 4))
    dice = 2 * shared / (sizes + config.smooth)
    voxels = weight.flatten(1).sum(1, keepdim=True)
    entropy = (torch.log1p(p) * inside).sum((2, 3, 4)) / torch.where(voxels > 0, voxels, 1)
    overlap = config.dice_weight * dice + config.cross_entropy_weight * entropy
    return mean_term((overlap * missing).sum(), missing.sum(), weight=config.exclusion_weight)
