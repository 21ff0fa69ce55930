"""The command ``flare-train``: train on a dataset folder, go on with a run, see the demo."""

from __future__ import annotations

import argparse
import importlib
import logging
import os
import pkgutil
import sys
from collections.abc import Sequence
from importlib.metadata import version

import flare_train.commands
from flare_io.command import run_command
from flare_train.allocator import keep_freed_memory

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    if argv is None:  # The process is this command's own.
        keep_freed_memory()
    # Threads that wait by sleeping leave the core to others; torch reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logger = logging.getLogger("flare_train")
    handler = logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        return run_command("flare-train", arguments.run, arguments)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flare-train", description=__doc__)
    parser.add_argument(
        "--version", action="version", version=f"flare-train {version('flare-train')}"
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as one JSON object")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for found in pkgutil.iter_modules(flare_train.commands.__path__):
        module = importlib.import_module(f"flare_train.commands.{found.name}")
        module.add(commands, common)
    return parser
