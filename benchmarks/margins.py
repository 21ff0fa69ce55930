"""How near to a tie exact mode was where another label came out.

A label changes where the error of a logit exceeds half of what lies between the two largest ones:
the margins of all voxels that differ bound what a shortcut of arithmetic does.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.decide import logit_operators
from flare_infer.predictor import Predictor
from flare_infer.sliding import PlaneBlocks, logit_planes
from flare_infer.spec import ModelSpec
from flare_io.preparation import Preparation
from flare_io.prepared_planes import prepare_planes
from flare_io.volume import Volume

__all__ = ["margins", "network_logits"]


def network_logits(
    predictor: Predictor, channels: Sequence[Volume], *, mirror: bool = False
) -> tuple[NDArray[np.float32], Preparation]:
    """Return exact mode's logits (channels, z, y, x) on the network's grid, and the way back."""
    spec = predictor.model.spec
    case = prepare_planes(list(channels), spec.preprocessing)
    planes = logit_planes(
        predictor.nets.by_layer("exact")[0],
        PlaneBlocks(case.preparation.shape, case.blocks),
        spec.windows,
        mode="exact",
        mirror=mirror,
        head=spec.head,
    )
    return np.stack([plane.copy() for plane in planes], axis=1), case.preparation


def margins(
    logits: NDArray[Any], preparation: Preparation, spec: ModelSpec, where: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return what lies between the winner and the next at some voxels of a scan.

    Parameters
    ----------
    logits, preparation
        Of `network_logits`.
    spec : ModelSpec
        Where channels decide alone, as regions do, the margin is the
        distance of the nearest logit from 0.
    where : (z, y, x) bool array
        On the scan's grid.
    """
    box = preparation.source_slices(0, preparation.cropped_shape[0])
    voxels = np.argwhere(preparation.order.apply(where[box]))
    values = np.zeros((len(logits), len(voxels)))
    rows = [
        (operator.start[voxels[:, k]], operator.weights[voxels[:, k]])
        for k, operator in enumerate(logit_operators(preparation, spec))
    ]
    for corner in product(*(range(weights.shape[1]) for _, weights in rows)):
        place = tuple(start + j for (start, _), j in zip(rows, corner, strict=True))
        share = np.prod([w[:, j] for (_, w), j in zip(rows, corner, strict=True)], axis=0)
        values += share * logits[:, *place]
    if spec.head.painters:
        return np.asarray(np.abs(values).min(axis=0))
    top = np.partition(values, -2, axis=0)
    return np.asarray(top[-1] - top[-2])
