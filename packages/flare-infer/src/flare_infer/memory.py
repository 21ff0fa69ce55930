"""How much host memory one case will take, and how long, said before the run.

The engine holds the volume, its labels, and rings of planes; nothing else grows with a scan. What a
network holds for a moment is counted from its description, without loading torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from flare_infer.model import Mode, Model
from flare_infer.spec import ModelSpec
from flare_infer.window_sums import PLANES_KEPT
from flare_infer.windows import Shape
from flare_io.preprocessing import Preprocessing
from flare_io.resample import separate_axis, target_shape
from flare_io.volume import Volume, to_canonical
from flare_nets.config import NetConfig

__all__ = ["CasePlan", "network_mib", "plan_case", "require_memory", "volume_grid"]

_MIB = 2**20
# Interpreter, NumPy, torch: a process that has loaded a tiny model.
_RUNTIME_MIB = 235
# oneDNN's code and scratch, and its copies of activations in its own order of channels, in channels
# of full size: fitted to nets of 16 to 32 features and windows of 0.1 to 0.8 million voxels.
_LIBRARY_MIB = 30
_LIBRARY_CHANNELS = 45
_NARROWEST = 16
# Rows of one product in resampling, and how far a cubic spline reaches on both sides.
_ROWS = 32
_SPLINE_PLANES = 60
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
    case = _Case(tuple(shape), tuple(spacing_mm), mode, voxel_bytes)
    plan = _planned(model, case, tta, compact=False)
    if budget_mib is not None and plan.peak_mib > budget_mib:
        thrifty = _planned(model, case, tta, compact=True)
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


def network_mib(net: NetConfig, patch: Sequence[int]) -> float:
    """Return what a network holds in the middle of one window, library included.

    At each level of the decoder live the skips of the levels above, what comes from below, its
    concatenation with the skip, and the next result: four times the level's features.
    """
    features = [max(count, _NARROWEST) for count in net.features]
    voxels = [float(math.prod(patch))]
    for stride in net.strides[1:]:
        voxels.append(voxels[-1] / math.prod(stride))
    sizes = [count * n for count, n in zip(features, voxels, strict=True)]
    most = max(4 * size + sum(sizes[:level]) for level, size in enumerate(sizes))
    most = max(most, sizes[0] + net.out_channels * voxels[0])
    extra = (net.in_channels + _LIBRARY_CHANNELS) * voxels[0]
    return _LIBRARY_MIB + 4 * (most + extra) / _MIB


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
    mode: Mode | None
    voxel_bytes: int


def _planned(model: Model, case: _Case, tta: bool, *, compact: bool) -> CasePlan:
    layers = [layer for layer, _ in model.layers]
    parts = max(
        (_layer_mib(layer, case, compact=compact) for layer in layers),
        key=lambda each: sum(each.values()),
    )
    counts = [_windows(layer, case.shape, case.spacing_mm, tta) for layer in layers]
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


def _turned(spec: ModelSpec, values: Sequence[float]) -> list[float]:
    return [values[k] for k in spec.preprocessing.transpose]


def _grid(spec: ModelSpec, shape: Sequence[int], spacing_mm: Sequence[float]) -> Shape:
    spacing = _turned(spec, spacing_mm)
    turned = [int(n) for n in _turned(spec, shape)]
    return target_shape(turned, spacing, spec.preprocessing.spacing_mm or spacing)


def _windows(layer: Model, shape: Sequence[int], spacing_mm: Sequence[float], tta: bool) -> int:
    windows = layer.spec.windows
    count = len(windows.starts(windows.padded_shape(_grid(layer.spec, shape, spacing_mm))))
    images = 2 ** len(windows.mirror_axes) if tta else 1
    return int(count * layer.members * images)


def _layer_mib(layer: Model, case: _Case, *, compact: bool) -> dict[str, float]:
    spec, shape, spacing_mm = layer.spec, case.shape, case.spacing_mm
    exact = (case.mode or spec.default_mode) == "exact"
    net, patch = spec.net, spec.windows.patch
    grid = _grid(spec, shape, spacing_mm)
    _, height, width = spec.windows.padded_shape(grid)
    plane = height * width
    summed = int(exact or spec.windows.layout != "grid")
    ring = (patch[0] + PLANES_KEPT) * (net.out_channels + summed) * layer.members
    voxels = math.prod(shape)
    label_bytes = spec.head.dtype.itemsize
    kept, passing = _preparing_bytes(spec, shape, spacing_mm, grid)
    deciding = _DECIDING_PLANES * 4 * net.out_channels * grid[1] * grid[2]
    whole = 0
    if spec.order != "resample-decide" or spec.components is not None:
        # Labels are gathered on one grid before they are tidied or resampled.
        whole = 2 * label_bytes * voxels
    if spec.preprocessing.logits_order == 3:
        whole += 8 * net.out_channels * math.prod(grid)
    window = 4 * (2 * net.in_channels + net.out_channels) * math.prod(patch)
    network = network_mib(net, patch) * _MIB
    parts = {
        "runtime": _RUNTIME_MIB * _MIB,
        "weights": 4 * layer.parameters * layer.members,
        "volume": case.voxel_bytes * voxels,
        "labels": label_bytes * voxels + whole,
        "prepared planes": kept + 4 * net.in_channels * patch[0] * plane,
        "sums": (2 if exact and compact else 4) * ring * plane,
        "network": max(network, window + deciding, passing),
        "deciding": deciding,
    }
    return {name: size / _MIB for name, size in parts.items()}


def _preparing_bytes(
    spec: ModelSpec, shape: Sequence[int], spacing_mm: Sequence[float], grid: Shape
) -> tuple[float, float]:
    """Return what preparing holds between planes, and for a moment, in bytes."""
    preprocessing, channels = spec.preprocessing, spec.net.in_channels
    turned, spacing = _turned(spec, shape), _turned(spec, spacing_mm)
    wanted = preprocessing.spacing_mm or spacing
    coarse = separate_axis(spacing, wanted, threshold=preprocessing.anisotropy_threshold)
    voxelwise = all(each.scheme in ("ct", "rgb", "none") for each in preprocessing.intensities)
    resampled = list(grid) != [int(n) for n in turned]
    if not voxelwise or (resampled and coarse not in (None, 0)):
        return 4 * channels * math.prod(grid), 4 * math.prod(turned)
    if not resampled:
        return 0, 0
    reach = _SPLINE_PLANES if preprocessing.image_order == 3 and coarse is None else 2
    held = min(turned[0], _ROWS * turned[0] / grid[0] + reach)
    kept = 8 * channels * min(grid[1] * grid[2], turned[1] * turned[2]) * held
    block = 8 * channels * grid[1] * grid[2] * _ROWS
    return kept + block, kept + block
