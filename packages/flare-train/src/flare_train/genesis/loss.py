"""How far a restored image is from the image that was spoiled."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["restoration_loss"]


def restoration_loss(
    logits: Tensor, targets: Tensor, *, kind: Literal["mse", "l1"] = "mse"
) -> Tensor:
    """Return the mean difference between the sigmoid of a net's output and the clean images.

    Parameters
    ----------
    logits : (b, c, z, y, x) floating tensor
        What the net gives, without a bound; the sigmoid brings it to [0, 1].
    targets : (b, c, z, y, x) tensor
        From `restoration_pair`, in [0, 1].
    kind : {"mse", "l1"}, optional
        Mean of squares or of absolute values.

    Returns
    -------
    scalar float32 tensor

    Raises
    ------
    ValueError
        If the shapes differ or the kind is unknown.

    Examples
    --------
    >>> import torch
    >>> logits, targets = torch.zeros(1, 1, 1, 1, 2), torch.tensor([[[[[0.0, 0.5]]]]])
    >>> (
    ...     restoration_loss(logits, targets).item(),
    ...     restoration_loss(logits, targets, kind="l1").item(),
    ... )
    (0.125, 0.25)
    """
    if logits.shape != targets.shape:
        raise ValueError(
            f"logits and targets must have one shape, got {tuple(logits.shape)} and "
            f"{tuple(targets.shape)}; a net for restoration has as many outputs as inputs"
        )
    if kind not in ("mse", "l1"):
        raise ValueError(f"kind must be 'mse' or 'l1', got {kind!r}")
    restored = torch.sigmoid(logits.float())
    distance = F.mse_loss if kind == "mse" else F.l1_loss
    return distance(restored, targets.float())
