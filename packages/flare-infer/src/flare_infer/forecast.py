"""What a case of a model will cost with the shortcuts that it is run with, said before the run."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flare_infer.backends.choice import Choice
from flare_infer.fast import FastSettings
from flare_infer.memory import CasePlan, plan_case, require_memory, volume_grid
from flare_infer.model import Model
from flare_infer.sliding import Net
from flare_infer.spec import Mode
from flare_io.volume import Volume

__all__ = ["HowRun", "admit_case", "forecast_case", "with_seconds"]

# Preparing and deciding, on one core.
_SECONDS_PER_VOXEL = 4e-8


@dataclass(frozen=True, kw_only=True)
class HowRun:
    """How a case is predicted, as far as its cost goes.

    Parameters
    ----------
    choice : Choice
        Where the networks run.
    fast : FastSettings
        Shortcuts of fast mode, which change windows and what is held.
    mode : {"fast", "exact"}, optional
        Each layer's default otherwise.
    tta : bool
        Average over mirror images.
    """

    choice: Choice
    fast: FastSettings
    mode: Mode | None = None
    tta: bool = False


def forecast_case(
    model: Model,
    shape: Sequence[int],
    *,
    spacing_mm: Sequence[float],
    how: HowRun,
    voxel_bytes: int = 2,
    budget_mib: int | None = None,
) -> CasePlan:
    """Return what a case will cost, by arithmetic alone.

    Parameters
    ----------
    model, shape, spacing_mm, voxel_bytes, budget_mib
        As for `flare_infer.memory.plan_case`.
    how : HowRun

    Returns
    -------
    CasePlan
        Without seconds.
    """
    return plan_case(
        _as_run(model, how),
        shape,
        spacing_mm=spacing_mm,
        choice=how.choice,
        mode=how.mode,
        tta=how.tta,
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
    how: HowRun,
    budget_mib: int | None = None,
) -> bool:
    """Refuse a case that cannot be predicted, or that does not fit a budget.

    Parameters
    ----------
    model : Model
    channels : sequence of Volume
        The case, at least one.
    how, budget_mib
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
        how=how,
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


def _as_run(model: Model, how: HowRun) -> Model:
    """Return a model whose layers are described as they are run."""
    overlays = (replace(each, model=_as_run(each.model, how)) for each in model.overlays)
    spec = how.fast.in_mode(model.spec, how.mode or model.spec.default_mode)
    return replace(model, spec=spec, overlays=tuple(overlays))
