"""How much host memory one case will take, said before the run."""

from __future__ import annotations

import math
from collections.abc import Sequence

from flare_infer.model import Mode, Model
from flare_io.resample import target_shape
from flare_io.volume import Volume, to_canonical

__all__ = ["estimate_memory_mib", "estimate_volume_mib", "require_memory"]

_MIB = 2**20
# Interpreter, torch and its thread pools, measured on a process that has run one tiny case.
_RUNTIME_MIB = 350


def estimate_volume_mib(model: Model, volume: Volume, *, mode: Mode) -> int:
    """Return the largest `estimate_memory_mib` of a model's layers for a volume as it is stored."""
    return max(_layer_mib(layer, volume, mode=mode) for layer, _ in model.layers)


def _layer_mib(model: Model, volume: Volume, *, mode: Mode) -> int:
    preprocessing = model.spec.preprocessing
    if preprocessing.axes == "canonical":
        volume, _ = to_canonical(volume)
    shape = [volume.shape[k] for k in preprocessing.transpose]
    spacing = [volume.geometry.spacing_mm[k] for k in preprocessing.transpose]
    return estimate_memory_mib(model, shape, spacing_mm=spacing, mode=mode)


def estimate_memory_mib(
    model: Model, shape: Sequence[int], *, spacing_mm: Sequence[float], mode: Mode
) -> int:
    """Return the peak host memory of one case in MiB, the process included.

    Parameters
    ----------
    model : Model
    shape : (3,) int
        Of the volume, in the network's axes; nothing is known yet of a crop.
    spacing_mm : (3,) float
        Of the volume.
    mode : {"exact", "fast"}

    Notes
    -----
    The sum of what lives through the sliding window: the volume, its float32 copy, the network's
    grid, the sums of all logits, weights, and one window's activations.
    """
    from flare_nets.cost import count_cost

    spec = model.spec
    spacing = spec.preprocessing.spacing_mm or tuple(spacing_mm)
    grid = spec.windows.padded_shape(target_shape(tuple(shape), tuple(spacing_mm), spacing))
    classes = spec.net.out_channels
    number_bytes = 2 if mode == "exact" else 4
    ensemble = 2 if model.members > 1 else 1
    source_bytes = math.prod(shape) * (4 * spec.net.in_channels + 4)
    grid_bytes = math.prod(grid) * (
        8 * spec.net.in_channels + number_bytes * (classes * ensemble + 1)
    )
    window_bytes = count_cost(spec.net, spec.windows.patch).peak_bytes
    weight_bytes = 4 * model.parameters * model.members
    total = source_bytes + grid_bytes + window_bytes + weight_bytes
    return _RUNTIME_MIB + math.ceil(total / _MIB)


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
