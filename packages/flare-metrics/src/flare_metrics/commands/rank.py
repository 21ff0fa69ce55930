"""``flare-metrics rank``: teams ranked as the challenge does."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_metrics.command import ExitCode

if TYPE_CHECKING:
    from flare_metrics.ranking import Ranking
    from flare_metrics.ranking_scheme import RankingScheme

__all__ = ["add_parser"]


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``rank``."""
    parser = subcommands.add_parser(
        "rank",
        help="rank teams as the challenge does: in every case, then the mean",
        description="Ranks teams in every case and quantity and takes the mean. Exit code 3: a "
        "table cannot be read or lacks a quantity.",
    )
    add = parser.add_argument
    add(
        "teams",
        nargs="+",
        type=Path,
        metavar="TEAM",
        help="folder that score wrote, or one with an official DSC_NSD_<team>.csv, or that table; "
        "with a *_Efficiency.csv beside it where cost is ranked; two or more",
    )
    add(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="write ranking.csv, ranking.json and case_ranks.csv",
    )
    add(
        "--scheme",
        default="flare23",
        metavar="NAME|FILE.toml",
        help="flare21, flare22, flare23 (default), flare24-task1, or your own",
    )
    add(
        "--efficiency",
        type=Path,
        metavar="DIR",
        help="where the <team>_Efficiency.csv are, if not beside the scores",
    )
    add(
        "--quantity",
        action="append",
        default=[],
        metavar="NAME",
        help="rank this in place of the scheme's quantities; repeat for several: dsc, organ_dsc, "
        "lesion_nsd, time_s, area_gpu_mib_s, ...",
    )
    add("--weight", action="append", default=[], metavar="NAME=W", help="weight of a quantity")
    add(
        "--tolerance",
        action="append",
        default=[],
        metavar="NAME=VALUE|none",
        help="up to here a case is perfect",
    )
    add("--ties", choices=["min", "average"], help="rank of equal values; default: the scheme's")
    add(
        "--mixed-rules",
        action="store_true",
        help="rank scores of different protocols or settings all the same",
    )
    parser.set_defaults(command=_rank)


def _rank(arguments: argparse.Namespace) -> int:
    from flare_metrics.ranking import rank_teams
    from flare_metrics.ranking_scheme import ranking_scheme
    from flare_metrics.team_results import read_teams

    if len(arguments.teams) < 2:
        raise ValueError(f"at least two teams must be given, got {len(arguments.teams)}")
    scheme = ranking_scheme(arguments.scheme).with_changes(
        only=arguments.quantity,
        weights=_numbers("--weight", arguments.weight),
        tolerances=_numbers("--tolerance", arguments.tolerance),
        ties=arguments.ties,
    )
    teams = read_teams(
        arguments.teams,
        sources=scheme.sources,
        efficiency=arguments.efficiency,
        mixed_rules=arguments.mixed_rules,
    )
    ranking = rank_teams(teams, scheme=scheme)
    if arguments.output is not None:
        _write(ranking, arguments.output)
    if arguments.json:
        print(json.dumps(_record(ranking), indent=2, allow_nan=False))
        return ExitCode.DONE
    print(_table(ranking))
    for line in _remarks(ranking):
        sys.stderr.write(f"flare-metrics: {' '.join(line.split())}\n")
    return ExitCode.DONE


def _numbers(option: str, settings: list[str]) -> dict[str, Any]:
    numbers: dict[str, float | None] = {}
    for setting in settings:
        name, _, text = setting.partition("=")
        absent = option == "--tolerance" and text == "none"
        try:
            numbers[name] = None if absent else float(text)
        except ValueError:
            raise ValueError(f"{option} must be NAME=NUMBER, got {setting!r}") from None
    return numbers


def _write(ranking: Ranking, folder: Path) -> None:
    from flare_metrics.atomic import write_json, write_text
    from flare_metrics.tables import csv_text

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "ranking.csv", csv_text(_team_rows(ranking)))
    write_text(folder / "case_ranks.csv", csv_text(_case_rows(ranking)))
    write_json(folder / "ranking.json", _record(ranking))


