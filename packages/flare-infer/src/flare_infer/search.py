"""Where in a case windows are run, by the settings of fast mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from flare_infer.body import body_mask
from flare_infer.coarse import coarse_mask
from flare_infer.constant import remember_constant
from flare_infer.fast import FastSettings
from flare_infer.region import Region, region_planes
from flare_infer.sliding import Net
from flare_infer.spec import ModelSpec
from flare_io.preparation import Preparation
from flare_io.prepared_planes import PreparedPlanes
from flare_io.volume import Volume

__all__ = ["find_region", "searched_planes"]


def find_region(
    net: Net,
    channels: Sequence[Volume],
    spec: ModelSpec,
    preparation: Preparation,
    *,
    settings: FastSettings,
    on_window: Callable[[], None] | None = None,
) -> Region:
    """Return the part of a case in which windows are run.

    Parameters
    ----------
    net : Net
        For the coarse pass.
    channels : sequence of Volume
        The case; the body is looked for in the first one that is CT.
    spec : ModelSpec
        Of the model.
    preparation : Preparation
        Of the case.
    settings : FastSettings
    on_window : callable, optional
        Called after each window of the coarse pass.

    Returns
    -------
    Region
        All of the case where a search found nothing: a miss must not cost everything.
    """
    masks = []
    schemes = [each.scheme for each in spec.preprocessing.intensities]
    if settings.body and "ct" in schemes:
        array = preparation.order.apply(channels[schemes.index("ct")].array)
        masks.append(
            body_mask(
                preparation.box.extract(array),
                spacing_mm=preparation.cropped_spacing_mm,
                margin_mm=settings.body_margin_mm,
            )
        )
    if settings.coarse is not None:
        masks.append(
            coarse_mask(
                net,
                channels,
                spec,
                spacing_mm=preparation.spacing_mm,
                factor=settings.coarse,
                margin_mm=settings.coarse_margin_mm,
                within=tuple(mask for mask in masks if mask is not None),
                on_window=on_window,
            )
        )
    return Region(preparation.shape, tuple(mask for mask in masks if mask is not None))


def searched_planes(
    nets: Sequence[Net],
    channels: Sequence[Volume],
    case: PreparedPlanes,
    spec: ModelSpec,
    *,
    settings: FastSettings,
    mirror: bool = False,
    on_window: Callable[[], None] | None = None,
) -> Iterator[NDArray[np.float32]]:
    """Return the logits of a case in fast mode, with the shortcuts that are switched on.

    Parameters
    ----------
    nets : sequence of Net
        Members of the model.
    channels, spec, settings, on_window
        As for `find_region`; ``settings`` are applied to the description already.
    case : PreparedPlanes
        The same case, prepared.
    mirror : bool
        Average over the plan's mirror axes, except in the coarse pass.

    Returns
    -------
    iterator of (classes, y, x) float32 arrays
        See `flare_infer.region.region_planes`. The search is over when it is returned.
    """
    region = find_region(
        nets[0], channels, spec, case.preparation, settings=settings, on_window=on_window
    )
    return region_planes(
        [remember_constant(net) for net in nets] if settings.constant else nets,
        case.blocks,
        spec.windows,
        region=region,
        head=spec.head,
        mirror=mirror,
        on_window=on_window,
    )
