"""A model that stays warm: volumes in, label maps on the same grid out."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.backends.choice import BackendName, Precision, choose
from flare_infer.backends.warm import WarmNets
from flare_infer.channels import Image, read_channels
from flare_infer.decide import decided_slabs
from flare_infer.fast import FastSettings
from flare_infer.memory import CasePlan, plan_case, require_memory, volume_grid
from flare_infer.model import Model, read_model
from flare_infer.search import searched_planes
from flare_infer.sliding import Net, PlaneBlocks, logit_planes
from flare_infer.spec import Mode, ModelSpec
from flare_infer.stopwatch import Stopwatch
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy
from flare_io.prepared_planes import prepare_planes
from flare_io.volume import Volume

__all__ = ["Image", "Outcome", "Predictor"]

# Preparing and deciding, on one core.
_SECONDS_PER_VOXEL = 4e-8

OnSlab = Callable[[tuple[slice, slice, slice], NDArray[Any]], None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one image of `Predictor.predict_many`.

    Parameters
    ----------
    image
        As it was given.
    labels : Volume or None
        None where it failed.
    error : Exception or None
        Why it failed.
    seconds : mapping of str to float
        By step: read, prepare, search (fast mode), network, decide, restore.
    """

    image: Any
    labels: Volume | None = None
    error: Exception | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictor:
    """A loaded model; immutable, so that threads may share it.

    Make one with `Predictor.load`.
    """

    model: Model
    nets: WarmNets
    mode: Mode | None = None
    memory_mib: int | None = None
    fast: FastSettings = field(default_factory=FastSettings)

    @classmethod
    def load(
        cls,
        folder: os.PathLike[str] | str,
        *,
        device: str = "auto",
        backend: BackendName = "auto",
        precision: Precision = "float32",
        mode: Mode | None = None,
        memory_mib: int | None = None,
        fast: FastSettings | None = None,
    ) -> Predictor:
        """Read, verify and load a model folder.

        Parameters
        ----------
        folder : path
            Written by `flare_infer.write_model`.
        device : str
            ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: the first GPU if there is one.
        backend : {"auto", "torch", "openvino"}
            ``auto``: OpenVINO in fast mode on the CPU where it is installed, torch else. With
            OpenVINO torch is not loaded.
        precision : {"float32", "bfloat16"}
            Of the network in fast mode on the CPU; bfloat16 needs OpenVINO and a processor for it.
        mode : {"fast", "exact"}, optional
            What to do where no mode is given, the model's default otherwise. The other mode loads
            its networks when it is first asked for.
        memory_mib : int, optional
            Host memory that a case may take. Where it is tight, exact mode takes a slower way with
            the same labels; cases that are still larger are refused before they start.

        Raises
        ------
        ModelError
            If the folder is not a whole model.
        RuntimeError
            If the device, OpenVINO or the processor's bfloat16 is not there.
        ValueError
            If device, backend, precision and mode contradict one another.
        """
        _check_mode(mode)
        model = read_model(folder)
        nets = WarmNets(model, choose(device, backend=backend, precision=precision))
        nets.by_layer(mode)
        return cls(model, nets, mode, memory_mib, fast or FastSettings())

    @property
    def device(self) -> str:
        """Where networks run: ``"cpu"`` or a CUDA device."""
        return self.nets.choice.device

    def predict(
        self,
        image: Image | NDArray[Any],
        geometry: Geometry | None = None,
        *,
        mode: Mode | None = None,
        tta: bool = False,
        policy: ReadPolicy | None = None,
        timings: dict[str, float] | None = None,
        on_window: Callable[[], None] | None = None,
        on_slab: OnSlab | None = None,
    ) -> Volume:
        """Segment one case.

        Parameters
        ----------
        image : path, Volume, (z, y, x) array, or sequence of paths or Volumes
            A file, a DICOM series folder, or what has been read already; a sequence holds the
            channels of one case. Arrays of other libraries are taken through DLPack, from a GPU as
            well.
        geometry : Geometry, optional
            Needed with an array, and only then.
        mode : {"fast", "exact"}, optional
            That of `load` otherwise.
        tta : bool
            Average over mirror images, as the model was trained for it; 2 to 8 times the cost.
        policy : ReadPolicy, optional
            For paths.
        timings : dict, optional
            Filled with seconds by step.
        on_window : callable, optional
            Called after each window; an exception from it cancels the case.
        on_slab : callable, optional
            Called with labels as soon as they are final: their place in the image, three slices,
            and a view of them, to be read and not changed. What no slab covers is 0. Models that
            remove components, decide before they resample or have overlays give one slab. An
            exception from it cancels the case.

        Returns
        -------
        Volume
            Labels in the smallest unsigned type on the grid of the image, with its notes.

        Raises
        ------
        UnreadableVolumeError, GeometryError, LabelError
            From reading.
        ValueError
            If arguments contradict the model, or voxels are not finite.
        MemoryError
            If the case would exceed ``memory_mib``.
        """
        _check_mode(mode)
        mode = mode or self.mode
        layers = [
            _Layer(layer.spec, nets, labels)
            for (layer, labels), nets in zip(
                self.model.layers, self.nets.by_layer(mode), strict=True
            )
        ]
        if tta and not all(layer.spec.windows.mirror_axes for layer in layers):
            raise ValueError("tta needs a model trained with mirroring; this one has none")
        watch = Stopwatch(timings if timings is not None else {})
        with watch.step("read"):
            channels = read_channels(image, geometry, policy or ReadPolicy())
        compact = self._check(channels, mode)
        notes = tuple(note for channel in channels for note in channel.notes)
        how = _How(mode, tta, on_window, watch, compact)
        if len(layers) == 1:
            return replace(self._segment(channels, layers[0], how, on_slab), notes=notes)
        result = self._segment(list(channels), layers[0], how, None)
        for layer in layers[1:]:
            # Read from a file, the volume is not needed behind the last layer's preparation.
            held = channels if layer is layers[-1] else list(channels)
            found = self._segment(held, layer, how, None)
            result = _painted(result, found, layer.painted or ())
        if on_slab is not None:
            on_slab((slice(None), slice(None), slice(None)), result.array)
        return replace(result, notes=notes)

    def _segment(
        self,
        channels: list[Volume],
        layer: _Layer,
        how: _How,
        on_slab: OnSlab | None,
    ) -> Volume:
        """Return the labels of one layer; empties the list of channels."""
        watch = how.watch
        mode = how.mode or layer.spec.default_mode
        spec = _as_run(layer.spec, mode, self.fast)
        with watch.step("prepare"):
            case = prepare_planes(channels, spec.preprocessing)
        preparation = case.preparation
        blocks = watch.over("prepare", case.blocks)
        if mode == "fast" and spec.windows.layout == "grid":
            with watch.step("search"):
                planes = searched_planes(
                    layer.nets,
                    channels,
                    replace(case, blocks=blocks),
                    spec,
                    settings=self.fast,
                    mirror=how.mirror,
                    on_window=how.on_window,
                )
        else:
            planes = logit_planes(
                layer.nets,
                PlaneBlocks(preparation.shape, blocks),
                spec.windows,
                mode=mode,
                mirror=how.mirror,
                on_window=how.on_window,
                head=spec.head,
                compact=how.compact,
            )
        channels.clear()
        slabs = decided_slabs(watch.over("network", planes), preparation, spec, mode=mode)
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

    def explain(
        self,
        shape: Sequence[int],
        *,
        spacing_mm: Sequence[float],
        mode: Mode | None = None,
        tta: bool = False,
        voxel_bytes: int = 2,
        measure: bool = True,
    ) -> CasePlan:
        """Say what a case will cost, before it is read.

        Parameters
        ----------
        shape, spacing_mm, mode, tta, voxel_bytes
            As for `flare_infer.memory.plan_case`.
        measure : bool
            Look at one empty window per layer, to predict seconds as well.

        Returns
        -------
        CasePlan

        Notes
        -----
        Cost: arithmetic, and one window where seconds are asked for. Windows are counted as if
        none could be left out in fast mode, the coarse pass not among them. Seconds hold for this
        machine with its load of this moment; reading and writing files are left out.

        Examples
        --------
        ``predictor.explain((300, 512, 512), spacing_mm=(2.5, 0.8, 0.8)).peak_mib``
        """
        mode = mode or self.mode
        plan = plan_case(
            _planned(self.model, mode, self.fast),
            shape,
            spacing_mm=spacing_mm,
            mode=mode,
            tta=tta,
            voxel_bytes=voxel_bytes,
            budget_mib=self.memory_mib,
        )
        if not measure:
            return plan
        looked_at = 0
        started = time.perf_counter()
        for (layer, _), nets in zip(self.model.layers, self.nets.by_layer(mode), strict=True):
            net, patch = layer.spec.net, layer.spec.windows.patch
            nets[0](np.zeros((1, net.in_channels, *patch), dtype=np.float32))
            looked_at += layer.macs
        spent = time.perf_counter() - started
        return replace(plan, seconds=spent * plan.macs / max(looked_at, 1) + _voxel_seconds(shape))

    def predict_many(
        self,
        images: Iterable[Image],
        *,
        mode: Mode | None = None,
        tta: bool = False,
        policy: ReadPolicy | None = None,
        progress: bool = False,
    ) -> Iterator[Outcome]:
        """Segment many cases, one after the other; a bad case costs one case.

        Parameters
        ----------
        images : iterable
            What `predict` takes.
        mode, tta, policy
            As for `predict`.
        progress : bool
            Show a bar on stderr.

        Yields
        ------
        Outcome
            In the order of the images, each when it is done.
        """
        from tqdm import tqdm

        for image in tqdm(images, desc="cases", unit="case", disable=not progress):
            seconds: dict[str, float] = {}
            try:
                labels = self.predict(image, mode=mode, tta=tta, policy=policy, timings=seconds)
            except Exception as error:
                # One bad case costs one case, whatever it raised; Ctrl-C passes through.
                yield Outcome(image=image, error=error, seconds=seconds)
            else:
                yield Outcome(image=image, labels=labels, seconds=seconds)

    def _check(self, channels: Sequence[Volume], mode: Mode | None) -> bool:
        """Refuse what cannot be predicted; return whether memory is so tight that time is spent."""
        for number, channel in enumerate(channels):
            kind = channel.array.dtype.kind
            if kind not in "iuf":
                raise ValueError(f"image must hold numbers, got {channel.array.dtype}")
            if kind == "f" and not np.isfinite(channel.array).all():
                count = int((~np.isfinite(channel.array)).sum())
                raise ValueError(
                    f"channel {number} holds {count} voxels that are not finite; "
                    "replace them, or read with ReadPolicy(nan_value=-1024)"
                )
        if self.memory_mib is None:
            return False
        shape, spacing_mm = volume_grid(channels[0], self.model.spec.preprocessing)
        plan = plan_case(
            _planned(self.model, mode, self.fast),
            shape,
            spacing_mm=spacing_mm,
            mode=mode,
            voxel_bytes=sum(channel.array.itemsize for channel in channels),
            budget_mib=self.memory_mib,
        )
        require_memory(plan.peak_mib, self.memory_mib)
        return plan.compact


