"""Scores of arms case by case, and the numbers that arms are compared by."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flare_train.claims.register import Comparison
from flare_train.stages.work import StageResult

__all__ = ["CaseRow", "case_rows", "case_values", "unlearned"]

# Mean DSC below which a net counts as not having found a class at all.
_NOTHING = 0.01


@dataclass(frozen=True, kw_only=True)
class CaseRow:
    """One label of one held-out case in one arm.

    Parameters
    ----------
    claim, arm : str
    seed : int
    case, name : str
        ``name``: of the label.
    label : int
    dsc, nsd : float
        NaN where not scored.
    prediction_ml, reference_ml : float
    seconds : float
        From file to label map, of the whole case.
    """

    claim: str
    arm: str
    seed: int
    case: str
    label: int
    name: str
    dsc: float
    nsd: float
    prediction_ml: float
    reference_ml: float
    seconds: float


def case_rows(
    claim: str, arm: str, seed: int, *, scored: StageResult, predicted: StageResult
) -> Iterator[CaseRow]:
    """Yield the rows of an arm from what its stages left.

    Parameters
    ----------
    claim, arm, seed : str, str, int
    scored, predicted : StageResult
        Of kind ``score`` and ``predict``.
    """
    path = scored.folder / "scores" / "labels.csv"
    with open(path, newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            case = row["Name"].removesuffix(".nii.gz")
            known = not row["Reason"]
            yield CaseRow(
                claim=claim,
                arm=arm,
                seed=seed,
                case=case,
                label=int(row["Label"]),
                name=row["Structure"],
                dsc=float(row["DSC"]) if known and row["DSC"] else math.nan,
                nsd=float(row["NSD"]) if known and row["NSD"] else math.nan,
                prediction_ml=float(row["Prediction_ml"]),
                reference_ml=float(row["Reference_ml"]),
                seconds=_seconds(predicted.folder / "records" / f"{case}.json"),
            )


def case_values(
    rows: Iterable[CaseRow], comparison: Comparison, *, organs: tuple[int, ...], tumor: int
) -> dict[tuple[int, str], float]:
    """Return the measure of a comparison by seed and case; cases that have none are left out.

    Parameters
    ----------
    rows : iterable of CaseRow
        Of one arm.
    comparison : Comparison
    organs, tumor : tuple of int, int
        Label ids.
    """
    wanted = set(comparison.labels or organs)
    found: dict[tuple[int, str], list[float]] = {}
    for row in rows:
        value = math.nan
        if comparison.measure == "seconds":
            value = row.seconds
        elif comparison.measure.startswith("organ_"):
            if row.label in wanted:
                value = row.dsc if comparison.measure == "organ_dsc" else row.nsd
        elif row.label == tumor and comparison.measure == "healthy_ml":
            value = row.prediction_ml if row.reference_ml == 0 else math.nan
        elif row.label == tumor and row.reference_ml > 0:
            value = row.dsc if comparison.measure == "tumor_dsc" else row.nsd
        if not math.isnan(value):
            found.setdefault((row.seed, row.case), []).append(value)
    return {place: float(np.mean(values)) for place, values in found.items()}


def unlearned(rows: Iterable[CaseRow], labels: Iterable[int]) -> tuple[tuple[str, int], ...]:
    """Return the pairs of label name and seed whose mean DSC is next to 0, where the label occurs.

    Notes
    -----
    At short budgets a class may not have emerged at all, which moves a mean over organs more than
    any effect under study; so these pairs are told beside the means.
    """
    wanted = set(labels)
    scores: dict[tuple[str, int], list[float]] = {}
    for row in rows:
        if row.label in wanted and row.reference_ml > 0 and not math.isnan(row.dsc):
            scores.setdefault((row.name, row.seed), []).append(row.dsc)
    return tuple(pair for pair, values in scores.items() if np.mean(values) < _NOTHING)


def _seconds(path: Path) -> float:
    try:
        return float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError):
        return math.nan
