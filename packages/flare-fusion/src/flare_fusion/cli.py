"""The command ``flare-fusion``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_io.command import ExitCode, describe_record, run_command

if TYPE_CHECKING:
    from flare_fusion.rules import Rule

__all__ = ["main"]

_PROGRAM = "flare-fusion"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(_PROGRAM, arguments.command, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Fuse the labels of many sources by published rules.",
        epilog="exit codes: 0 all cases fused; 2 usage; 3 no case could be fused; 4 some could not "
        "(they are listed); 5 disk, memory or permission; 130 interrupted; 1 a bug",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version(_PROGRAM)}")
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)

    fuse = subcommands.add_parser("fuse", help="fuse the labels of a dataset folder")
    fuse.add_argument("--dataset", type=Path, required=True, metavar="DIR")
    fuse.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    fuse.add_argument("--rule", default="s1", metavar="NAME|FILE.toml", help="s1 by default")
    fuse.add_argument(
        "--source",
        action="append",
        default=[],
        metavar="NAME=DIR",
        help="folder of a source's label maps; may be repeated",
    )
    fuse.add_argument(
        "--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the rule"
    )
    fuse.add_argument(
        "--k-source",
        choices=["manifest", "presence"],
        default="manifest",
        help="where a case's annotated classes come from",
    )
    fuse.add_argument("--jobs", type=int, metavar="N", help="cases at the same time")
    fuse.set_defaults(command=_fuse)

    rules = subcommands.add_parser("rules", help="print the rules, or the table of one")
    rules.add_argument("rule", nargs="?", metavar="NAME|FILE.toml")
    rules.set_defaults(command=_rules)

    for subcommand in (fuse, rules):
        subcommand.add_argument("--json", action="store_true", help="print the result as JSON")
        subcommand.add_argument("--debug", action="store_true", help="show an error's traceback")
    return parser


def _fuse(arguments: argparse.Namespace) -> int:
    from flare_fusion.dataset import fuse_dataset

    if arguments.jobs is not None and arguments.jobs < 1:
        raise ValueError(f"--jobs must be > 0, got {arguments.jobs}")
    options = {name: _value(text) for name, text in _pairs(arguments.set, "--set").items()}
    result = fuse_dataset(
        arguments.dataset,
        arguments.output,
        rule=arguments.rule,
        sources=_pairs(arguments.source, "--source"),
        options=options,
        k_source=arguments.k_source,
        jobs=arguments.jobs,
        progress=True,
    )
    if arguments.json:
        print((arguments.output / "report.json").read_text(), end="")
    else:
        fused = len(result.cases) - len(result.failed)
        print(f"{fused} of {len(result.cases)} cases fused into {arguments.output}")
    for case in result.failed:
        sys.stderr.write(f"{_PROGRAM}: case {case.case}: {describe_record(case.error or {})}\n")
    if not result.failed:
        return ExitCode.DONE
    return ExitCode.SOME_FAILED if len(result.failed) < len(result.cases) else ExitCode.REFUSED


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


def _pairs(texts: Sequence[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, separator, value = text.partition("=")
        if not (name and separator and value):
            raise ValueError(f"{option} must be NAME=VALUE, got {text!r}")
        pairs[name] = value
    return pairs


def _written(value: bool | str) -> str:
    return str(value).lower() if isinstance(value, bool) else value


def _value(text: str) -> bool | str:
    return {"true": True, "false": False}.get(text.lower(), text)
