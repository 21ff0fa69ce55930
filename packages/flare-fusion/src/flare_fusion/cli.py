"""The command ``flare-fusion``."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from importlib.metadata import version

from flare_fusion.commands import fuse, rules, select
from flare_io.command import run_command

__all__ = ["main"]

_PROGRAM = "flare-fusion"
_SUBCOMMANDS = (fuse, select, rules)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(_PROGRAM, arguments.command, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Fuse the labels of many sources by published rules.",
        epilog="exit codes: 0 all cases done; 2 usage; 3 no case could be done; 4 some could not "
        "(they are listed); 5 disk, memory or permission; 130 interrupted; 1 a bug",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version(_PROGRAM)}")
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)
    for module in _SUBCOMMANDS:
        module.add_parser(subcommands)
    for subcommand in subcommands.choices.values():
        subcommand.add_argument("--json", action="store_true", help="print the result as JSON")
        subcommand.add_argument("--debug", action="store_true", help="show an error's traceback")
    return parser
