"""Where in a case windows are run, by the settings of fast mode."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flare_infer.body import body_mask
from flare_infer.coarse import coarse_mask
from flare_infer.fast import FastSettings
from flare_infer.region import Region
from flare_infer.sliding import Net
from flare_infer.spec import ModelSpec
from flare_io.preparation import Preparation
from flare_io.volume import Volume

__all__ = ["find_region"]


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
