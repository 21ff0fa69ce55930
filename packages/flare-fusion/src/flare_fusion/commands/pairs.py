"""Arguments of the kind ``NAME=VALUE``, which may be repeated."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

__all__ = ["add_sources", "option_values", "pairs"]


def add_sources(parser: argparse.ArgumentParser) -> None:
    """Describe ``--source``."""
    parser.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="folder of a source's label maps, named after the cases; may be repeated",
    )


def pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    """Return ``NAME=VALUE`` texts as a dict.

    Raises
    ------
    ValueError
        If one has another form or a name comes twice.

    Examples
    --------
    >>> pairs(["A=one", "B=two"], "--source")
    {'A': 'one', 'B': 'two'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise ValueError(f"{option} must be NAME=VALUE, got {text!r}")
        if name in found:
            raise ValueError(f"{option} must name {name} once, got {found[name]!r} and {value!r}")
        found[name] = value
    return found


def option_values(texts: Sequence[str]) -> dict[str, Any]:
    """Return the options of a rule, with truth values and numbers as such.

    Examples
    --------
    >>> option_values(["tie=A", "trust_partial=true", "threshold=0.5"])
    {'tie': 'A', 'trust_partial': True, 'threshold': 0.5}
    """
    return {name: _value(text) for name, text in pairs(texts, "--set").items()}


def _value(text: str) -> bool | int | float | str:
    if text.lower() in ("true", "false"):
        return text.lower() == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text
