"""What counts in a batch: which classes of each sample, and how much each voxel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from flare_fusion.rules import Origin
from flare_train.loss_config import IGNORED, LossConfig

__all__ = ["check_codes", "counted_classes", "voxel_weights"]


def counted_classes(
    targets: Tensor, annotated: Tensor, config: LossConfig, *, classes: Sequence[int]
) -> Tensor:
    """Return which classes each sample says something about.

    Parameters
    ----------
    targets : (b, z, y, x) integer tensor
        Index into `classes`, 255 where no class is known.
    annotated : (b, classes) bool tensor
        What the sample's case annotates.
    config : LossConfig
    classes : sequence of int
        Label ids, background first.

    Returns
    -------
    (b, classes) bool tensor
        On the device of `targets`; the background is always True.

    Raises
    ------
    ValueError
        If a class is missing that ``config.partial`` does not allow to be missing.

    Examples
    --------
    >>> config = LossConfig(head="sigmoid", partial="masked", partial_labels=(14,))
    >>> lacks_both = torch.tensor([[True, False, False]])
    >>> counted_classes(torch.zeros(1, 1, 1, 1), lacks_both, config, classes=(0, 1, 14))
    tensor([[ True,  True, False]])
    """
    if config.partial == "refuse" and not bool(annotated.all()):
        lacking = [classes[i] for i in (~annotated.all(0)).nonzero().flatten().tolist()]
        raise ValueError(
            f"loss.partial = 'refuse', but a sample does not annotate the classes {lacking}; "
            "complete its labels, or choose how such classes are learned (loss.partial)"
        )
    if not config.masks:
        return torch.ones_like(annotated, device=targets.device)
    partial = torch.tensor([label > 0 and config.may_lack(label) for label in classes])
    counted = (annotated | ~partial.to(annotated.device)).to(targets.device)
    if config.presence == "patch":
        channels = torch.arange(len(classes), device=targets.device)
        flat = targets.flatten(1)
        present = torch.stack([(flat == channel).any(1) for channel in channels], 1)
        counted &= present | ~partial.to(targets.device)
    return counted


def check_codes(targets: Tensor, config: LossConfig, *, channels: int) -> None:
    """Refuse targets that are no index of a class, 255 excepted where the settings allow it.

    Raises
    ------
    ValueError
        With the value found.
    """
    codes = targets[targets != IGNORED] if config.ignore_label else targets
    highest = int(codes.max()) if codes.numel() else 0
    if highest >= channels:
        hint = "; loss.ignore_label = true leaves such voxels out" if highest == IGNORED else ""
        raise ValueError(
            f"targets must be below {channels}, the number of classes, got {highest}{hint}"
        )


def voxel_weights(targets: Tensor, origins: Tensor | None, config: LossConfig) -> Tensor | None:
    """Return how much each voxel counts, or None where all count 1.

    Parameters
    ----------
    targets : (b, z, y, x) integer tensor
        255 is left out.
    origins : (b, z, y, x) integer tensor or None
        Codes of `flare_fusion.Origin`; None: all ground truth.
    config : LossConfig

    Returns
    -------
    (b, z, y, x) float32 tensor or None

    Examples
    --------
    >>> config = LossConfig(ignore_label=True, origin_weights={"tie": 0.25})
    >>> origins = torch.tensor([0, 6, 6]).reshape(1, 1, 1, 3)
    >>> targets = torch.tensor([0, 1, 255]).reshape(1, 1, 1, 3)
    >>> voxel_weights(targets, origins, config).flatten()
    tensor([1.0000, 0.2500, 0.0000])
    """
    weights = None
    if config.origin_weights:
        if origins is None:
            origins = torch.full_like(targets, int(Origin.GROUND_TRUTH))
        weights = _weight_of_code(config.origin_weights).to(origins.device)[origins.long()]
    if config.ignore_label:
        known = targets != IGNORED
        weights = known.float() if weights is None else weights * known
    return weights


def _weight_of_code(weights: Mapping[str, float]) -> Tensor:
    table = torch.ones(256)
    for name, weight in weights.items():
        table[Origin[name.upper()]] = weight
    return table
