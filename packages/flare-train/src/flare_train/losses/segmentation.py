"""The loss of a training step: heads, levels and partial annotation put together."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import torch
from torch import Tensor

from flare_train.loss_config import IGNORED, LossConfig
from flare_train.losses.counting import check_codes, counted_classes, voxel_weights
from flare_train.losses.deep_supervision import deep_supervision_weights, nearest_codes
from flare_train.losses.sigmoid import sigmoid_terms
from flare_train.losses.softmax import softmax_terms
from flare_train.losses.terms import Term, total_of_terms

__all__ = ["segmentation_loss"]


def segmentation_loss(
    levels: Sequence[Tensor],
    targets: Tensor,
    annotated: Tensor,
    config: LossConfig,
    *,
    classes: Sequence[int],
    origins: Tensor | None = None,
) -> Tensor:
    """Return the loss of a batch over all outputs of a decoder.

    Parameters
    ----------
    levels : sequence of (b, c, z', y', x') floating tensors
        Logits, finest first; the finest lies on the grid of `targets`. c is
        ``config.out_channels(classes)``.
    targets : (b, z, y, x) integer tensor
        Index into `classes` of each voxel, 255 where none is known. Brought to coarser grids by
        nearest neighbor.
    annotated : (b, classes) bool tensor
        What the case of each sample annotates, the background always. On any device.
    config : LossConfig
    classes : sequence of int
        Label ids: background 0, then rising.
    origins : (b, z, y, x) integer tensor, optional
        Codes of `flare_fusion.Origin`, for ``config.origin_weights``; without, all ground truth.

    Returns
    -------
    scalar tensor
        Weighted by `deep_supervision_weights`. An output of weight 0 is not evaluated and gets no
        gradient. Finite for finite logits, also if nothing counts. With torch.distributed, the loss
        of the batches of all ranks together, the same on each.

    Raises
    ------
    ValueError
        If shapes or values do not fit each other or the settings.

    Examples
    --------
    >>> even = torch.zeros(1, 2, 1, 1, 2)  # p = 1/2: Dice (2 * 0.5) / (1 + 1), entropy ln 2
    >>> targets = torch.tensor([0, 1]).reshape(1, 1, 1, 2)
    >>> everything = torch.ones(1, 2, dtype=torch.bool)
    >>> loss = segmentation_loss([even], targets, everything, LossConfig(), classes=(0, 1))
    >>> round(loss.item(), 4)
    0.1931
    """
    _check_shapes(levels, targets, annotated, config, classes)
    check_codes(targets, config, channels=len(classes))
    counted = counted_classes(targets, annotated, config, classes=classes)
    shares = deep_supervision_weights(len(levels)) if config.deep_supervision else (1.0,)
    terms: list[Term] = []
    for level, share in zip(levels, shares, strict=False):
        if share == 0:
            continue
        shape = level.shape[2:]
        shown = nearest_codes(targets, shape)
        sources = None if origins is None else nearest_codes(origins, shape)
        weights = voxel_weights(shown, sources, config)
        found = _TERMS[config.head](level, shown, weights, counted, config, classes)
        terms += [dataclasses.replace(term, weight=term.weight * share) for term in found]
    return config.scale * total_of_terms(terms)


def _softmax_head(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    counted: Tensor,
    config: LossConfig,
    classes: Sequence[int],
) -> list[Term]:
    known = targets if weights is None else targets.masked_fill(targets == IGNORED, 0)
    return softmax_terms(logits, known.long(), weights, counted, config)


def _sigmoid_head(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    counted: Tensor,
    config: LossConfig,
    classes: Sequence[int],
) -> list[Term]:
    first = len(classes) - logits.shape[1]
    truth = _one_hot(targets, range(first, len(classes)))
    return sigmoid_terms(logits, truth, weights, counted[:, first:], config)


def _hybrid_head(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    counted: Tensor,
    config: LossConfig,
    classes: Sequence[int],
) -> list[Term]:
    overlay = [i for i, label in enumerate(classes) if label in config.overlay]
    organs = [i for i, label in enumerate(classes) if label not in config.overlay]
    place = torch.full((256,), IGNORED, dtype=torch.uint8, device=targets.device)
    place[organs] = torch.arange(len(organs), dtype=torch.uint8, device=targets.device)
    shown = place[targets.long()]
    known = (shown != IGNORED).float()
    terms = softmax_terms(
        logits[:, _span(organs)],
        shown.masked_fill(shown == IGNORED, 0).long(),
        known if weights is None else weights * known,
        counted[:, organs],
        config,
    )
    over = sigmoid_terms(
        logits[:, _span(overlay)],
        _one_hot(targets, overlay),
        weights,
        counted[:, overlay],
        config,
    )
    weight = config.overlay_weight
    return terms + [dataclasses.replace(term, weight=term.weight * weight) for term in over]


_TERMS = {"softmax": _softmax_head, "sigmoid": _sigmoid_head, "hybrid": _hybrid_head}


def _one_hot(targets: Tensor, channels: Sequence[int]) -> Tensor:
    index = torch.tensor(list(channels), device=targets.device).view(1, -1, 1, 1, 1)
    return targets[:, None] == index


def _span(channels: list[int]) -> slice | list[int]:
    """Neighbors as a slice, which copies nothing."""
    first, last = channels[0], channels[-1]
    return slice(first, last + 1) if last - first == len(channels) - 1 else channels


def _check_shapes(
    levels: Sequence[Tensor],
    targets: Tensor,
    annotated: Tensor,
    config: LossConfig,
    classes: Sequence[int],
) -> None:
    channels = config.out_channels(classes)
    finest = levels[0]
    if finest.ndim != 5 or finest.shape[1] != channels:
        raise ValueError(
            f"levels must be (b, {channels}, z, y, x) for loss.head = {config.head!r} and "
            f"{len(classes)} classes, got shape {tuple(finest.shape)}"
        )
    expected = (finest.shape[0], *finest.shape[2:])
    for name, tensor, shape in (
        ("targets", targets, expected),
        ("annotated", annotated, (finest.shape[0], len(classes))),
    ):
        if tuple(tensor.shape) != shape:
            raise ValueError(
                f"{name} must have shape {shape} to fit levels, got {tuple(tensor.shape)}"
            )
