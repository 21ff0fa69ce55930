"""``flare-fusion rules``: the rules with their options and tables."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from flare_fusion.commands.pairs import option_values
from flare_io.command import ExitCode

if TYPE_CHECKING:
    from flare_fusion.general import GeneralRule
    from flare_fusion.rules import Rule
    from flare_fusion.tables import FusionTable

__all__ = ["add_parser"]

# What the table of a rule of any sources is shown for.
_SOURCES = ("A", "B", "C")


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``rules``."""
    parser = subcommands.add_parser("rules", help="print the rules, or the table of one")
    add = parser.add_argument
    add("rule", nargs="?", metavar="NAME|FILE.toml")
    add("--grid", action="store_true", help="print every cell of the rule's table, to diff")
    add("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the rule")
    add(
        "--annotated",
        metavar="1,3,14",
        help="the annotated classes of the case (K), for the grid of a rule that asks for them",
    )
    parser.set_defaults(command=_rules)


def _rules(arguments: argparse.Namespace) -> int:
    from flare_fusion.general import GENERAL_RULES
    from flare_fusion.rules import fusion_rule, rule_names

    if arguments.grid:
        return _grid(arguments)
    if arguments.set or arguments.annotated:
        raise ValueError("--set and --annotated go with --grid")
    names = [arguments.rule] if arguments.rule else [*rule_names(), *GENERAL_RULES]
    chosen = [GENERAL_RULES.get(name) or fusion_rule(name) for name in names]
    if arguments.json:
        print(json.dumps([_record(rule) for rule in chosen], indent=2))
    else:
        print("\n\n".join(_described(rule, rows=bool(arguments.rule)) for rule in chosen))
    return ExitCode.DONE


def _grid(arguments: argparse.Namespace) -> int:
    from flare_fusion.grid import grid_digest, grid_lines

    if not arguments.rule:
        raise ValueError("--grid needs the name of a rule")
    table = _table(arguments)
    if arguments.json:
        record = {
            "rule": table.name,
            "sources": {source.name: list(source.classes) for source in table.sources},
            "labels": table.labels.tolist(),
            "origins": table.origins.tolist(),
            "sha256": grid_digest(table),
        }
        print(json.dumps(record))
    else:
        print(*grid_lines(table), sep="\n")
    return ExitCode.DONE


def _table(arguments: argparse.Namespace) -> FusionTable:
    from flare_fusion.general import GENERAL_RULES, compile_general
    from flare_fusion.general_options import read_labels
    from flare_fusion.rules import fusion_rule
    from flare_fusion.tables import FusionTable, compile_table

    options = option_values(arguments.set)
    if arguments.rule in GENERAL_RULES:
        table = compile_general(arguments.rule, _SOURCES, options)
        if not isinstance(table, FusionTable):
            raise ValueError(f"rule {arguments.rule} has no table for {len(_SOURCES)} sources")
        return table
    annotated = None if arguments.annotated is None else read_labels(arguments.annotated)
    return compile_table(fusion_rule(arguments.rule), options=options, annotated=annotated)


def _record(rule: Rule | GeneralRule) -> dict[str, Any]:
    from dataclasses import asdict

    from flare_fusion.general import GeneralRule

    record = asdict(rule)
    if isinstance(rule, GeneralRule):
        return {**record, "sources": "any"}
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


def _described(rule: Rule | GeneralRule, *, rows: bool) -> str:
    from flare_fusion.general import GeneralRule

    lines = [rule.name, f"  {rule.title}"]
    if isinstance(rule, GeneralRule):
        lines.append("  sources: two or more of any names")
        lines += [f"  option {name}\n    {about}" for name, about in rule.options.items()]
        return "\n".join([*lines, *(_general_rows(rule) if rows else [])])
    lines.append(f"  sources: {', '.join(rule.source_names)}")
    for option in rule.options:
        choices = " | ".join(map(_written, option.choices))
        lines.append(f"  option {option.name} = {choices} (default {_written(option.default)})")
        lines.append(f"    {option.about}")
    return "\n".join([*lines, *(_rows(rule) if rows else [])])


def _rows(rule: Rule) -> list[str]:
    names = rule.source_names
    lines = ["", "  " + "".join(f"{name:>18}" for name in names) + "  ->  label"]
    for row in rule.rows:
        when = dict(row.when)
        cells = "".join(f"{when.get(name, 'any'):>18}" for name in names)
        condition = " and ".join(f"{name} = {_written(value)}" for name, value in row.condition)
        origin = row.origin.name.replace("_", " ").lower()
        lines.append(
            f"  {cells}  ->  {row.take} ({origin})" + (f", if {condition}" if condition else "")
        )
    return lines


def _general_rows(rule: GeneralRule) -> list[str]:
    from flare_fusion.general import compile_general
    from flare_fusion.grid import pattern_rows
    from flare_fusion.tables import FusionTable

    options, note = {}, ""
    if "weights" in rule.options:
        options["weights"] = dict(zip(_SOURCES, (3, 2, 2), strict=True))
        note = ", with the weights A:3,B:2,C:2"
    table = compile_general(rule.name, _SOURCES, options)
    if not isinstance(table, FusionTable):
        return []
    lines = ["", f"  of three sources{note}:"]
    lines.append("  " + "".join(f"{name:>6}" for name in _SOURCES) + "  ->  label")
    for patterns, label, origin in pattern_rows(table):
        cells = "".join(f"{pattern:>6}" for pattern in patterns)
        lines.append(f"  {cells}  ->  {label} ({origin.name.replace('_', ' ').lower()})")
    return lines


def _written(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value
