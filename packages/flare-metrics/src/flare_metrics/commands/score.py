"""``flare-metrics score``: a folder of predictions against a folder of references."""

from __future__ import annotations

import argparse
import json
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_metrics.command import ExitCode, exit_code_of

if TYPE_CHECKING:
    from flare_metrics.folder import FolderScore
    from flare_metrics.protocols import Protocol

__all__ = ["add_parser"]

_PROGRAM = "flare-metrics"


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``score``."""
    parser = subcommands.add_parser("score", help="score a folder of predictions, or one file")
    add = parser.add_argument
    add("-p", "--predictions", type=Path, required=True, metavar="DIR|FILE")
    add("-r", "--references", type=Path, required=True, metavar="DIR|FILE")
    add(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="where the tables and the report go; needed for folders",
    )
    add(
        "--protocol",
        default="sound",
        metavar="NAME|FILE.toml",
        help="sound (default), flare22, flare23, flare24-task1, or your own",
    )
    add(
        "--nsd-threshold",
        choices=["none", "0.1", "0.2"],
        help="DSC below which NSD is 0, as the script was then; default: the protocol's "
        "(flare22 none, flare23 and flare24-task1 0.2)",
    )
    add(
        "--set",
        action="append",
        default=[],
        metavar="FIELD=VALUE",
        dest="settings",
        help="change one rule of the protocol, such as z_crop=inclusive; "
        "`flare-metrics labels` lists them",
    )
    add(
        "--jobs",
        type=int,
        default=1,
        metavar="N",
        help="cases at the same time, each in its own process",
    )
    _add_extras(parser)
    parser.set_defaults(command=_score)


def _add_extras(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--distances", action="store_true", help="HD95 and average surface distance too")
    add(
        "--resample",
        action="store_true",
        help="bring a prediction on another grid onto the reference's, nearest neighbor, and say "
        "so in its row",
    )
    add("--no-report", action="store_true", help="tables only, no report.html")
    add("--images", type=Path, metavar="DIR", help="scans to show behind the worst cases")
    add(
        "--efficiency",
        type=Path,
        metavar="FILE|DIR",
        help="what `flare-metrics measure` wrote, for the report",
    )


def _score(arguments: argparse.Namespace) -> int:
    rules = _rules(arguments)
    one = arguments.references.is_file()
    if arguments.output is None:
        if not one:
            raise ValueError("-o/--output must name a folder for the tables")
        return _print_one(arguments, rules)

    from flare_metrics.folder import ScoringInterrupted, score_folder, score_single

    _check_paths(arguments)
    options = {"distances": arguments.distances, "resample": arguments.resample}
    try:
        if one:
            pair = arguments.predictions, arguments.references
            result = score_single(*pair, protocol=rules, **options)
        else:
            result = score_folder(
                arguments.predictions,
                arguments.references,
                protocol=rules,
                jobs=arguments.jobs,
                progress=True,
                **options,
            )
    except ScoringInterrupted as interruption:
        interruption.result.write(arguments.output, report=False)
        raise
    result.write(arguments.output, report=False)
    summary = result.summary()
    print(json.dumps(summary, indent=2) if arguments.json else _table(summary))
    for case in result.cases:
        if case.reason:
            line = " ".join(f"{case.case}: {case.status}: {case.reason}".split())
            sys.stderr.write(f"{_PROGRAM}: {line}\n")
    failure = _report(result, arguments)
    if failure is not ExitCode.DONE or not result.faulty:
        return failure
    return ExitCode.SOME_FAILED if len(result.faulty) < len(result.cases) else ExitCode.REFUSED


def _check_paths(arguments: argparse.Namespace) -> None:
    """Refuse before hours of scoring what would fail behind them."""
    from flare_metrics.atomic import refuse_unwritable
    from flare_metrics.folder import refuse_input_folder

    if arguments.output.exists() and not arguments.output.is_dir():
        raise ValueError(f"-o/--output must be a folder, got the file {arguments.output}")
    for option in ("images", "efficiency"):
        path = getattr(arguments, option)
        if path is not None and not path.exists():
            raise ValueError(f"--{option} must exist, got {path}")
    for given in (arguments.predictions, arguments.references):
        refuse_input_folder(arguments.output, given.parent if given.is_file() else given)
    refuse_unwritable(arguments.output)


def _rules(arguments: argparse.Namespace) -> Protocol:
    from flare_metrics.protocols import protocol

    rules = protocol(arguments.protocol)
    if arguments.nsd_threshold is not None:
        rules = rules.with_setting(f"nsd_threshold={arguments.nsd_threshold}")
    for setting in arguments.settings:
        rules = rules.with_setting(setting)
    return rules


def _report(result: FolderScore, arguments: argparse.Namespace) -> ExitCode:
    """Write the page; whatever happens to it, the tables are there already."""
    if arguments.no_report:
        return ExitCode.DONE
    try:
        from flare_metrics.report import write_report

        write_report(
            arguments.output / "report.html",
            result,
            images=arguments.images,
            efficiency=arguments.efficiency,
        )
    except Exception as error:
        if arguments.debug:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(
            f"{_PROGRAM}: report.html could not be written: {message}; the tables are whole, "
            "--no-report leaves it out\n"
        )
        return exit_code_of(error)
    return ExitCode.DONE


def _print_one(arguments: argparse.Namespace, rules: Protocol) -> int:
    from dataclasses import asdict

    from flare_metrics.folder import score_files

    score = score_files(
        arguments.predictions,
        arguments.references,
        protocol=rules,
        distances=arguments.distances,
        resample=arguments.resample,
    )
    if arguments.json:
        rows = [_finite(asdict(label)) for label in score.labels]
        print(json.dumps({"protocol": score.protocol, "labels": rows}, indent=2))
        return ExitCode.DONE
    distances = f"{'HD95 mm':>9}{'ASSD mm':>9}" if arguments.distances else ""
    print(f"{'label':24}{'DSC':>8}{'NSD':>8}{distances}")
    for label in score.labels:
        cells = _number(label.dsc) + _number(label.nsd)
        if arguments.distances:
            cells += _millimeters(label.hd95_mm) + _millimeters(label.assd_mm)
        print(f"{label.name:24}{cells}  {label.reason}".rstrip())
    return ExitCode.DONE


def _finite(value: Any) -> Any:
    """Return a value as JSON has it, which knows neither NaN nor infinity."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _table(summary: dict[str, object]) -> str:
    labels, organs, cases = summary["labels"], summary["organs"], summary["cases"]
    assert isinstance(labels, dict) and isinstance(organs, dict) and isinstance(cases, dict)
    lines = [f"{'label':24}{'cases':>6}{'DSC':>8}{'NSD':>8}{'missed':>8}{'false':>8}"]
    for row in labels.values():
        means = _number(row["dsc"]["mean"]) + _number(row["nsd"]["mean"])
        lines.append(
            f"{row['name']:24}{row['scored']:6}{means}{row['missed']:8}{row['wrongly_predicted']:8}"
        )
    lines.append(f"{'organs, mean':30}{_number(organs['mean_dsc'])}{_number(organs['mean_nsd'])}")
    lines.append("cases: " + ", ".join(f"{count} {status}" for status, count in cases.items()))
    return "\n".join(lines)


def _number(value: float | None) -> str:
    return f"{'-':>8}" if value is None or value != value else f"{value:8.4f}"


def _millimeters(value: float) -> str:
    return f"{'-':>9}" if value != value else f"{value:9.3f}"
