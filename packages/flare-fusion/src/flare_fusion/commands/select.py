"""``flare-fusion select``: which cases of a dataset to use."""

from __future__ import annotations

from typing import Any

__all__ = ["add_parser"]


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``select``."""
    subcommands.add_parser("select", help="list the cases whose labels can be trusted")
