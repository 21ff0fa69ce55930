"""Cross entropy and soft Dice of a softmax, plain or with unannotated classes made background."""

from __future__ import annotations

import torch
from torch import Tensor

from flare_train.loss_config import LossConfig
from flare_train.losses.dice import Overlap, dice_term
from flare_train.losses.exclusion import exclusion_term
from flare_train.losses.terms import Term, mean_term

__all__ = ["marginal_logits", "marginal_targets", "softmax_terms"]


def softmax_terms(
    logits: Tensor, targets: Tensor, weights: Tensor | None, counted: Tensor, config: LossConfig
) -> list[Term]:
    """Return the terms of one output with a softmax over its channels.

    Parameters
    ----------
    logits : (b, c, z, y, x) floating tensor
        Channel 0 is the background.
    targets : (b, z, y, x) int64 tensor
        Channel of each voxel; anything in [0, c) where the weight is 0.
    weights : (b, z, y, x) floating tensor or None
        Of each voxel; None: 1.
    counted : (b, c) bool tensor
        Channels the sample says something about; the others are one class with the background
        (marginal loss). All True: plain Dice and cross entropy.
    config : LossConfig

    Notes
    -----
    Cross entropy: ``- sum w log p_t / sum w`` over all voxels of the batch. Dice: of the counted
    foreground channels, its sums weighted by w; see `dice_term`. As nnU-Net does, the background
    has no Dice, so that with all classes counted the marginal loss is the plain one.

    References
    ----------
    Isensee et al., *nnU-Net*, Nature Methods 2021. Shi et al., *Marginal loss and exclusion loss
    for partially supervised multi-organ segmentation*, Medical Image Analysis 2021.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    marginal = config.masks
    merged = marginal_logits(logits, counted) if marginal else logits
    shown = marginal_targets(targets, counted) if marginal else targets
    log_p = torch.log_softmax(merged, 1)
    picked = log_p.gather(1, shown[:, None])[:, 0]
    terms = []
    if config.cross_entropy_weight:
        total = -(picked if weights is None else picked * weights).sum()
        count = total.new_full((), picked.numel()) if weights is None else weights.sum()
        terms.append(mean_term(total, count, weight=config.cross_entropy_weight))
    if config.dice_weight:
        overlap = _overlap(log_p, picked, shown, weights)
        active = _with_voxels(counted[:, 1:], weights)
        terms.append(dice_term(overlap, active, config, weight=config.dice_weight))
    if config.exclusion_weight:
        terms.append(exclusion_term(logits, shown, weights, counted, config))
    return terms


def marginal_logits(logits: Tensor, counted: Tensor) -> Tensor:
    """Return logits in which channel 0 holds the background and all channels that do not count.

    Their softmax gives channel 0 the sum of the merged probabilities, the merged channels 0 and
    all others what they had.

    Parameters
    ----------
    logits : (b, c, z, y, x) floating tensor
    counted : (b, c) bool tensor
        Channel 0 is merged whatever it says here.

    Examples
    --------
    >>> even = torch.zeros(1, 3, 1, 1, 1)
    >>> merged = marginal_logits(even, torch.tensor([[True, True, False]]))
    >>> torch.softmax(merged, 1).flatten()
    tensor([0.6667, 0.3333, 0.0000])
    """
    separate = counted.clone()
    separate[:, 0] = False
    keep = separate[:, :, None, None, None]
    nothing = float("-inf")
    background = torch.logsumexp(logits.masked_fill(keep, nothing), 1, keepdim=True)
    return torch.cat([background, logits.masked_fill(~keep, nothing)[:, 1:]], 1)


def marginal_targets(targets: Tensor, counted: Tensor) -> Tensor:
    """Return the targets with background in place of channels that do not count."""
    batch = torch.arange(len(targets), device=targets.device)[:, None, None, None]
    return targets * counted[batch, targets]


def _overlap(log_p: Tensor, picked: Tensor, targets: Tensor, weights: Tensor | None) -> Overlap:
    p = log_p[:, 1:].exp()
    predicted = (p if weights is None else p * weights[:, None]).sum((2, 3, 4))
    hit = picked.exp()
    both = _sum_by_channel(hit if weights is None else hit * weights, targets, log_p.shape[1])
    ones = torch.ones_like(hit) if weights is None else weights.to(hit.dtype)
    reference = _sum_by_channel(ones, targets, log_p.shape[1])
    return Overlap(both[:, 1:], predicted, reference[:, 1:])


def _sum_by_channel(values: Tensor, targets: Tensor, channels: int) -> Tensor:
    """Return (b, channels), the sums of the voxels of each channel."""
    if values.device.type == "cpu":
        # Half the time of comparing with every channel; one running sum each needs float64.
        sums = torch.zeros(len(values), channels, dtype=torch.float64)
        flat = values.flatten(1).double()
        return sums.scatter_add(1, targets.flatten(1), flat).to(values.dtype)
    index = torch.arange(channels, device=values.device).view(1, -1, 1, 1, 1)
    return torch.where(targets[:, None] == index, values[:, None], 0).sum((2, 3, 4))


def _with_voxels(active: Tensor, weights: Tensor | None) -> Tensor:
    """Leave out samples none of whose voxels count."""
    return active if weights is None else active & (weights.flatten(1).sum(1) > 0)[:, None]
