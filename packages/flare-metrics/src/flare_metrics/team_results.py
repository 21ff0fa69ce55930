"""What a team is ranked by: its scores and its cost, case by case."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from flare_metrics._case_rows import read_case_rows
from flare_metrics.errors import UnreadableFileError
from flare_metrics.ranking_scheme import ACCURACY, EFFICIENCY
from flare_metrics.score_table import ScoreTable, distinct_names, read_scores
from flare_metrics.scoring_rules import notes_on_rules

__all__ = ["TeamResults", "read_teams"]

_ENDING = "_Efficiency.csv"
# Images carry their channel in this, tables of cost name images.
_CHANNEL = "_0000"


@dataclass(frozen=True, kw_only=True)
class TeamResults:
    """Everything that one team is ranked by.

    Parameters
    ----------
    name : str
    values : dict
        By quantity and case; a case without a value is missing.
    cases : tuple of str
        The cases of its score table, scored or not.
    unscored : tuple of str
        Cases of its table of cost that its score table lacks; without values.
    """

    name: str
    values: Mapping[str, Mapping[str, float]]
    cases: tuple[str, ...]
    unscored: tuple[str, ...] = ()


def read_teams(
    paths: Sequence[Path],
    *,
    sources: Sequence[str],
    efficiency: Path | None = None,
    mixed_rules: bool = False,
) -> list[TeamResults]:
    """Read the tables of all teams.

    Parameters
    ----------
    paths : sequence of Path
        For each team the folder that ``score`` wrote, or one with an official table, or that table
        itself; where cost is ranked, with a ``*_Efficiency.csv`` beside it.
    sources : sequence of str
        The quantities that are needed; see `flare_metrics.ranking_scheme`.
    efficiency : Path, optional
        Folder of all ``<team>_Efficiency.csv`` instead.
    mixed_rules : bool
        Take scores of different protocols, settings or tolerances too.

    Returns
    -------
    list of TeamResults
        A case whose prediction was missing or refused has no values at all, cost included. A
        score of a sound case that has nothing to score (absent in both) is 1, as in the official
        protocols.

    Raises
    ------
    UnreadableFileError
        If a table is missing, damaged, or lacks a quantity.
    ValueError
        If a team is given twice, or the rules differ and ``mixed_rules`` is not set.
    """
    tables = distinct_names([read_scores(path) for path in paths])
    notes_on_rules(tables, mixed=mixed_rules)
    teams = []
    for table in tables:
        values = {source: _scores(table, source) for source in sources if source in ACCURACY}
        costs = [source for source in sources if source in EFFICIENCY]
        columns = _costs(_find(table, efficiency), costs) if costs else {}
        sound = {case for case, good in zip(table.cases, table.scored, strict=True) if good}
        for source, column in columns.items():
            values[source] = {
                case: value
                for case, value in column.items()
                if case in sound and not math.isnan(value)
            }
        timed = {case for column in columns.values() for case in column}
        unscored = tuple(sorted(timed - {*table.cases, *table.strangers}))
        teams.append(
            TeamResults(name=table.name, values=values, cases=table.cases, unscored=unscored)
        )
    return teams


def _scores(table: ScoreTable, source: str) -> dict[str, float]:
    kind, _, metric = source.rpartition("_")
    labels = {"organ": table.organs, "lesion": table.lesions, "": table.labels}[kind]
    if not labels or metric not in table.values:
        raise UnreadableFileError(
            table.path,
            f"must have what {source} is made of",
            found=", ".join(table.labels) or "no labels",
            remedy="rank by other quantities",
        )
    means = table.case_means(metric, labels).round(12)
    nothing_to_score = 1.0 if table.has_status else math.nan
    values = {
        case: nothing_to_score if math.isnan(value) else float(value)
        for case, value, good in zip(table.cases, means, table.scored, strict=True)
        if good
    }
    return {case: value for case, value in values.items() if not math.isnan(value)}


def _find(table: ScoreTable, folder: Path | None) -> Path:
    """Return the table of cost that has the team's name, or the only one beside its scores."""
    place = table.path.parent if folder is None else folder
    found = sorted(place.glob(f"*{_ENDING}"))
    own = [path for path in found if path.name.removesuffix(_ENDING) == table.name]
    if own or (len(found) == 1 and folder is None):
        return (own or found)[0]
    raise UnreadableFileError(
        place,
        f"must hold {table.name}{_ENDING}, or only one such table beside the scores",
        found=", ".join(path.name for path in found) or "none",
        remedy="write it by `flare-metrics measure --cases`, or rank by scores only: "
        "--quantity dsc --quantity nsd",
    )


def _costs(path: Path, sources: Sequence[str]) -> dict[str, dict[str, float]]:
    rows = read_case_rows(path, name_ending=_CHANNEL)
    costs = {}
    for source in sources:
        column = next((name for name in EFFICIENCY[source] if name in rows.columns), None)
        if column is None:
            raise UnreadableFileError(
                path, f"must have a column {EFFICIENCY[source][0]}", found=", ".join(rows.columns)
            )
        costs[source] = {case: rows.number(case, column) for case in rows.rows}
        if all(math.isnan(value) for value in costs[source].values()):
            raise UnreadableFileError(
                path,
                f"must have values of {column}",
                found="empty cells only",
                remedy="rank by other quantities",
            )
    return costs
