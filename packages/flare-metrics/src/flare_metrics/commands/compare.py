"""``flare-metrics compare``: paired differences of methods on the same cases."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_metrics.command import ExitCode

if TYPE_CHECKING:
    from flare_metrics.comparison import Comparison, Difference

__all__ = ["add_parser"]

_METRICS = ("dsc", "nsd", "hd95_mm", "assd_mm")


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``compare``."""
    parser = subcommands.add_parser(
        "compare",
        help="paired differences of two or more scored folders, with intervals and tests",
        description="Compares every two methods on the cases that both have. Exit code 3: a table "
        "cannot be read; 2: they cannot be compared.",
    )
    add = parser.add_argument
    add(
        "scores",
        nargs="+",
        type=Path,
        metavar="SCORES",
        help="folder that score wrote, or an official DSC_NSD_<team>.csv; two or more",
    )
    add("-o", "--output", type=Path, metavar="DIR", help="write comparison.csv and comparison.json")
    add(
        "--metric",
        action="append",
        choices=_METRICS,
        help="repeat for several; default: dsc and nsd",
    )
    add(
        "--label",
        action="append",
        default=[],
        metavar="COLUMN",
        help="repeat for several, organs for their mean; default: all, for which p is adjusted",
    )
    add(
        "--test",
        choices=["signed-rank", "sign-flip"],
        default="signed-rank",
        help="Wilcoxon's signed-rank test with zeros after Pratt (default), or the permutation "
        "test of the mean difference",
    )
    add(
        "--mixed-rules",
        action="store_true",
        help="compare scores of different protocols or settings all the same",
    )
    parser.set_defaults(command=_compare)


def _compare(arguments: argparse.Namespace) -> int:
    from flare_metrics.compare import compare_scores
    from flare_metrics.score_table import read_scores

    comparison = compare_scores(
        [read_scores(path) for path in arguments.scores],
        metrics=tuple(dict.fromkeys(arguments.metric or ("dsc", "nsd"))),
        labels=arguments.label,
        test=arguments.test,
        mixed_rules=arguments.mixed_rules,
    )
    if arguments.output is not None:
        _write(comparison, arguments.output)
    if arguments.json:
        print(json.dumps(comparison.to_json(), indent=2, allow_nan=False))
        return ExitCode.DONE
    print(_table(comparison))
    for line in _remarks(comparison):
        sys.stderr.write(f"flare-metrics: {' '.join(line.split())}\n")
    return ExitCode.DONE


def _write(comparison: Comparison, folder: Path) -> None:
    from flare_metrics.atomic import write_json, write_text
    from flare_metrics.tables import csv_text

    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "comparison.csv", csv_text(comparison.to_rows()))
    write_json(folder / "comparison.json", comparison.to_json())


def _remarks(comparison: Comparison) -> list[str]:
    remarks = list(comparison.notes)
    for method, cases in comparison.elsewhere.items():
        if cases:
            remarks.append(f"{method}: cases that not all have: {', '.join(cases)}")
    for each in comparison.differences:
        alone = each.only_first + each.only_second
        if alone:
            remarks.append(
                f"{each.first}, {each.second}: {each.metric} of {each.label}: cases scored in one "
                f"only, left out: {each.only_first} and {each.only_second}"
            )
    return remarks


def _table(comparison: Comparison) -> str:
    lines = []
    previous = None
    for each in comparison.differences:
        if (each.first, each.second, each.metric) != previous:
            previous = each.first, each.second, each.metric
            lines += ["", f"{each.metric}: {each.second} minus {each.first}"]
            lines.append(
                f"{'label':16}{'n':>6}{'first':>9}{'second':>9}{'change':>9}{'95 % interval':>20}"
                f"{'p':>9}{'p Holm':>9}  better"
            )
        lines.append(_row(each))
    count = sum(not math.isnan(each.p) for each in comparison.differences)
    lines += [
        "",
        f"test: {comparison.test}, two-sided; p Holm: adjusted for {count} tests; "
        f"{len(comparison.cases)} cases in all methods",
    ]
    if any(each.note and each.pairs for each in comparison.differences):
        lines.append("few: fewer than 6 cases differ, no test can be significant")
    if any(not each.pairs for each in comparison.differences):
        lines.append("none: no case has this score in both")
    return "\n".join(lines[1:])


def _row(each: Difference) -> str:
    places = 4 if each.metric in ("dsc", "nsd") else 2
    means = _number(each.first_mean, places) + _number(each.second_mean, places)
    change = _number(each.mean_difference, places, sign="+")
    interval = "-"
    if each.ci95 is not None:
        interval = f"{each.ci95[0]:+.{places}f} to {each.ci95[1]:+.{places}f}"
    few = "" if not each.note else "few" if each.pairs else "none"
    remarks = [each.better, few, f"{each.infinite} infinite" if each.infinite else ""]
    tests = _p(each.p) + _p(each.p_holm)
    text = f"{each.label:16}{each.pairs:6}{means}{change}{interval:>20}{tests}"
    return f"{text}  {'; '.join(filter(None, remarks))}".rstrip()


def _number(value: float, places: int, sign: str = "") -> str:
    return f"{'-':>9}" if math.isnan(value) else f"{value:{sign}9.{places}f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return f"{'-':>9}"
    return f"{'<0.0001':>9}" if value < 0.0001 else f"{value:9.4f}"
