"""``flare-fusion select``: which cases of a dataset to use."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_fusion.commands.pairs import add_sources, pairs
from flare_io.command import ExitCode

if TYPE_CHECKING:
    from flare_fusion.case_scores import CaseFigure

__all__ = ["add_parser"]

_PROGRAM = "flare-fusion"


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``select``."""
    parser = subcommands.add_parser(
        "select", help="list the cases whose labels agree, or change least from round to round"
    )
    add = parser.add_argument
    add("--dataset", type=Path, required=True, metavar="DIR")
    add("-o", "--output", type=Path, required=True, metavar="FILE.json|FILE.txt")
    add(
        "--by",
        choices=["agreement", "stability"],
        default="agreement",
        help="agreement (S3): mean organ DSC of two sources, A and B unless --source names others; "
        "stability (FLARE 2022): change from each --source, a round, to the next",
    )
    add_sources(parser)
    add("--threshold", type=float, default=0.85, help="agreement must lie above it (0.85)")
    add("--first-labeled", type=int, default=200, metavar="N", help="at most, by id (200)")
    add("--first-unlabeled", type=int, default=100, metavar="N", help="at most, by id (100)")
    add("--drop", type=int, metavar="N", help="leave out the N least stable cases")
    add("--resample", action="store_true", help="bring a source on another grid over")
    add("--jobs", type=int, metavar="N", help="cases at the same time")
    parser.set_defaults(command=_select)


def _select(arguments: argparse.Namespace) -> int:
    from flare_fusion.case_list import write_case_list
    from flare_fusion.case_scores import case_scores
    from flare_fusion.results import fault_of_case

    folders = _checked(arguments)
    by_agreement = arguments.by == "agreement"
    sources = list(folders) if folders and not (by_agreement and len(folders) == 1) else ["A", "B"]
    figures = case_scores(
        arguments.dataset,
        by="agreement" if by_agreement else "instability",
        sources=sources,
        folders=folders,
        resample=arguments.resample,
        jobs=arguments.jobs,
        progress=True,
    )
    known = [each for each in figures if each.error is None]
    chosen = _chosen(known, arguments) if known else ()
    about = _about(arguments, sources, figures)
    if chosen:
        write_case_list(arguments.output, chosen, about=about)
    if arguments.json:
        print(json.dumps({**about, "cases": list(chosen)}, indent=2))
    elif chosen:
        print(f"{len(chosen)} of {len(figures)} cases listed in {arguments.output}")
    failed = [each for each in figures if each.error is not None]
    for each in failed:
        sys.stderr.write(f"{_PROGRAM}: case {each.case}: {fault_of_case(each.case, each.error)}\n")
    if not chosen:
        sys.stderr.write(f"{_PROGRAM}: no case was selected, {arguments.output} not written\n")
        return ExitCode.REFUSED
    return ExitCode.SOME_FAILED if failed else ExitCode.DONE


def _checked(arguments: argparse.Namespace) -> dict[str, str]:
    """Return the sources after refusing what would fail behind the work."""
    if arguments.jobs is not None and arguments.jobs < 1:
        raise ValueError(f"--jobs must be > 0, got {arguments.jobs}")
    if not arguments.output.parent.is_dir():
        raise ValueError(f"-o/--output must lie in a folder that exists, got {arguments.output}")
    if arguments.output.is_dir():
        raise ValueError(f"-o/--output must be a file, got the folder {arguments.output}")
    folders = pairs(arguments.source, "--source")
    if arguments.by == "stability":
        if arguments.drop is None:
            raise ValueError("--drop must say how many of the least stable cases to leave out")
        if len(folders) < 2:
            raise ValueError("stability needs two or more --source NAME=DIR, a round each")
    elif not 0 <= arguments.threshold <= 1:
        raise ValueError(f"--threshold must be within 0..1, got {arguments.threshold}")
    return folders


def _chosen(known: list[CaseFigure], arguments: argparse.Namespace) -> tuple[str, ...]:
    from flare_fusion.selection import keep_stable, select_by_agreement

    values = {each.case: each.figure for each in known}
    if arguments.by == "agreement":
        return select_by_agreement(
            values,
            labeled={each.case for each in known if each.labeled},
            threshold=arguments.threshold,
            first_labeled=arguments.first_labeled,
            first_unlabeled=arguments.first_unlabeled,
        )
    return keep_stable(
        {case: value for case, value in values.items() if value is not None}, drop=arguments.drop
    )


def _about(
    arguments: argparse.Namespace, sources: list[str], figures: tuple[CaseFigure, ...]
) -> dict[str, Any]:
    names = ("drop",) if arguments.by == "stability" else (
        "threshold", "first_labeled", "first_unlabeled"
    )  # fmt: skip
    return {
        "by": arguments.by,
        "dataset": str(arguments.dataset),
        "sources": sources,
        **{name: getattr(arguments, name) for name in names},
        # JSON has no infinity.
        "figures": {
            each.case: None if each.figure == math.inf else each.figure
            for each in figures
            if each.error is None
        },
        "failed": [each.case for each in figures if each.error is not None],
    }
