"""What a case of a model will cost with the shortcuts that it is run with, said before the run."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from flare_infer.fast import FastSettings
from flare_infer.memory import CasePlan, plan_case, require_memory, volume_grid
from flare_infer.model import Model
from flare_infer.sliding import Net
from flare_infer.spec import Mode
from flare_io.volume import Volume

__all__ = ["admit_case", "forecast_case", "with_seconds"]

# Preparing and deciding, on one core.
_SECONDS_PER_VOXEL = 4e-8


def forecast_case(
    model: Model,
    shape: Sequence[int],
    *,
    spacing_mm: Sequence[float],
    mode: Mode | None,
    fast: FastSettings,
    tta: bool = False,
    voxel_bytes: int = 2,
    budget_mib: int | None = None,
) -> CasePlan:
    """Return what a case will cost, by arithmetic alone.

    Parameters
    ----------
    model, shape, spacing_mm, mode, tta, voxel_bytes, budget_mib
        As for `flare_infer.memory.plan_case`.
    fast : FastSettings
        Shortcuts of fast mode, which change windows and what is held.

    Returns
    -------
    CasePlan
        Without seconds.
    """
    return plan_case(
        _as_run(model, mode, fast),
        shape,
        spacing_mm=spacing_mm,
        mode=mode,
        tta=tta,
        voxel_bytes=voxel_bytes,
        budget_mib=budget_mib,
    )


def with_seconds(
    plan: CasePlan, model: Model, nets: Sequence[Sequence[Net]], shape: Sequence[int]
) -> CasePlan:
    """Return a plan with seconds, from one empty window of each layer.

    Parameters
    ----------
    plan : CasePlan
        Of `forecast_case`.
    model : Model
    nets : sequence of sequences of Net
        The loaded members of each of `Model.layers`; the first of each looks at a window.
    shape : (3,) int
        Of the volume.

    Notes
    -----
    Seconds hold for this machine with its load of this moment.
    """
    looked_at = 0
    started = time.perf_counter()
    for (layer, _), members in zip(model.layers, nets, strict=True):
        net, patch = layer.spec.net, layer.spec.windows.patch
        members[0](np.zeros((1, net.in_channels, *patch), dtype=np.float32))
        looked_at += layer.macs
    spent = time.perf_counter() - started
    voxels = _SECONDS_PER_VOXEL * math.prod(shape)
    return replace(plan, seconds=spent * plan.macs / max(looked_at, 1) + voxels)


def admit_case(
    model: Model,
    channels: Sequence[Volume],
    *,
    mode: Mode | None,
    fast: FastSettings,
    budget_mib: int | None = None,
) -> bool:
    """Refuse a case that cannot be predicted, or that does not fit a budget.

    Parameters
    ----------
    model : Model
    channels : sequence of Volume
        The case, at least one.
    mode, fast, budget_mib
        As for `forecast_case`; without a budget memory is not looked at.

    Returns
    -------
    bool
        Whether memory is so tight that time is spent, see `CasePlan.compact`.

    Raises
    ------
    ValueError
        If voxels are no numbers, or not finite.
    MemoryError
        Naming the smallest budget that works.
    """
    for number, channel in enumerate(channels):
        _check_voxels(number, channel)
    if budget_mib is None:
        return False
    shape, spacing_mm = volume_grid(channels[0], model.spec.preprocessing)
    plan = forecast_case(
        model,
        shape,
        spacing_mm=spacing_mm,
        mode=mode,
        fast=fast,
        voxel_bytes=sum(channel.array.itemsize for channel in channels),
        budget_mib=budget_mib,
    )
    require_memory(plan.peak_mib, budget_mib)
    return plan.compact


def _check_voxels(number: int, channel: Volume) -> None:
    kind = channel.array.dtype.kind
    if kind not in "iuf":
        raise ValueError(f"image must hold numbers, got {channel.array.dtype}")
    if kind == "f" and not np.isfinite(channel.array).all():
        count = int((~np.isfinite(channel.array)).sum())
        raise ValueError(
            f"channel {number} holds {count} voxels that are not finite; "
            "replace them, or read with ReadPolicy(nan_value=-1024)"
        )


def _as_run(model: Model, mode: Mode | None, fast: FastSettings) -> Model:
    """Return a model whose layers are described as they are run."""
    overlays = (replace(each, model=_as_run(each.model, mode, fast)) for each in model.overlays)
    spec = fast.in_mode(model.spec, mode or model.spec.default_mode)
    return replace(model, spec=spec, overlays=tuple(overlays))
