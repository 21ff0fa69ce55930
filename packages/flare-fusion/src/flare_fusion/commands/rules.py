"""``flare-fusion rules``: the rules with their options and tables."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from flare_io.command import ExitCode

if TYPE_CHECKING:
    from flare_fusion.rules import Rule

__all__ = ["add_parser"]


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``rules``."""
    parser = subcommands.add_parser("rules", help="print the rules, or the table of one")
    parser.add_argument("rule", nargs="?", metavar="NAME|FILE.toml")
    parser.set_defaults(command=_rules)


def _rules(arguments: argparse.Namespace) -> int:
    from flare_fusion.rules import fusion_rule, rule_names

    names = [arguments.rule] if arguments.rule else list(rule_names())
    chosen = [fusion_rule(name) for name in names]
    if arguments.json:
        print(json.dumps([_record(rule) for rule in chosen], indent=2))
        return ExitCode.DONE
    print("\n\n".join(_described(rule, rows=bool(arguments.rule)) for rule in chosen))
    if not arguments.rule:
        print("\nmajority\n  the label that most sources hold; option tie = background | first")
    return ExitCode.DONE


def _record(rule: Rule) -> dict[str, Any]:
    from dataclasses import asdict

    record = asdict(rule)
    record["rows"] = [
        {
            "number": row.number,
            "if": dict(row.condition),
            "when": dict(row.when),
            "take": row.take,
            "origin": row.origin.name.lower(),
        }
        for row in rule.rows
    ]
    return record


def _described(rule: Rule, *, rows: bool) -> str:
    lines = [rule.name, f"  {rule.title}", f"  sources: {', '.join(rule.source_names)}"]
    for option in rule.options:
        choices = " | ".join(map(_written, option.choices))
        lines.append(f"  option {option.name} = {choices} (default {_written(option.default)})")
        lines.append(f"    {option.about}")
    if not rows:
        return "\n".join(lines)
    names = rule.source_names
    lines += ["", "  " + "".join(f"{name:>16}" for name in names) + "  ->  label"]
    for row in rule.rows:
        when = dict(row.when)
        cells = "".join(f"{when.get(name, 'any'):>16}" for name in names)
        condition = " and ".join(f"{name} = {_written(value)}" for name, value in row.condition)
        origin = row.origin.name.replace("_", " ").lower()
        lines.append(
            f"  {cells}  ->  {row.take} ({origin})" + (f", if {condition}" if condition else "")
        )
    return "\n".join(lines)


def _written(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value
