"""One case through the layers of a model: from its channels to labels on their grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.decide import decided_slabs
from flare_infer.device.member import stays_on_device
from flare_infer.fast import FastSettings
from flare_infer.model import Model
from flare_infer.search import find_region, searched_planes
from flare_infer.sliding import Net, PlaneBlocks, logit_planes
from flare_infer.spec import Mode, ModelSpec
from flare_infer.stopwatch import Stopwatch
from flare_io.prepared_planes import PreparedPlanes, prepare_planes
from flare_io.volume import Volume

__all__ = ["CaseSettings", "Layer", "OnSlab", "layers_of", "segment_case"]

OnSlab = Callable[[tuple[slice, slice, slice], NDArray[Any]], None]


@dataclass(frozen=True)
class Layer:
    """A model or an overlay.

    Parameters
    ----------
    spec : ModelSpec
    nets : sequence of Net
        Its members.
    painted : tuple of int or None
        The labels that it paints over those below; None for the lowest layer.
    """

    spec: ModelSpec
    nets: Sequence[Net]
    painted: tuple[int, ...] | None


@dataclass(frozen=True, kw_only=True)
class CaseSettings:
    """What all layers of one case share.

    Parameters
    ----------
    watch : Stopwatch
        Takes the seconds by step.
    fast : FastSettings
    mode : {"fast", "exact"}, optional
        Each layer's default otherwise.
    mirror : bool
        Average over mirror images.
    compact : bool
        Hold the sums of exact mode in float16, which takes longer.
    on_window : callable, optional
        Called after each window; an exception from it cancels the case.
    """

    watch: Stopwatch
    fast: FastSettings
    mode: Mode | None = None
    mirror: bool = False
    compact: bool = False
    on_window: Callable[[], None] | None = None


def layers_of(
    model: Model, nets: Sequence[Sequence[Net]], *, mirror: bool = False
) -> tuple[Layer, ...]:
    """Return the layers of a model with their loaded members.

    Parameters
    ----------
    model : Model
    nets : sequence of sequences of Net
        The members of each of `Model.layers`.
    mirror : bool
        Whether they are to average over mirror images.

    Raises
    ------
    ValueError
        If a layer has no axes for that.
    """
    layers = tuple(
        Layer(layer.spec, members, painted)
        for (layer, painted), members in zip(model.layers, nets, strict=True)
    )
    if mirror and not all(layer.spec.windows.mirror_axes for layer in layers):
        raise ValueError("tta needs a model trained with mirroring; this one has none")
    return layers


def segment_case(
    channels: list[Volume],
    layers: Sequence[Layer],
    settings: CaseSettings,
    *,
    on_slab: OnSlab | None = None,
) -> Volume:
    """Return the labels of a case, each layer's painted over those below it.

    Parameters
    ----------
    channels : list of Volume
        Emptied as soon as no layer needs them, so that a volume that was read for this case does
        not stay in memory.
    layers : sequence of Layer
        At least one; from the lowest up.
    settings : CaseSettings
    on_slab : callable, optional
        Called with the place of labels and a view of them as soon as they are final: slab by slab
        with one layer, once with several.

    Returns
    -------
    Volume
        On the grid of the first channel, in the smallest unsigned type, without notes.

    Notes
    -----
    Cost: that of `flare_infer.forecast.forecast_case`. Memory beside networks and rings of planes:
    the labels, and with several layers a second label map.
    """
    if len(layers) == 1:
        return _segment_layer(channels, layers[0], settings, on_slab)
    result = _segment_layer(list(channels), layers[0], settings, None)
    for layer in layers[1:]:
        # Read from a file, the volume is not needed behind the last layer's preparation.
        held = channels if layer is layers[-1] else list(channels)
        found = _segment_layer(held, layer, settings, None)
        result = _painted(result, found, layer.painted or ())
    if on_slab is not None:
        on_slab((slice(None), slice(None), slice(None)), result.array)
    return result


def _segment_layer(
    channels: list[Volume], layer: Layer, settings: CaseSettings, on_slab: OnSlab | None
) -> Volume:
    """Return the labels of one layer; empties the list of channels."""
    watch = settings.watch
    mode = settings.mode or layer.spec.default_mode
    layer = replace(layer, spec=settings.fast.in_mode(layer.spec, mode))
    spec = layer.spec
    with watch.step("prepare"):
        case = prepare_planes(channels, spec.preprocessing)
    preparation = case.preparation
    case = replace(case, blocks=watch.over("prepare", case.blocks))
    slabs = _slabs(channels, case, layer, mode, settings)
    channels.clear()
    with watch.step("restore"):
        whole = np.zeros(preparation.source_shape, dtype=spec.head.dtype)
    first = 0
    for slab in watch.over("decide", slabs):
        with watch.step("restore"):
            place = preparation.source_slices(first, first + len(slab))
            preparation.order.apply(whole[place])[...] = slab
        first += len(slab)
        if on_slab is not None:
            on_slab(place, whole[place])
    return Volume(whole, preparation.source_geometry)


def _slabs(
    channels: Sequence[Volume],
    case: PreparedPlanes,
    layer: Layer,
    mode: Mode,
    settings: CaseSettings,
) -> Iterator[NDArray[Any]]:
    """Return the labels of a prepared case, slab by slab."""
    spec, watch, nets = layer.spec, settings.watch, layer.nets
    if not stays_on_device(nets, spec, case.preparation, mode=mode):
        planes = watch.over("network", _planes(channels, case, layer, mode, settings))
        return decided_slabs(planes, case.preparation, spec, mode=mode)
    # Here, as it loads torch.
    from flare_infer.device.segment import DeviceSettings, device_slabs

    with watch.step("search"):
        region = find_region(
            nets[0],
            channels,
            spec,
            case.preparation,
            settings=settings.fast,
            on_window=settings.on_window,
        )
    how = DeviceSettings(
        constant=settings.fast.constant, mirror=settings.mirror, on_window=settings.on_window
    )
    return device_slabs(nets, case, spec, region=region, settings=how, watch=watch)


def _planes(
    channels: Sequence[Volume],
    case: PreparedPlanes,
    layer: Layer,
    mode: Mode,
    settings: CaseSettings,
) -> Iterator[NDArray[Any]]:
    """Return the logits of a prepared case, plane by plane."""
    spec = layer.spec
    if mode == "fast" and spec.windows.layout == "grid":
        with settings.watch.step("search"):
            return searched_planes(
                layer.nets,
                channels,
                case,
                spec,
                settings=settings.fast,
                mirror=settings.mirror,
                on_window=settings.on_window,
            )
    return logit_planes(
        layer.nets,
        PlaneBlocks(case.preparation.shape, case.blocks),
        spec.windows,
        mode=mode,
        mirror=settings.mirror,
        on_window=settings.on_window,
        head=spec.head,
        compact=settings.compact,
    )


def _painted(below: Volume, above: Volume, labels: Sequence[int]) -> Volume:
    """Return the lower label map with some labels of the upper one painted over it."""
    dtype = np.promote_types(below.array.dtype, above.array.dtype)
    array = below.array.astype(dtype)
    np.copyto(array, above.array, where=np.isin(above.array, labels))
    return below.with_array(array)
