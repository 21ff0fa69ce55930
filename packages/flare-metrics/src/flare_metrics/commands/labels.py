"""``flare-metrics labels``: what a protocol scores."""

from __future__ import annotations

import argparse
import json
from typing import Any

from flare_metrics.command import ExitCode

__all__ = ["add_parser"]


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``labels``."""
    parser = subcommands.add_parser(
        "labels", help="print the labels, tolerances and rules of a protocol"
    )
    parser.add_argument("--protocol", default="sound", metavar="NAME|FILE.toml")
    parser.set_defaults(command=_labels)


def _labels(arguments: argparse.Namespace) -> int:
    from dataclasses import asdict

    from flare_metrics.protocols import protocol

    rules = protocol(arguments.protocol)
    if arguments.json:
        print(json.dumps(asdict(rules), indent=2))
        return ExitCode.DONE
    print(rules.title or rules.name)
    print(f"{'id':>4}  {'name':24}{'column':14}{'tolerance':>10}")
    for label in rules.labels:
        print(f"{label.id:4}  {label.name:24}{label.column:14}{label.tolerance_mm:7g} mm")
    print("rules, each changed by --set FIELD=VALUE of score:")
    for name, value in rules.settings.items():
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value).lower()
        print(f"      {name:24}{text or 'none'}")
    return ExitCode.DONE
