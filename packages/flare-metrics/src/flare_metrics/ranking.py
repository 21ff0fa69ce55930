"""Teams ranked as the challenge does: in every case and quantity, then the mean of the ranks.

A case within the tolerance of a quantity is perfect there. A team without a value in a case gets
the last rank, the number of teams. How much hangs on the choice of cases is told by drawing them
anew, 4000 times, with a fixed seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.bootstrap import CONFIDENCE, resampled_counts
from flare_metrics.case_ranks import kendall_tau, positions, ranks
from flare_metrics.ranking_scheme import Quantity, RankingScheme
from flare_metrics.team_results import TeamResults

__all__ = ["Ranking", "TeamRank", "rank_teams"]

_Floats = NDArray[np.float64]
_TAILS = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)


@dataclass(frozen=True, kw_only=True)
class TeamRank:
    """The rank of one team.

    Parameters
    ----------
    name : str
    position : int
        From 1; equal mean ranks share the best.
    mean_rank : float
        Weighted mean of the ranks over cases and quantities.
    normalized_rank : float
        ``mean_rank`` divided by the number of teams, as in 2021.
    ci95 : (low, high) or None
        Percentiles of the mean rank over resampled cases; None for a single case.
    position_ci95 : (low, high) or None
        The same of the position.
    first_share : float or None
        Share of the resamples in which the team is first; teams that tie share it.
    by_quantity : dict
        Mean rank in each quantity.
    missing : int
        Ranked cases in which a quantity of the team is missing.
    """

    name: str
    position: int
    mean_rank: float
    normalized_rank: float
    ci95: tuple[float, float] | None
    position_ci95: tuple[int, int] | None
    first_share: float | None
    by_quantity: dict[str, float]
    missing: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Ranking:
    """Teams in order, best first.

    Parameters
    ----------
    scheme : RankingScheme
    teams : tuple of TeamRank
    cases : tuple of str
        Those that are ranked, sorted.
    unranked : tuple of str
        Cases in which no team has any value.
    unscored : dict
        By team the cases of its table of cost that its score table lacks.
    ranks, values : (quantities, cases, teams) float array
        In the order of ``scheme.quantities``, ``cases`` and ``teams``. A rank is NaN where no team
        has a value, a value where this one has none.
    stability : float or None
        Mean Kendall tau-b between this order and those of the resamples.
    tau : dict
        Kendall tau-b between this order and that of each quantity alone; NaN where one ties all.
    """

    scheme: RankingScheme
    teams: tuple[TeamRank, ...]
    cases: tuple[str, ...]
    unranked: tuple[str, ...]
    unscored: dict[str, tuple[str, ...]]
    ranks: _Floats
    values: _Floats
    stability: float | None
    tau: dict[str, float]


def rank_teams(teams: Sequence[TeamResults], *, scheme: RankingScheme) -> Ranking:
    """Rank teams.

    Parameters
    ----------
    teams : sequence of TeamResults
        At least two, in any order.
    scheme : RankingScheme

    Returns
    -------
    Ranking
        Over all cases that any team has.

    Raises
    ------
    ValueError
        If there are fewer than two teams, two of one name, or no case has a value.

    Notes
    -----
    Memory: 8 bytes for each of 4000 resamples and pairs of teams, besides the ranks themselves.
    """
    names = [team.name for team in teams]
    if len(teams) < 2 or len(set(names)) < len(names):
        raise ValueError(f"teams must be at least two, each once, got {', '.join(names) or 'none'}")
    # By name, so that the order of the arguments decides nothing, not even the order of equals.
    teams = sorted(teams, key=lambda team: team.name)
    all_cases = sorted({case for team in teams for case in team.cases})
    values = np.array([_values(teams, all_cases, each.source) for each in scheme.quantities])
    costs = np.array([_costs(teams, all_cases, each) for each in scheme.quantities])
    ranked = ~np.isnan(values).all(axis=(0, 2))
    if not ranked.any():
        raise ValueError("at least one case must have values of a ranked quantity, got none")
    values = values[:, ranked]
    # A case in which no team has a quantity says nothing by it.
    nothing = np.isnan(values).all(axis=2, keepdims=True)
    case_ranks = np.where(nothing, np.nan, ranks(costs[:, ranked], ties=scheme.ties))
    mean_ranks, replicates = _aggregated(case_ranks, scheme)
    quantity_ranks = _row_means(case_ranks)
    missing = (np.isnan(values) & ~nothing).any(axis=0).sum(axis=0)
    order = np.argsort(positions(mean_ranks), kind="stable")
    places = None if replicates is None else positions(replicates)
    rows = []
    for team in order:
        by_quantity = {
            each.source: float(row[team])
            for each, row in zip(scheme.quantities, quantity_ranks, strict=True)
        }
        rows.append(
            TeamRank(
                name=teams[team].name,
                position=int(positions(mean_ranks)[team]),
                mean_rank=float(mean_ranks[team]),
                normalized_rank=float(mean_ranks[team]) / len(teams),
                **_spread(int(team), replicates, places),
                by_quantity=by_quantity,
                missing=int(missing[team]),
            )
        )
    return Ranking(
        scheme=scheme,
        teams=tuple(rows),
        cases=tuple(case for case, kept in zip(all_cases, ranked, strict=True) if kept),
        unranked=tuple(case for case, kept in zip(all_cases, ranked, strict=True) if not kept),
        unscored={team.name: team.unscored for team in teams},
        ranks=case_ranks[..., order],
        values=values[..., order],
        stability=_stability(mean_ranks, replicates),
        tau={
            each.source: float(kendall_tau(mean_ranks, row))
            for each, row in zip(scheme.quantities, quantity_ranks, strict=True)
        },
    )


def _values(teams: Sequence[TeamResults], cases: Sequence[str], source: str) -> _Floats:
    """Return a quantity as a (cases, teams) array, NaN where a team lacks it."""
    columns = [team.values.get(source, {}) for team in teams]
    table = [[column.get(case, np.nan) for column in columns] for case in cases]
    return np.array(table, float).reshape(len(cases), len(teams))


def _costs(teams: Sequence[TeamResults], cases: Sequence[str], quantity: Quantity) -> _Floats:
    """Return what is ranked, small is good: perfect cases are -infinity."""
    values = _values(teams, cases, quantity.source)
    costs = -values if quantity.larger_is_better else values
    if quantity.tolerance is None:
        return costs
    within = _values(teams, cases, quantity.tolerance_of) <= quantity.tolerance
    return np.where(within & ~np.isnan(costs), -np.inf, costs)


def _row_means(case_ranks: _Floats) -> _Floats:
    """Return the mean rank of every quantity and team; NaN of a quantity that no case has."""
    known = ~np.isnan(case_ranks)
    with np.errstate(invalid="ignore"):
        means: _Floats = np.where(known, case_ranks, 0.0).sum(axis=1) / known.sum(axis=1)
    return means


def _aggregated(case_ranks: _Floats, scheme: RankingScheme) -> tuple[_Floats, _Floats | None]:
    """Return the weighted mean ranks, and those of all resamples of two cases or more."""
    weights = np.array([each.weight for each in scheme.quantities])[:, np.newaxis, np.newaxis]
    known = ~np.isnan(case_ranks)
    sums = (weights * np.where(known, case_ranks, 0.0)).sum(axis=0)
    weight = (weights * known).sum(axis=0)
    mean_ranks = sums.sum(axis=0) / weight.sum(axis=0)
    if len(sums) < 2:
        return mean_ranks, None
    resamples = [(counts @ sums) / (counts @ weight) for counts in resampled_counts(len(sums))]
    return mean_ranks, np.concatenate(resamples)


def _spread(
    team: int, replicates: _Floats | None, places: NDArray[np.int64] | None
) -> dict[str, Any]:
    """Return what the resamples say about one team."""
    if replicates is None or places is None:
        return {"ci95": None, "position_ci95": None, "first_share": None}
    low, high = np.quantile(replicates[:, team], _TAILS)
    first, last = np.quantile(places[:, team], _TAILS, method="inverted_cdf")
    winners = places == 1
    return {
        "ci95": (float(low), float(high)),
        "position_ci95": (int(first), int(last)),
        "first_share": float((winners[:, team] / winners.sum(axis=1)).mean()),
    }


def _stability(mean_ranks: _Floats, replicates: _Floats | None) -> float | None:
    if replicates is None:
        return None
    tau = kendall_tau(mean_ranks, replicates)
    return None if np.isnan(tau).all() else float(np.nanmean(tau))
