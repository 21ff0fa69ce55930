"""``flare-train demo``: the whole way once, on phantoms."""

from __future__ import annotations

import argparse
import json
import sys

from flare_io.command import ExitCode
from flare_train.options import Commands

__all__ = ["add", "run"]


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "demo",
        parents=[common],
        help="the whole way once: phantoms, fusion, training, prediction, scores, pictures",
        description="Draw phantoms, fuse their labels, train a small net, predict held-out "
        "phantoms and any CT given, score, draw pictures. Minutes on two cores; can be killed and "
        "run again.",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for all results"
    )
    parser.add_argument(
        "--ct",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of CT volumes or DICOM series to predict too; may be given again",
    )
    parser.add_argument("--scale", choices=("unit", "mini"), default="mini", help="default mini")
    parser.add_argument("--seed", type=int, default=0, help="of phantoms and training, default 0")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run the demo and print its table."""
    from flare_train.demo import run_demo

    report = run_demo(arguments.output, ct=arguments.ct, scale=arguments.scale, seed=arguments.seed)
    print(json.dumps(report.to_dict()) if arguments.json else report.describe())
    if report.shortcoming:
        print(f"flare-train: {report.shortcoming}", file=sys.stderr)
        return int(ExitCode.SOME_FAILED)
    return int(ExitCode.DONE)
