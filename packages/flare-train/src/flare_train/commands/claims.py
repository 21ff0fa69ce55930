"""``flare-train claims``: the register of published claims, tried on phantoms."""

from __future__ import annotations

import argparse
import os

from flare_io.command import ExitCode
from flare_train.options import Commands, pick_device

__all__ = ["add", "run"]


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "claims",
        parents=[common],
        help="try published claims on phantoms: paired arms, several seeds, intervals",
        description="Train all arms of the chosen claims on phantoms and compare them. The same "
        "command again goes on where it ended. Writes claims.md, claims.json and cases.csv.",
    )
    parser.add_argument(
        "--only", nargs="+", default=[], metavar="CLAIM", help="such as C2 C5; default all"
    )
    parser.add_argument("--seeds", type=int, default=3, metavar="N", help="default 3")
    parser.add_argument("--scale", choices=("mini", "unit"), default="mini", help="default mini")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto"
    )
    parser.add_argument(
        "--jobs",
        type=int,
        default=2,
        metavar="N",
        help="stages at the same time, each in a process with one thread; default 2",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Try the claims and print the page of results."""
    from flare_train.claims import run_claims

    run_claims(
        arguments.output,
        only=arguments.only,
        seeds=arguments.seeds,
        scale=arguments.scale,
        jobs=arguments.jobs,
        device=pick_device(arguments.device),
    )
    name = "claims.json" if arguments.json else "claims.md"
    with open(os.path.join(arguments.output, name), encoding="utf-8") as file:
        print(file.read(), end="")
    return int(ExitCode.DONE)
