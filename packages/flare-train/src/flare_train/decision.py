"""From logits to one class per voxel, by the head that a loss trains."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from flare_train.loss_config import LossConfig

__all__ = ["decide"]


def decide(logits: Tensor, config: LossConfig, *, classes: Sequence[int]) -> Tensor:
    """Return the class of every voxel.

    Parameters
    ----------
    logits : (c, z, y, x) floating tensor
        c is ``config.out_channels(classes)``.
    config : LossConfig
        Its head: ``softmax`` takes the highest channel. ``sigmoid`` too, and the background where
        it has no channel and none is above 0 (a probability of 1/2). ``hybrid`` takes the highest
        of background and organs, and paints over it, in the order of `classes`, every overlay
        channel above 0.
    classes : sequence of int
        Label ids: background 0, then rising.

    Returns
    -------
    (z, y, x) uint8 tensor
        Index into `classes`. Of equal channels the first wins.

    Examples
    --------
    >>> logits = torch.tensor([[0.0, 0.0], [1.0, -2.0], [0.5, 3.0]]).reshape(3, 1, 1, 2)
    >>> decide(logits, LossConfig(), classes=(0, 1, 14)).flatten().tolist()
    [1, 2]
    >>> sigmoid = LossConfig(head="sigmoid", partial="naive")
    >>> decide(logits[:2] - 0.5, sigmoid, classes=(0, 1, 14)).flatten().tolist()
    [2, 0]
    >>> hybrid = LossConfig(head="hybrid", partial="naive")
    >>> decide(logits - 1, hybrid, classes=(0, 1, 14)).flatten().tolist()
    [1, 2]
    """
    if config.head == "hybrid":
        return _paint_over(logits, config.overlay, classes)
    if logits.shape[0] == len(classes):
        return logits.argmax(0).to(torch.uint8)
    highest, channel = logits.max(0)
    return torch.where(highest > 0, channel + 1, 0).to(torch.uint8)


def _paint_over(logits: Tensor, overlay: Sequence[int], classes: Sequence[int]) -> Tensor:
    organs = [index for index, label in enumerate(classes) if label not in overlay]
    place = torch.tensor(organs, dtype=torch.uint8, device=logits.device)
    chosen = place[logits[organs].argmax(0)]
    for index, label in enumerate(classes):
        if label in overlay:
            chosen = chosen.masked_fill(logits[index] > 0, index)
    return chosen
