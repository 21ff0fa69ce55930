"""Loss on the set of classes that each voxel may be: the general form of partial annotation.

A set is an integer whose bit c is 1 if class c is possible. The factored form (target, annotated
classes) that `segmentation_loss` takes is a special case; `label_sets` makes sets of it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from flare_train.loss_config import IGNORED, LossConfig
from flare_train.losses.dice import Overlap, dice_term
from flare_train.losses.terms import mean_term, total_of_terms

__all__ = ["label_set_loss", "label_sets"]

_MOST_CLASSES = 31


def label_sets(targets: Tensor, counted: Tensor) -> Tensor:
    """Return the set of possible classes of each voxel.

    Parameters
    ----------
    targets : (b, z, y, x) integer tensor
        Class of each voxel, 255 where nothing is known.
    counted : (b, classes) bool tensor
        Classes that the sample's case annotates. A voxel of none of them may be background or
        whatever is not annotated.

    Returns
    -------
    (b, z, y, x) int32 tensor

    Raises
    ------
    ValueError
        If there are more than 31 classes.

    Examples
    --------
    >>> targets = torch.tensor([0, 1, 255]).reshape(1, 1, 1, 3)
    >>> counted = torch.tensor([[True, True, False]])
    >>> [bin(bits) for bits in label_sets(targets, counted).flatten().tolist()]
    ['0b101', '0b10', '0b111']
    """
    classes = counted.shape[1]
    if classes > _MOST_CLASSES:
        raise ValueError(f"label sets hold at most {_MOST_CLASSES} classes, got {classes}")
    bits = 2 ** torch.arange(classes, dtype=torch.int32, device=targets.device)
    open_bits = (bits * ~counted).sum(1).to(torch.int32) | 1
    known = targets.masked_fill(targets == IGNORED, 0).long()
    batch = torch.arange(len(targets), device=targets.device)[:, None, None, None]
    # The background is no evidence against what nobody looked for.
    decided = counted[batch, known] & (known > 0)
    sets = torch.where(decided, bits[known], open_bits[:, None, None, None])
    return sets.masked_fill(targets == IGNORED, 2**classes - 1)


def label_set_loss(logits: Tensor, sets: Tensor, config: LossConfig) -> Tensor:
    """Return cross entropy and Dice of a softmax against sets of possible classes.

    Parameters
    ----------
    logits : (b, c, z, y, x) floating tensor
        Channel 0 is the background.
    sets : (b, z, y, x) integer tensor
        Bit c: class c is possible. A voxel where all are possible is left out.
    config : LossConfig
        Weights, Dice and scale of it.

    Returns
    -------
    scalar tensor

    Raises
    ------
    ValueError
        If a set is empty or holds a class without a channel.

    Notes
    -----
    Cross entropy: minus the log of the summed probability of what is possible. Dice: per sample
    over the foreground classes that are decided in it, that is alone or excluded at every voxel.
    With the sets of `label_sets` this is the marginal loss of `segmentation_loss` (tested).
    A class that is possible everywhere is never pushed down: predicting it in every voxel costs
    nothing. Name a class as possible only where it can be.
    Cost: about three times that of the factored form.

    References
    ----------
    Fidon et al., *Label-set loss functions for partial supervision*, MICCAI 2021.

    Examples
    --------
    >>> even = torch.zeros(1, 3, 1, 1, 1)  # p = 1/3 each; background or class 2: 2/3
    >>> sets = torch.full((1, 1, 1, 1), 0b101)
    >>> round(label_set_loss(even, sets, LossConfig(dice_weight=0)).item(), 4)
    0.4055
    """
    channels = logits.shape[1]
    every = 2**channels - 1
    if sets.numel() and not 0 < int(sets.min()) <= int(sets.max()) <= every:
        raise ValueError(
            f"sets must be non-empty sets of {channels} classes, 1 to {every}, got "
            f"{int(sets.min())} to {int(sets.max())}"
        )
    logits = logits if logits.dtype == torch.float64 else logits.float()
    bits = (2 ** torch.arange(channels, device=sets.device)).view(1, -1, 1, 1, 1)
    possible = (sets[:, None] & bits) > 0
    known = (sets != every)[:, None]
    log_p = torch.log_softmax(logits, 1)
    some = torch.logsumexp(log_p.masked_fill(~possible, float("-inf")), 1)
    weights = known[:, 0].to(log_p.dtype)
    terms = []
    if config.cross_entropy_weight:
        total, count = -(some * weights).sum(), weights.sum()
        terms.append(mean_term(total, count, weight=config.cross_entropy_weight))
    if config.dice_weight:
        alone = (sets[:, None] == bits) & known
        decided = (alone | ~possible | ~known).flatten(2).all(2) & known.flatten(1).any(1)[:, None]
        p = log_p.exp() * known
        overlap = Overlap(
            both=torch.where(alone, p, 0).sum((2, 3, 4))[:, 1:],
            predicted=p.sum((2, 3, 4))[:, 1:],
            reference=alone.to(p.dtype).sum((2, 3, 4))[:, 1:],
        )
        terms.append(dice_term(overlap, decided[:, 1:], config, weight=config.dice_weight))
    return config.scale * total_of_terms(terms)
