"""``flare-fusion fuse``: the labels of a dataset folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_fusion.commands.pairs import add_sources, option_values, pairs
from flare_io.command import ExitCode, exit_code_of

if TYPE_CHECKING:
    from flare_fusion.results import DatasetFusion

__all__ = ["add_parser"]

_PROGRAM = "flare-fusion"


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``fuse``."""
    parser = subcommands.add_parser("fuse", help="fuse the labels of a dataset folder")
    add = parser.add_argument
    add("--dataset", type=Path, required=True, metavar="DIR")
    add("-o", "--output", type=Path, required=True, metavar="DIR")
    add("--rule", default="s1", metavar="NAME|FILE.toml", help="s1 by default")
    add_sources(parser)
    add("--set", action="append", default=[], metavar="OPTION=VALUE", help="an option of the rule")
    add(
        "--cases",
        type=Path,
        metavar="FILE",
        help="fuse these cases only: a list that `flare-fusion select` wrote, or one id a line",
    )
    add(
        "--k-source",
        choices=["manifest", "presence"],
        default="manifest",
        help="where a case's annotated classes come from; presence, the labels in its file, is "
        "what the published systems took and wrong where an annotated organ is absent",
    )
    add(
        "--resample",
        action="store_true",
        help="bring a source on another grid or axis order over by nearest neighbor in patient "
        "space, and say so in the report; otherwise it is refused",
    )
    add(
        "--provenance",
        action="store_true",
        help="write provenanceTr too: where the label of each voxel came from",
    )
    add("--no-report", action="store_true", help="report.json only, no report.html")
    add("--jobs", type=int, metavar="N", help="cases at the same time")
    parser.set_defaults(command=_fuse)


def _fuse(arguments: argparse.Namespace) -> int:
    from flare_fusion.case_list import read_case_list
    from flare_fusion.dataset import fuse_dataset
    from flare_fusion.plan import FusionSettings
    from flare_fusion.results import fault_of_case

    if arguments.jobs is not None and arguments.jobs < 1:
        raise ValueError(f"--jobs must be > 0, got {arguments.jobs}")
    if arguments.output.exists() and not arguments.output.is_dir():
        raise ValueError(f"-o/--output must be a folder, got the file {arguments.output}")
    result = fuse_dataset(
        arguments.dataset,
        arguments.output,
        rule=arguments.rule,
        sources=pairs(arguments.source, "--source"),
        options=option_values(arguments.set),
        settings=FusionSettings(
            k_source=arguments.k_source,
            resample=arguments.resample,
            provenance=arguments.provenance,
            cases=None if arguments.cases is None else read_case_list(arguments.cases),
        ),
        jobs=arguments.jobs,
        progress=True,
    )
    failure = _report(result, arguments)
    if arguments.json:
        print((arguments.output / "report.json").read_text(encoding="utf-8"), end="")
    else:
        count = f"{len(result.fused)} of {len(result.cases)} cases"
        print(f"{count} fused into {arguments.output}")
    for case in result.cases:
        if case.error is not None:
            sys.stderr.write(
                f"{_PROGRAM}: case {case.case}: {fault_of_case(case.case, case.error)}\n"
            )
        for note in case.notes:
            sys.stderr.write(f"{_PROGRAM}: case {case.case}: {note}\n")
    if not result.failed:
        return failure
    return ExitCode.SOME_FAILED if result.fused else ExitCode.REFUSED


def _report(result: DatasetFusion, arguments: argparse.Namespace) -> ExitCode:
    """Write the page; whatever happens to it, the labels are there already."""
    if arguments.no_report:
        return ExitCode.DONE
    try:
        from flare_fusion.report import write_report

        write_report(result.folder / "report.html", result, jobs=arguments.jobs)
    except Exception as error:
        if arguments.debug:
            raise
        message = " ".join(str(error).split()) or type(error).__name__
        sys.stderr.write(
            f"{_PROGRAM}: report.html could not be written: {message}; the labels are whole, "
            "--no-report leaves it out\n"
        )
        return exit_code_of(error)
    return ExitCode.DONE
