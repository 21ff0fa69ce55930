"""One look of the net at the whole case with large voxels: where something can be."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.body import widened
from flare_infer.region import Region, region_planes
from flare_infer.sliding import Net
from flare_infer.spec import ModelSpec
from flare_io.prepared_planes import prepare_planes
from flare_io.volume import Volume

__all__ = ["coarse_mask"]


def coarse_mask(
    net: Net,
    channels: Sequence[Volume],
    spec: ModelSpec,
    *,
    spacing_mm: Sequence[float],
    factor: float,
    margin_mm: float,
    within: tuple[NDArray[np.bool_], ...] = (),
    on_window: Callable[[], None] | None = None,
) -> NDArray[np.bool_] | None:
    """Return where a net finds foreground in large voxels, with a margin.

    Parameters
    ----------
    net : Net
        Of the model; it sees organs ``factor`` times smaller than in training.
    channels : sequence of Volume
        The case.
    spec : ModelSpec
        Of the model.
    spacing_mm : (3,) float
        Of the network's grid.
    factor : float
        By which voxels are longer than that along each axis; above 1.
    margin_mm : float
        What is up to so far from foreground counts as well.
    within : tuple of (z, y, x) bool arrays
        Masks over the case; windows lie only where all of them are set.
    on_window : callable, optional
        Called after each window.

    Returns
    -------
    (z, y, x) bool array or None
        Cells that divide the network's grid into equal parts. None if nothing was found.

    Notes
    -----
    Cost: windows without overlap over ``factor ** 3`` times fewer voxels, and one more linear
    resampling of the case. Memory: a byte per voxel of the coarse grid, the rest as for the case
    itself.
    """
    z, y, x = (factor * side for side in spacing_mm)
    # Order 1: what is looked for is large.
    preprocessing = replace(spec.preprocessing, spacing_mm=(z, y, x), image_order=1)
    case = prepare_planes(list(channels), preprocessing)
    planes = region_planes(
        [net],
        case.blocks,
        replace(spec.windows, step=1.0, layout="grid"),
        region=Region(case.preparation.shape, within),
        head=spec.head,
        on_window=on_window,
    )
    found = np.stack([_foreground(plane, spec) for plane in planes])
    if not found.any():
        return None
    return widened(found, margin_mm=margin_mm, cell_mm=case.preparation.geometry.spacing_mm)


def _foreground(plane: NDArray[Any], spec: ModelSpec) -> NDArray[np.bool_]:
    result: NDArray[np.bool_] = spec.head.decide(plane) != 0
    return result
