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
    from flare_fusion.staple import StapleRule
    from flare_fusion.tables import FusionTable
    from flare_fusion.votes import VoteRule

__all__ = ["add_parser"]

# What the table of a rule of any sources is shown for, unless its weights name others.
_SOURCES = ("A", "B", "C")
_WEIGHTS = (3, 2, 2)


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
    if arguments.annotated:
        raise ValueError("--annotated goes with --grid")
    if arguments.set and not arguments.rule:
        raise ValueError("--set needs the name of a rule")
    options = option_values(arguments.set)
    names = [arguments.rule] if arguments.rule else [*rule_names(), *GENERAL_RULES]
    chosen = [GENERAL_RULES.get(name) or fusion_rule(name) for name in names]
    if arguments.rule:
        text = _in_full(chosen[0], options)
    else:
        text = "\n\n".join("\n".join(_described(rule)) for rule in chosen)
    print(json.dumps([_record(rule) for rule in chosen], indent=2) if arguments.json else text)
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
    from flare_fusion.general import GENERAL_RULES
    from flare_fusion.general_options import read_labels
    from flare_fusion.rules import fusion_rule
    from flare_fusion.tables import FusionTable, compile_table

    options = option_values(arguments.set)
    if arguments.rule in GENERAL_RULES:
        table = _of_some_sources(arguments.rule, options)
        if not isinstance(table, FusionTable):
            raise ValueError(f"rule {arguments.rule} has no table for {len(table.sources)} sources")
        return table
    annotated = None if arguments.annotated is None else read_labels(arguments.annotated)
    return compile_table(fusion_rule(arguments.rule), options=options, annotated=annotated)


def _of_some_sources(name: str, options: dict[str, Any]) -> FusionTable | VoteRule | StapleRule:
    """Return a rule of any sources for those that its weights name, or for A, B and C."""
    from flare_fusion.general import compile_general
    from flare_fusion.general_options import named_sources

    return compile_general(name, named_sources(options.get("weights")) or _SOURCES, options)


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


def _in_full(rule: Rule | GeneralRule, options: dict[str, Any]) -> str:
    """Return a rule with its rows under these options."""
    from flare_fusion.general import GeneralRule

    rows = _patterns(rule, options) if isinstance(rule, GeneralRule) else _rows(rule, options)
    return "\n".join([*_described(rule), *rows])


def _described(rule: Rule | GeneralRule) -> list[str]:
    from flare_fusion.general import GeneralRule

    lines = [rule.name, f"  {rule.title}"]
    if isinstance(rule, GeneralRule):
        lines.append("  sources: two or more of any names")
        return lines + [f"  option {name}\n    {about}" for name, about in rule.options.items()]
    lines.append(f"  sources: {', '.join(rule.source_names)}")
    for option in rule.options:
        choices = " | ".join(map(_written, option.choices))
        lines.append(f"  option {option.name} = {choices} (default {_written(option.default)})")
        lines.append(f"    {option.about}")
    return lines


def _rows(rule: Rule, options: dict[str, Any]) -> list[str]:
    """Return all rows of a table rule; under options those that hold then."""
    resolved = rule.resolved_options(options)
    rows = rule.active_rows(resolved) if options else rule.rows
    names = rule.source_names
    lines = [""]
    if options:
        under = (f"{name} = {_written(value)}" for name, value in resolved.items())
        lines.append(f"  with {', '.join(under)}:")
    lines.append("  " + "".join(f"{name:>18}" for name in names) + "  ->  label")
    for row in rows:
        when = dict(row.when)
        cells = "".join(f"{when.get(name, 'any'):>18}" for name in names)
        condition = " and ".join(f"{name} = {_written(value)}" for name, value in row.condition)
        origin = row.origin.name.replace("_", " ").lower()
        asked = f", if {condition}" if condition and not options else ""
        lines.append(f"  {cells}  ->  {row.take} ({origin}){asked}")
    return lines


def _patterns(rule: GeneralRule, options: dict[str, Any]) -> list[str]:
    """Return what a rule of any sources does with equal and different labels."""
    from flare_fusion.general_options import read_weights
    from flare_fusion.grid import pattern_rows
    from flare_fusion.tables import FusionTable

    if "weights" in rule.options and "weights" not in options:
        options = {**options, "weights": dict(zip(_SOURCES, _WEIGHTS, strict=True))}
    table = _of_some_sources(rule.name, options)
    if not isinstance(table, FusionTable):
        return []
    names = [source.name for source in table.sources]
    lines = ["", f"  with the sources {', '.join(names)}:"]
    if "weights" in options:
        weights = read_weights(options["weights"], table.sources)
        if any(len(set(of_source)) > 1 for of_source in weights):
            return ["", "  Labels weigh differently; --grid prints every cell."]
        shown = (f"{name}:{each[0]:g}" for name, each in zip(names, weights, strict=True))
        lines = ["", f"  with the weights {','.join(shown)}:"]
    width = 2 + max(4, *map(len, names))
    lines.append("  " + "".join(f"{name:>{width}}" for name in names) + "  ->  label")
    for patterns, label, origin in pattern_rows(table):
        cells = "".join(f"{pattern:>{width}}" for pattern in patterns)
        lines.append(f"  {cells}  ->  {label} ({origin.name.replace('_', ' ').lower()})")
    return lines


def _written(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value
