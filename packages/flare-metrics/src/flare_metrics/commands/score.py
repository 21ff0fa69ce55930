"""``flare-metrics score``: a folder of predictions against a folder of references."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_metrics.command import ExitCode

if TYPE_CHECKING:
    from flare_metrics.protocols import Protocol

__all__ = ["add_parser"]

_PROGRAM = "flare-metrics"


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``score``."""
    parser = subcommands.add_parser("score", help="score a folder of predictions, or one file")
    parser.add_argument("-p", "--predictions", type=Path, required=True, metavar="DIR|FILE")
    parser.add_argument("-r", "--references", type=Path, required=True, metavar="DIR|FILE")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="DIR", help="where the tables go; needed for folders"
    )
    parser.add_argument(
        "--protocol",
        default="sound",
        metavar="NAME|FILE.toml",
        help="sound (default), flare23, or your own",
    )
    parser.add_argument(
        "--nsd-threshold",
        choices=["none", "0.1", "0.2"],
        help="DSC below which NSD is 0, as the script was then",
    )
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="cases at the same time")
    parser.set_defaults(command=_score)


def _score(arguments: argparse.Namespace) -> int:
    from flare_metrics.protocols import protocol

    rules = protocol(arguments.protocol)
    if arguments.nsd_threshold is not None:
        value = None if arguments.nsd_threshold == "none" else float(arguments.nsd_threshold)
        rules = rules.with_options(nsd_threshold=value)
    if arguments.references.is_file():
        return _score_one(arguments, rules)
    if arguments.output is None:
        raise ValueError("-o/--output must name a folder for the tables")

    from flare_metrics.folder import score_folder

    result = score_folder(
        arguments.predictions,
        arguments.references,
        protocol=rules,
        jobs=arguments.jobs,
        progress=True,
    )
    result.write(arguments.output)
    summary = result.summary()
    print(json.dumps(summary, indent=2) if arguments.json else _table(summary))
    for case in result.faulty:
        sys.stderr.write(
            f"{_PROGRAM}: {case.case}: {case.status}: {' '.join(case.reason.split())}\n"
        )
    if not result.faulty:
        return ExitCode.DONE
    return ExitCode.SOME_FAILED if len(result.faulty) < len(result.cases) else ExitCode.REFUSED


def _score_one(arguments: argparse.Namespace, rules: Protocol) -> int:
    from dataclasses import asdict

    from flare_metrics.folder import score_files

    score = score_files(arguments.predictions, arguments.references, protocol=rules)
    rows = [asdict(label) for label in score.labels]
    if arguments.json:
        # JSON knows no NaN.
        clean = [
            {key: None if value != value else value for key, value in row.items()} for row in rows
        ]
        print(json.dumps({"protocol": score.protocol, "labels": clean}, indent=2))
        return ExitCode.DONE
    print(f"{'label':24}{'DSC':>8}{'NSD':>8}")
    for label in score.labels:
        print(f"{label.name:24}{_number(label.dsc)}{_number(label.nsd)}  {label.reason}".rstrip())
    return ExitCode.DONE


def _table(summary: dict[str, object]) -> str:
    labels, organs, cases = summary["labels"], summary["organs"], summary["cases"]
    assert isinstance(labels, dict) and isinstance(organs, dict) and isinstance(cases, dict)
    lines = [f"{'label':24}{'cases':>6}{'DSC':>8}{'NSD':>8}{'missed':>8}{'false':>8}"]
    for row in labels.values():
        means = _number(row["dsc"]["mean"]) + _number(row["nsd"]["mean"])
        lines.append(
            f"{row['name']:24}{row['scored']:6}{means}{row['missed']:8}{row['wrongly_predicted']:8}"
        )
    lines.append(f"{'organs, mean':30}{_number(organs['mean_dsc'])}{_number(organs['mean_nsd'])}")
    lines.append("cases: " + ", ".join(f"{count} {status}" for status, count in cases.items()))
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return f"{'-':>8}" if value is None or value != value else f"{value:8.4f}"
