"""From a dataset folder to the settings of a run: measured, planned, written."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flare_io.atomic import write_json
from flare_io.dataset import Dataset, read_dataset
from flare_train.config import LossConfig
from flare_train.errors import TrainingDataError
from flare_train.fingerprint import Fingerprint
from flare_train.planning.budget import Budget, Spending, count_spending, plan_to_budget
from flare_train.planning.plan import Plan, make_plan
from flare_train.planning.rules import PlanRules, plan_rules
from flare_train.planning.training import planned_preprocessing, planned_training
from flare_train.training_case import TrainingCase, training_cases

__all__ = ["PlanRequest", "PlannedRun", "plan_run"]


@dataclass(frozen=True, kw_only=True)
class PlanRequest:
    """What is asked of a plan; None leaves it to the rules.

    Parameters
    ----------
    rules : PlanRules
    budget : Budget
        Any limit in it plans to the budget instead of by the rules' memory alone.
    spacing_mm : (3,) float, optional
        Canonical axes (z, y, x).
    patch : (3,) int, optional
        Not together with a budget.
    batch : int, optional
    classes : tuple of int, optional
        Label ids to learn. None: all that some case annotates.
    validation_cases : int
        Cases held back by the run.
    """

    rules: PlanRules = field(default_factory=lambda: plan_rules("default"))
    budget: Budget = field(default_factory=Budget)
    spacing_mm: tuple[float, ...] | None = None
    patch: tuple[int, ...] | None = None
    batch: int | None = None
    classes: tuple[int, ...] | None = None
    validation_cases: int = 0

    def __post_init__(self) -> None:
        if self.patch is not None and self.budget.limits:
            raise ValueError(
                "patch and budget cannot be given together: a budget may need a smaller patch; "
                "leave one of them out"
            )


@dataclass(frozen=True, kw_only=True)
class PlannedRun:
    """A plan and the files that were written.

    Attributes
    ----------
    settings : Path
        For ``flare-train fit -c``.
    plan : Plan
    spending : Spending
        What the planned net costs.
    classes : tuple of int
    partial : str
        How the loss treats classes that a case does not annotate.
    cases : int
    """

    settings: Path
    plan: Plan
    spending: Spending
    classes: tuple[int, ...]
    partial: str
    cases: int

    def to_dict(self) -> dict[str, Any]:
        """Return the plan ready for JSON."""
        full = self.plan.fullres
        return {
            "settings": str(self.settings),
            "cases": self.cases,
            "classes": list(self.classes),
            "partial": self.partial,
            "rules": self.plan.rules.name,
            "transpose": list(self.plan.transpose),
            "spacing_mm": list(full.spacing_mm),
            "median_shape": list(full.median_shape),
            "patch": list(full.patch),
            "batch": full.batch,
            "features": list(full.net.features),
            "strides": [list(stride) for stride in full.net.strides],
            "lowres_spacing_mm": (
                None if self.plan.lowres is None else list(self.plan.lowres.spacing_mm)
            ),
            **dataclasses.asdict(self.spending),
        }

    def describe(self) -> str:
        """Return the plan in a few lines."""
        full, spent = self.plan.fullres, self.spending
        spacing = " x ".join(f"{length:.3g}" for length in full.spacing_mm)
        shape = " x ".join(f"{edge:.0f}" for edge in full.median_shape)
        lines = [
            f"cases      {self.cases}, classes {', '.join(map(str, self.classes[1:]))}; "
            f"not annotated: {self.partial}",
            f"grid       {spacing} mm, median case {shape} voxels",
            f"patch      {' x '.join(map(str, full.patch))}, batch {full.batch}",
            f"net        {full.net.architecture}, "
            f"features {', '.join(map(str, full.net.features))}",
            f"weights    {spent.parameters / 1e6:.2f} M",
            f"work       {spent.macs_per_case / 1e9:.0f} GMAC for the median case, "
            f"{spent.windows} windows",
            f"memory     {spent.inference_mib:.0f} MiB for a window, {spent.training_mib:.0f} MiB "
            "for a step, float32",
            f"settings   {self.settings}",
        ]
        return "\n".join(lines)


def plan_run(
    dataset: os.PathLike[str] | str,
    output: os.PathLike[str] | str,
    request: PlanRequest,
    *,
    labels: os.PathLike[str] | str | None = None,
    completed: Sequence[int] | None = None,
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> PlannedRun:
    """Measure a dataset, plan, and write the settings of a run.

    Parameters
    ----------
    dataset : path
        nnU-Net's or FLARE's folder.
    output : path
        Gets ``settings.json``, ``fingerprint.json`` and ``measured/``, which a second call reuses.
    request : PlanRequest
    labels, completed : path, sequence of int, optional
        Other label maps and what they show, see `flare_train.training_case.training_cases`.
    jobs : int, optional
        Cases measured at the same time.
    progress : callable, optional
        Called as ``progress(case, done, total)``.

    Returns
    -------
    PlannedRun

    Raises
    ------
    TrainingDataError, flare_io.DatasetError
        If the dataset cannot be learned from; the message names the case.
    ValueError
        If no net keeps to the request.
    """
    from flare_train.measurement import take_fingerprint
    from flare_train.run import RunConfig

    source = read_dataset(dataset)
    if source.regions:
        raise TrainingDataError(
            f"{source.root / 'dataset.json'}: labels must be plain classes, found the regions "
            f"{', '.join(source.regions)}; give each voxel value a name of its own"
        )
    cases = training_cases(source, labels=labels, completed=completed)
    classes = _classes(source, cases, request.classes)
    root = Path(output)
    root.mkdir(parents=True, exist_ok=True)
    fingerprint = take_fingerprint(
        cases, root / "measured", table=source.table, jobs=jobs, progress=progress
    )
    write_json(root / "fingerprint.json", fingerprint.to_dict())
    entries = len(source.table) + 1 + (source.ignore_label is not None)
    plan, spending = _plan(fingerprint, request, out_channels=len(classes), entries=entries)
    whole = all(case.annotated >= set(classes[1:]) for case in cases)
    loss = LossConfig(
        batch_dice=plan.fullres.batch_dice,
        partial="refuse" if whole else "marginal",
        ignore_label=source.ignore_label is not None,
    )
    config = RunConfig(
        train=planned_training(plan.fullres, classes=classes, loss=loss),
        preprocessing=planned_preprocessing(plan, fingerprint, channels=source.channels),
        validation_cases=request.validation_cases,
    )
    settings = root / "settings.json"
    write_json(settings, config.to_dict())
    return PlannedRun(
        settings=settings,
        plan=plan,
        spending=spending,
        classes=classes,
        partial=loss.partial,
        cases=len(cases),
    )


def _plan(
    fingerprint: Fingerprint, request: PlanRequest, *, out_channels: int, entries: int
) -> tuple[Plan, Spending]:
    if request.budget.limits:
        return plan_to_budget(
            fingerprint,
            request.budget,
            out_channels=out_channels,
            rules=request.rules,
            spacing_mm=request.spacing_mm,
            batch=request.batch,
        )
    plan = make_plan(
        fingerprint,
        out_channels=out_channels,
        rules=request.rules,
        spacing_mm=request.spacing_mm,
        patch=request.patch,
        batch=request.batch,
        outputs=entries,
    )
    return plan, count_spending(plan.fullres)


def _classes(
    source: Dataset, cases: Sequence[TrainingCase], wanted: Sequence[int] | None
) -> tuple[int, ...]:
    annotated = frozenset[int]().union(*(case.annotated for case in cases)) & set(source.table.ids)
    if wanted is None:
        return (0, *sorted(annotated))
    missing = sorted(set(wanted) - {0} - annotated)
    if missing:
        raise TrainingDataError(
            f"{source.root}: no case annotates the classes {missing}; annotated are "
            f"{sorted(annotated)}"
        )
    return (0, *sorted(set(wanted) - {0}))
