"""``flare-metrics measure``: what a command costs, once or for each case of a folder."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_metrics.command import ExitCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flare_metrics.efficiency.case_run import CaseMeasurement
    from flare_metrics.efficiency.levels import Level
    from flare_metrics.efficiency.measurement import Measurement

__all__ = ["add_parser"]

_PROGRAM = "flare-metrics"
_NOT_FOUND, _NOT_EXECUTABLE = 127, 126


def add_parser(subcommands: Any) -> None:
    """Describe the arguments of ``measure``."""
    parser = subcommands.add_parser(
        "measure",
        help="measure time, memory and processors of a command",
        usage="%(prog)s [-o FILE.json|DIR] [options] -- COMMAND ...\n"
        "       %(prog)s --cases DIR -o DIR [options] (-- COMMAND ... | --container IMAGE)",
        epilog="exit code: that of the command (126, 127 if it cannot be started; 128 + signal); "
        "with --cases 0 all measured, 4 some failed, 3 all failed",
    )
    parser.add_argument("program", nargs="*", metavar="COMMAND", help="after --")
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE.json|DIR", help="where the measurement goes"
    )
    parser.add_argument(
        "--gpu", metavar="INDEX|UUID|none", help="watched GPU, as nvidia-smi counts (default 0)"
    )
    parser.add_argument(
        "--interval", type=float, default=0.1, metavar="S", help="between samples, default 0.1"
    )
    cases = parser.add_argument_group("once for each case")
    cases.add_argument(
        "--cases",
        type=Path,
        metavar="DIR",
        help="images <case>_0000.nii.gz; in COMMAND {input} and {output} stand for the folders "
        "of one case, {case} for its name",
    )
    cases.add_argument("--container", metavar="IMAGE", help="run it as the organizers do")
    cases.add_argument("--memory", default="28G", help="limit of the container, default 28G")
    cases.add_argument("--shm-size", default="28gb", help="its shared memory, default 28gb")
    cases.add_argument("--team", metavar="NAME", help="for <team>_Efficiency.csv")
    cases.add_argument("--timeout-s", type=float, metavar="S", help="longest time for one case")
    cases.add_argument("--again", action="store_true", help="run finished cases too")
    parser.set_defaults(command=_measure)


def _measure(arguments: argparse.Namespace) -> int:
    if arguments.cases is not None:
        return _measure_cases(arguments)
    only_cases = {
        "--container": arguments.container,
        "--team": arguments.team,
        "--timeout-s": arguments.timeout_s,
        "--again": arguments.again,
    }
    for option, value in only_cases.items():
        if value:
            raise ValueError(f"{option} goes with --cases")
    if not arguments.program:
        raise ValueError("measure needs a command after --")
    return _measure_one(arguments)


def _measure_one(arguments: argparse.Namespace) -> int:
    from flare_metrics.efficiency.running import measure_command, shell_exit_code

    output = arguments.output
    if output is not None:
        # What is wrong with it shows before the work, not after it.
        folder = output.parent if output.suffix == ".json" else output
        folder.mkdir(parents=True, exist_ok=True)
    try:
        run = measure_command(
            arguments.program,
            name=Path(arguments.program[0]).name,
            interval_s=arguments.interval,
            gpu=arguments.gpu,
        )
    except (FileNotFoundError, PermissionError) as error:
        if error.filename != arguments.program[0]:
            raise
        sys.stderr.write(f"{_PROGRAM}: {error.filename}: {error.strerror}\n")
        return _NOT_FOUND if isinstance(error, FileNotFoundError) else _NOT_EXECUTABLE
    measurement = run.measurement
    if output is not None:
        _write(measurement, output)
    if arguments.json:
        print(json.dumps(measurement.to_json(samples=False), indent=2))
    else:
        # Standard output is the command's own.
        sys.stderr.write(_text(measurement))
    return shell_exit_code(measurement.exit_code or 0)


def _write(measurement: Measurement, output: Path) -> None:
    if output.suffix == ".json":
        measurement.write(output)
        return
    from flare_metrics.atomic import write_text
    from flare_metrics.efficiency.curves import curves_svg

    measurement.write(output / "measurement.json")
    write_text(output / "measurement.svg", curves_svg(measurement))


def _text(measurement: Measurement) -> str:
    rows = [
        ("machine, memory", measurement.ram_mib, "MiB"),
        ("processes, memory", measurement.tree_ram_mib, "MiB"),
        ("GPU, memory", measurement.gpu_mib, "MiB"),
        ("processes, GPU memory", measurement.tree_gpu_mib, "MiB"),
        ("machine, load", measurement.cpu_percent, "%"),
        ("processes, load", measurement.tree_cpu_percent, "%"),
    ]
    lines = [
        f"{measurement.name}: {measurement.time_s:.2f} s",
        f"{'':24}{'peak':>10}{'above start':>13}{'mean':>10}{'area':>13}",
        *(_row(name, level, unit) for name, level, unit in rows),
        "FLARE: "
        + ", ".join(
            f"{name} {value}"
            for name, value in measurement.official.row().items()
            if name != "Name" and value != ""
        ),
        *(f"note: {note}" for note in measurement.notes),
    ]
    return "\n".join(lines) + "\n"


def _row(name: str, level: Level | None, unit: str) -> str:
    if level is None:
        return f"{name:24}{'-':>10}"
    above = "" if level.above_baseline is None else f"{level.above_baseline:.1f}"
    return f"{name:24}{level.peak:10.1f}{above:>13}{level.mean:10.1f}{level.area:13.1f} {unit} s"


def _measure_cases(arguments: argparse.Namespace) -> int:
    from flare_metrics.efficiency.case_run import CaseOptions
    from flare_metrics.efficiency.cases import measure_cases
    from flare_metrics.efficiency.container import ContainerOptions, container_gpu

    if arguments.output is None:
        raise ValueError("-o/--output must name a folder for the results")
    if bool(arguments.program) == (arguments.container is not None):
        raise ValueError("--cases needs either a command after -- or --container IMAGE")
    program: Sequence[str] | ContainerOptions = arguments.program
    team = arguments.team
    if arguments.container is not None:
        program = ContainerOptions(
            image=arguments.container,
            gpu=container_gpu(arguments.gpu),
            memory=arguments.memory,
            shared_memory=arguments.shm_size,
        )
        team = team or arguments.container.rpartition("/")[2].partition(":")[0].partition("@")[0]
    results = measure_cases(
        arguments.cases,
        arguments.output,
        program=program,
        options=CaseOptions(
            team=team or arguments.output.resolve().name,
            interval_s=arguments.interval,
            gpu=arguments.gpu,
            timeout_s=arguments.timeout_s,
            again=arguments.again,
        ),
        progress=True,
    )
    return _report(results, as_json=arguments.json)


def _report(results: Sequence[CaseMeasurement], *, as_json: bool) -> int:
    from flare_metrics.efficiency.case_tables import summarize_cases

    if as_json:
        print(json.dumps(summarize_cases(results), indent=2))
    else:
        print(_table(results))
    failed = [result for result in results if result.status != "measured"]
    for result in failed:
        sys.stderr.write(f"{_PROGRAM}: {result.case}: {result.status}: {result.reason}\n")
    if not failed:
        return ExitCode.DONE
    return ExitCode.SOME_FAILED if len(failed) < len(results) else ExitCode.REFUSED


def _table(results: Sequence[CaseMeasurement]) -> str:
    heads = ("time", "max GPU", "AUC GPU", "max CPU", "max RAM")
    units = ("s", "MiB", "MiB s", "%", "MiB")
    lines = [
        f"{'case':24}" + "".join(f"{head:>12}" for head in heads),
        f"{'':24}" + "".join(f"{unit:>12}" for unit in units),
    ]
    for result in results:
        if result.measurement is None or result.status != "measured":
            lines.append(f"{result.case:24}  {result.status}")
            continue
        row = result.measurement.official.row()
        names = ("Time", "MaxGPU_Mem", "AUC_GPU_Time", "MaxCPU_Utilization", "MaxRAM")
        lines.append(f"{result.case:24}" + "".join(f"{row[name]!s:>12}" for name in names))
    notes = {note for result in results if result.measurement for note in result.measurement.notes}
    return "\n".join([*lines, *(f"note: {note}" for note in sorted(notes))])
