"""The command ``flare-metrics``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from flare_metrics.command import run_command
from flare_metrics.commands import compare, labels, measure, rank, score

__all__ = ["main"]

_PROGRAM = "flare-metrics"
_SUBCOMMANDS = (score, compare, rank, labels, measure)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(_PROGRAM, arguments.command, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Score segmentations as the FLARE challenge does, and soundly; compare and "
        "rank methods; measure what they cost.",
        epilog="exit codes: 0 done; 2 usage; 3 nothing could be used; 4 some cases could not (they "
        "are listed); 5 disk, memory or permission; 130 interrupted; 1 a bug. measure without "
        "--cases ends as its command does.",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _SUBCOMMANDS:
        module.add_parser(subcommands)
    for subcommand in subcommands.choices.values():
        subcommand.add_argument("--json", action="store_true", help="print the result as JSON")
        subcommand.add_argument(
            "--debug", action="store_true", help="show the traceback of an error"
        )
    return parser


class _Version(argparse.Action):
    """Print the version; asking for it takes 30 ms, which only those pay who want it."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from flare_metrics import __version__

        print(_PROGRAM, __version__)
        parser.exit()
