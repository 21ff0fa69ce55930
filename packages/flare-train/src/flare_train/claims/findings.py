"""From the rows of all arms to what became of each comparison."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from flare_metrics.paired_tests import holm
from flare_train.claims.measures import CaseRow, case_values
from flare_train.claims.register import Claim, Comparison
from flare_train.claims.statistics import (
    Spread,
    planned_half_width,
    sign_test,
    two_level_interval,
)

__all__ = ["SPREADS", "Finding", "adjusted", "findings_of"]

# Between two pilot seeds organ DSC moved by 0.03 and tumor DSC by 0.07 to 0.34; between cases
# 0.06 and 0.20 are assumed.
SPREADS = {
    "organ_dsc": Spread(between_seeds=0.03, between_cases=0.06),
    "tumor_dsc": Spread(between_seeds=0.12, between_cases=0.20),
}


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One comparison, tried.

    Parameters
    ----------
    claim : str
    comparison : Comparison
    seeds, pairs : int
        Pairs of cases, all seeds together.
    first_mean, second_mean, effect : float
        Means over seeds of means over cases; ``effect`` is second minus first.
    low, high : float
        95 % interval of the effect.
    planned : float or None
        Half-width that was expected before the run; None where no spread is assumed.
    positive, negative : int
        Cases in which the second arm is higher, and lower.
    p, p_holm : float
        Of the sign test, and adjusted for all comparisons of the run.
    verdict : str
    """

    claim: str
    comparison: Comparison
    seeds: int
    pairs: int
    first_mean: float
    second_mean: float
    effect: float
    low: float
    high: float
    planned: float | None
    positive: int
    negative: int
    p: float
    p_holm: float
    verdict: str

    @property
    def half_width(self) -> float:
        """Of the interval."""
        return (self.high - self.low) / 2


def findings_of(
    claim: Claim, rows: Sequence[CaseRow], *, organs: tuple[int, ...], tumor: int
) -> tuple[Finding, ...]:
    """Return what became of the comparisons of a claim; one without a common case is left out.

    Parameters
    ----------
    claim : Claim
    rows : sequence of CaseRow
        Of all its arms and seeds.
    organs, tumor : tuple of int, int
        Label ids.
    """
    found = []
    for comparison in claim.comparisons:
        values = [
            case_values(
                (row for row in rows if row.arm == arm), comparison, organs=organs, tumor=tumor
            )
            for arm in (comparison.first, comparison.second)
        ]
        common = sorted(values[0].keys() & values[1].keys())
        if common:
            found.append(_finding(claim, comparison, values, common))
    return tuple(found)


def adjusted(findings: Sequence[Finding]) -> tuple[Finding, ...]:
    """Return the findings with p-values adjusted by Holm for their number."""
    values = holm([each.p for each in findings])
    return tuple(replace(each, p_holm=float(p)) for each, p in zip(findings, values, strict=True))


def _finding(
    claim: Claim,
    comparison: Comparison,
    values: Sequence[dict[tuple[int, str], float]],
    common: Sequence[tuple[int, str]],
) -> Finding:
    first, second = values
    seeds = sorted({seed for seed, _ in common})
    by_seed = [[place for place in common if place[0] == seed] for seed in seeds]
    differences = [
        np.array([second[place] - first[place] for place in places]) for places in by_seed
    ]
    means = [
        float(np.mean([np.mean([each[place] for place in places]) for places in by_seed]))
        for each in values
    ]
    low, high = two_level_interval(differences)
    positive, negative, p = sign_test(np.concatenate(differences))
    spread = {**SPREADS, **claim.spreads}.get(comparison.measure)
    planned = None
    if spread is not None:
        cases = max(1, len(common) // len(seeds))
        planned = planned_half_width(spread, seeds=len(seeds), cases=cases)
    effect = float(np.mean([each.mean() for each in differences]))
    return Finding(
        claim=claim.id,
        comparison=comparison,
        seeds=len(seeds),
        pairs=len(common),
        first_mean=means[0],
        second_mean=means[1],
        effect=effect,
        low=low,
        high=high,
        planned=planned,
        positive=positive,
        negative=negative,
        p=p,
        p_holm=p,
        verdict=_verdict(comparison.expect, effect, (low, high), planned),
    )


def _verdict(
    expect: str, effect: float, interval: tuple[float, float], planned: float | None
) -> str:
    """Put the interval beside the expectation; what is below the planned width is no finding."""
    low, high = interval
    margin = planned or 0.0
    if expect == "same" and -margin <= low and high <= margin:
        return "same within what can be seen"
    if low <= 0 <= high:
        return "undecided"
    if abs(effect) < margin:
        return "too small to tell"
    if expect == "same":
        return "differs"
    return "reproduced" if (low > 0) == (expect == "higher") else "reversed"
