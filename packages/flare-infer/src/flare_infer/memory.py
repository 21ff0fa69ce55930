"""How much host memory one case will take, and how long, said before the run.

The engine holds the volume, its labels, and rings of planes; nothing else grows with a scan. What
networks and their library hold is counted from descriptions, without loading them. A case is taken
to be full: where the body or something else leaves room for shortcuts, less is held.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from flare_infer.backends.choice import Choice
from flare_infer.model import Mode, Model
from flare_infer.network_memory import Library, library_of, network_memory
from flare_infer.preparing_memory import preparing_memory
from flare_infer.spec import ModelSpec
from flare_infer.window_sums import PLANES_KEPT
from flare_infer.windows import Shape
from flare_io.preprocessing import Preprocessing
from flare_io.resample import target_shape
from flare_io.volume import Volume, to_canonical

__all__ = ["CasePlan", "plan_case", "require_memory", "volume_grid"]

T = TypeVar("T")

_MIB = 2**20
# Planes of all channels that deciding holds: logits, their order as integers, winners, corners.
_DECIDING_PLANES = 12


@dataclass(frozen=True, kw_only=True)
class CasePlan:
    """What one case will cost.

    Parameters
    ----------
    windows : int
        Passes through a network, members and mirror images counted.
    macs : int
        Multiply-accumulates of all windows.
    seconds : float or None
        Wall time; None where no speed was measured.
    peak_mib : int
        Of the process.
    parts_mib : mapping of str to int
        What the peak consists of; of the largest layer.
    compact : bool
        Whether exact mode's sums are held in float16, which takes longer.
    """

    windows: int
    macs: int
    seconds: float | None
    peak_mib: int
    parts_mib: Mapping[str, int]
    compact: bool = False


def plan_case(
    model: Model,
    shape: Sequence[int],
    *,
    spacing_mm: Sequence[float],
    choice: Choice,
    mode: Mode | None = None,
    tta: bool = False,
    voxel_bytes: int = 2,
    budget_mib: int | None = None,
) -> CasePlan:
    """Return what a case of a model will cost, by arithmetic alone.

    Parameters
    ----------
    model : Model
        With its overlays.
    shape : (3,) int
        Of the volume as it comes; nothing is known yet of a crop.
    spacing_mm : (3,) float
        Of the volume. Axes are taken as they come: a canonical model turns a volume that lies
        otherwise, see `volume_grid`.
    choice : Choice
        Where the networks run.
    mode : {"exact", "fast"}, optional
        The model's default otherwise.
    tta : bool
        Average over mirror images.
    voxel_bytes : int
        Of the volume, all channels together.
    budget_mib : int, optional
        A plan above it is replaced by a thriftier and slower one, if there is one.

    Returns
    -------
    CasePlan
        It may exceed the budget: then none is smaller.
    """
    case = _Case(tuple(shape), tuple(spacing_mm), voxel_bytes, mode, tta, choice)
    plan = _planned(model, case, compact=False)
    if budget_mib is not None and plan.peak_mib > budget_mib:
        thrifty = _planned(model, case, compact=True)
        plan = thrifty if thrifty.peak_mib < plan.peak_mib else plan
    return plan


def volume_grid(
    volume: Volume, preprocessing: Preprocessing
) -> tuple[Shape, tuple[float, float, float]]:
    """Return shape and spacing of a volume in the axes that a model sees, before its transpose."""
    if preprocessing.axes == "canonical":
        volume, _ = to_canonical(volume)
    z, y, x = volume.shape
    return (z, y, x), volume.geometry.spacing_mm


def require_memory(needed_mib: int, budget_mib: int | None) -> None:
    """Refuse a case that does not fit a budget.

    Raises
    ------
    MemoryError
        Naming the smallest budget that works.
    """
    if budget_mib is not None and needed_mib > budget_mib:
        raise MemoryError(
            f"memory_mib is {budget_mib}, this case needs about {needed_mib} MiB; "
            f"give at least {needed_mib}, or a model with coarser spacing"
        )


@dataclass(frozen=True)
class _Case:
    """What is known of a case: the volume as it comes, and how it is to be predicted."""

    shape: tuple[int, ...]
    spacing_mm: tuple[float, ...]
    voxel_bytes: int
    mode: Mode | None
    tta: bool
    choice: Choice

    def mode_of(self, layer: Model) -> Mode:
        return self.mode or layer.spec.default_mode

    def library_of(self, layer: Model) -> Library:
        return library_of(self.choice, self.mode_of(layer))


def _planned(model: Model, case: _Case, *, compact: bool) -> CasePlan:
    layers = [layer for layer, _ in model.layers]
    loaded = [_loaded_mib(layer, case.library_of(layer)) for layer in layers]
    every = {
        "runtime": max(case.library_of(layer).runtime_mib for layer in layers),
        "weights": sum(weights for weights, _ in loaded),
        "networks": sum(held for _, held in loaded),
    }
    parts = every | max(
        (_layer_mib(layer, case, compact=compact) for layer in layers),
        key=lambda each: sum(each.values()),
    )
    counts = [_windows(layer, case) for layer in layers]
    # Each further layer's labels are painted over a copy of those below.
    labels = 2 * math.prod(case.shape) if len(layers) > 1 else 0
    return CasePlan(
        windows=sum(counts),
        macs=sum(n * layer.macs for n, layer in zip(counts, layers, strict=True)),
        seconds=None,
        peak_mib=math.ceil(sum(parts.values()) + labels / _MIB),
        parts_mib={name: math.ceil(part) for name, part in parts.items()},
        compact=compact,
    )


def _turned(spec: ModelSpec, values: Sequence[T]) -> list[T]:
    return [values[k] for k in spec.preprocessing.transpose]


def _grid(spec: ModelSpec, shape: Sequence[int], spacing_mm: Sequence[float]) -> Shape:
    spacing = _turned(spec, spacing_mm)
    return target_shape(_turned(spec, shape), spacing, spec.preprocessing.spacing_mm or spacing)


def _windows(layer: Model, case: _Case) -> int:
    windows = layer.spec.windows
    grid = _grid(layer.spec, case.shape, case.spacing_mm)
    count = len(windows.starts(windows.padded_shape(grid)))
    images = 2 ** len(windows.mirror_axes) if case.tta else 1
    return int(count * layer.members * images)


def _loaded_mib(layer: Model, library: Library) -> tuple[float, float]:
    """Return what weights of a layer take, and what its networks hold between windows."""
    weights = 4 * library.weight_copies * layer.parameters * layer.members / _MIB
    memory = network_memory(layer.spec.net, layer.spec.windows.patch, library)
    return weights, memory.held_mib * layer.members


def _layer_mib(layer: Model, case: _Case, *, compact: bool) -> dict[str, float]:
    spec, exact = layer.spec, case.mode_of(layer) == "exact"
    net, patch = spec.net, spec.windows.patch
    grid = _grid(spec, case.shape, case.spacing_mm)
    _, height, width = spec.windows.padded_shape(grid)
    plane = height * width
    summed = int(exact or spec.windows.layout != "grid")
    ring = (patch[0] + PLANES_KEPT) * (net.out_channels + summed) * layer.members
    voxels = math.prod(case.shape)
    label_bytes = spec.head.dtype.itemsize
    preparing = preparing_memory(
        spec.preprocessing, _turned(spec, case.shape), _turned(spec, case.spacing_mm), grid
    )
    deciding = _DECIDING_PLANES * 4 * net.out_channels * grid[1] * grid[2]
    whole = 0
    if spec.order != "resample-decide" or spec.components is not None:
        # Labels are gathered on one grid before they are tidied or resampled.
        whole = 2 * label_bytes * voxels
    if spec.preprocessing.logits_order == 3:
        whole += 8 * net.out_channels * math.prod(grid)
    logits = 4 * net.out_channels * math.prod(patch)
    window = 4 * 2 * net.in_channels * math.prod(patch) + logits
    network = network_memory(net, patch, case.library_of(layer)).passing_mib * _MIB
    # The sum over the mirror images that came before.
    network += logits if case.tta else 0
    parts = {
        "volume": case.voxel_bytes * voxels,
        "labels": label_bytes * voxels + whole,
        "prepared planes": preparing.held_bytes + 4 * net.in_channels * patch[0] * plane,
        "sums": (2 if exact and compact else 4) * ring * plane,
        # One after the other: a window, its sum, deciding, the next planes.
        "at work": max(network, window, deciding, preparing.passing_bytes),
    }
    return {name: size / _MIB for name, size in parts.items()}