def _as_run(spec: ModelSpec, mode: Mode, fast: FastSettings) -> ModelSpec:
    return fast.applied_to(spec) if mode == "fast" else spec


def _planned(model: Model, mode: Mode | None, fast: FastSettings) -> Model:
    """Return a model whose layers are described as they are run."""
    overlays = (replace(each, model=_planned(each.model, mode, fast)) for each in model.overlays)
    spec = _as_run(model.spec, mode or model.spec.default_mode, fast)
    return replace(model, spec=spec, overlays=tuple(overlays))


def _voxel_seconds(shape: Sequence[int]) -> float:
    return _SECONDS_PER_VOXEL * math.prod(shape)


@dataclass(frozen=True)
class _Layer:
    """A model or an overlay: what it is, its members, and the labels that it paints."""

    spec: ModelSpec
    nets: Sequence[Net]
    painted: tuple[int, ...] | None


@dataclass(frozen=True)
class _How:
    """What all layers of one case share."""

    mode: Mode | None
    mirror: bool
    on_window: Callable[[], None] | None
    watch: Stopwatch
    compact: bool


def _check_mode(mode: Mode | None) -> None:
    if mode not in (None, "fast", "exact"):
        raise ValueError(f"mode must be fast or exact, got {mode!r}")


def _painted(below: Volume, above: Volume, labels: Sequence[int]) -> Volume:
    """Return the lower label map with some labels of the upper one painted over it."""
    dtype = np.promote_types(below.array.dtype, above.array.dtype)
    array = below.array.astype(dtype)
    np.copyto(array, above.array, where=np.isin(above.array, labels))
    return below.with_array(array)