def _record(ranking: Ranking) -> dict[str, Any]:
    """Return the ranking as a JSON-ready dict, None for NaN."""
    rows = [asdict(team) for team in ranking.teams]
    for row in rows:
        row["by_quantity"] = _known(row["by_quantity"])
    return {
        "scheme": asdict(ranking.scheme),
        "cases": list(ranking.cases),
        "unranked": list(ranking.unranked),
        "unscored": {name: list(cases) for name, cases in ranking.unscored.items()},
        "stability": ranking.stability,
        "tau": _known(ranking.tau),
        "teams": rows,
    }


def _known(numbers: dict[str, float]) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in numbers.items()}


def _team_rows(ranking: Ranking) -> list[list[str]]:
    sources = [quantity.source for quantity in ranking.scheme.quantities]
    header = ["Position", "Team", "Mean_rank", "Normalized_rank", "CI95_low", "CI95_high"]
    header += ["Position_low", "Position_high", "First_share", *sources, "Missing"]
    rows = [header]
    for team in ranking.teams:
        values = [
            *(team.position, team.name, team.mean_rank, team.normalized_rank),
            *(team.ci95 or ("", "")),
            *(team.position_ci95 or ("", "")),
            "" if team.first_share is None else team.first_share,
            *(_cell(team.by_quantity[source]) for source in sources),
            team.missing,
        ]
        rows.append([str(value) for value in values])
    return rows


def _case_rows(ranking: Ranking) -> list[list[str]]:
    rows = [["Case", "Quantity", "Team", "Value", "Rank"]]
    for place, quantity in enumerate(ranking.scheme.quantities):
        for row, case in enumerate(ranking.cases):
            for column, team in enumerate(ranking.teams):
                cells = (array[place, row, column] for array in (ranking.values, ranking.ranks))
                rows.append([case, quantity.source, team.name, *map(_cell, cells)])
    return rows


def _cell(value: float) -> str:
    return "" if math.isnan(value) else repr(float(value))


def _remarks(ranking: Ranking) -> list[str]:
    nothing = [f"no team has a value in: {', '.join(ranking.unranked)}"] if ranking.unranked else []
    missing = [
        f"{team.name}: something is missing in {team.missing} of {len(ranking.cases)} cases, last "
        "rank there"
        for team in ranking.teams
        if team.missing
    ]
    unscored = [
        f"{name}: measured, but not scored: {', '.join(cases)}"
        for name, cases in ranking.unscored.items()
        if cases
    ]
    return [*nothing, *missing, *unscored]


def _table(ranking: Ranking) -> str:
    scheme = ranking.scheme
    width = max(8, *(len(team.name) for team in ranking.teams)) + 2
    columns = [
        (quantity.source, max(10, len(quantity.source) + 2)) for quantity in scheme.quantities
    ]
    lines = [
        f"{'':>4} {'team':{width}}{'mean rank':>10}{'95 % interval':>18}{'places':>8}{'first':>8}"
        + "".join(f"{name:>{space}}" for name, space in columns)
    ]
    for team in ranking.teams:
        interval = "-" if team.ci95 is None else f"{team.ci95[0]:.3f} to {team.ci95[1]:.3f}"
        places = "-" if team.position_ci95 is None else "{} to {}".format(*team.position_ci95)
        first = "-" if team.first_share is None else f"{team.first_share:.1%}"
        lines.append(
            f"{team.position:>4} {team.name:{width}}{team.mean_rank:10.3f}{interval:>18}"
            f"{places:>8}{first:>8}"
            + "".join(f"{team.by_quantity[name]:{space}.3f}" for name, space in columns)
        )
    stable = (
        ""
        if ranking.stability is None
        else (f"; Kendall's tau with resampled cases {ranking.stability:.3f}")
    )
    lines += ["", f"scheme {scheme.name}: {_described(scheme)}; {len(ranking.cases)} cases{stable}"]
    return "\n".join(lines)


def _described(scheme: RankingScheme) -> str:
    parts = []
    for each in scheme.quantities:
        text = each.source if each.weight == 1 else f"{each.source} x {each.weight:g}"
        if each.tolerance is not None:
            text += f" (perfect up to {each.tolerance_of} {each.tolerance:g})"
        parts.append(text)
    return f"{', '.join(parts)}, ties {scheme.ties}"
