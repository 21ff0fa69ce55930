"""The command ``flare-io``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_io.command import ExitCode, error_record, exit_code_of, run_command
from flare_io.policy_arguments import add_policy_arguments, policy_from

if TYPE_CHECKING:
    from flare_io.files import Header

__all__ = ["main"]

_PROGRAM = "flare-io"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(_PROGRAM, arguments.command, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Look at, check and convert medical volumes; draw phantoms.",
        epilog="exit codes: 0 all good; 2 usage; 3 refused; 4 some of several refused; "
        "5 disk, memory or permission; 130 interrupted; 1 a bug",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {version(_PROGRAM)}")
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)
    paths = "NIfTI, NRRD or MetaImage file, or folder of a DICOM series"

    info = subcommands.add_parser("info", help="print shape, type and grid; reads headers only")
    info.add_argument("paths", nargs="+", type=Path, metavar="PATH", help=paths)
    info.set_defaults(command=_info)

    check = subcommands.add_parser("check", help="list every problem of files or datasets")
    check.add_argument(
        "paths", nargs="+", type=Path, metavar="PATH", help=f"{paths}, or dataset folder"
    )
    check.add_argument("--labels", action="store_true", help="the files hold labels, not images")
    check.add_argument(
        "--headers-only", action="store_true", help="do not read the images of a dataset whole"
    )
    check.set_defaults(command=_check)

    convert = subcommands.add_parser("convert", help="read, verify and write a volume")
    convert.add_argument("input", type=Path, metavar="PATH", help=paths)
    convert.add_argument(
        "-o",
        "--output",
        type=Path,
        required=True,
        metavar="FILE",
        help="ends in .nii, .nii.gz, .nrrd or .mha",
    )
    convert.add_argument("--labels", action="store_true", help="the file holds labels")
    convert.add_argument(
        "--table", metavar="NAME", help="refuse other labels, such as flare23; needs --labels"
    )
    convert.add_argument(
        "--sidecars",
        action="store_true",
        help="names and colors for 3D Slicer and ITK-SNAP; needs --table",
    )
    convert.add_argument(
        "--canonical", action="store_true", help="reorder axes to S, P, L without interpolation"
    )
    convert.set_defaults(command=_convert)

    phantom = subcommands.add_parser("phantom", help="write a dataset of invented patients")
    phantom.add_argument("-o", "--output", type=Path, required=True, metavar="DIR")
    phantom.add_argument("--preset", default="mini", metavar="NAME", help="(default: %(default)s)")
    phantom.add_argument("--cases", type=int, metavar="N", help="training cases")
    phantom.add_argument("--test-cases", type=int, metavar="N", help="held-out cases")
    phantom.add_argument("--seed", type=int, default=0, metavar="S")
    phantom.add_argument("--jobs", type=int, default=1, metavar="N", help="processes")
    phantom.set_defaults(command=_phantom)

    for subcommand in (info, check, convert):
        add_policy_arguments(subcommand)
    for subcommand in (info, check, convert, phantom):
        subcommand.add_argument("--json", action="store_true", help="print the result as JSON")
        subcommand.add_argument("--debug", action="store_true", help="show an error's traceback")
    return parser


def _info(arguments: argparse.Namespace) -> int:
    from flare_io.files import read_header

    policy = policy_from(arguments)

    def one(path: Path) -> tuple[dict[str, Any], str]:
        header = read_header(path, policy=policy)
        return _header_record(path, header), _header_text(path, header)

    return _each(arguments, one)


def _header_record(path: Path, header: Header) -> dict[str, Any]:
    return {
        "path": str(path),
        "format": header.format,
        "shape": list(header.shape),
        "dtype": header.dtype.name,
        "axis_codes": header.geometry.axis_codes,
        **header.geometry.to_dict(),
        "notes": list(header.notes),
    }


def _header_text(path: Path, header: Header) -> str:
    geometry = header.geometry
    lines = [
        str(path),
        f"  format   {header.format}",
        f"  shape    {' x '.join(map(str, header.shape))} (z, y, x), {header.dtype.name}",
        f"  spacing  {' x '.join(f'{mm:.4g}' for mm in geometry.spacing_mm)} mm",
        f"  axes     {geometry.axis_codes} (z, y, x run toward)",
        f"  origin   {', '.join(f'{mm:.2f}' for mm in geometry.origin)} mm (S, P, L)",
    ]
    return "\n".join(lines + [f"  note     {note}" for note in header.notes])


def _check(arguments: argparse.Namespace) -> int:
    from flare_io.check import check

    policy = policy_from(arguments)
    rows, bad = [], 0
    for path in arguments.paths:
        problems = check(
            path,
            policy=policy,
            content="labels" if arguments.labels else "image",
            voxels=not arguments.headers_only,
        )
        errors = sum(problem.severity == "error" for problem in problems)
        bad += errors > 0
        rows.append({"path": str(path), "problems": [each.record() for each in problems]})
        if not arguments.json:
            for problem in problems:
                print(f"{problem.severity}: {problem.describe()}")
            print(f"{path}: {errors or 'no'} error{'s' * (errors != 1)}", flush=True)
    if arguments.json:
        print(json.dumps({"checked": rows}, indent=2))
    return _outcome(bad, len(arguments.paths))


def _convert(arguments: argparse.Namespace) -> int:
    from flare_io.files import read_label_map, read_volume, write_label_map, write_volume
    from flare_io.labels import label_table
    from flare_io.volume import to_canonical

    if arguments.table and not arguments.labels:
        raise ValueError("--table needs --labels")
    if arguments.output.resolve() == arguments.input.resolve():
        raise ValueError(f"{arguments.output}: -o would overwrite the input; name another file")
    policy = policy_from(arguments)
    table = label_table(arguments.table) if arguments.table else None
    if arguments.labels:
        volume = read_label_map(arguments.input, policy=policy, table=table)
    else:
        volume = read_volume(arguments.input, policy=policy)
    if arguments.canonical:
        volume = to_canonical(volume)[0]
    if arguments.labels:
        write_label_map(volume, arguments.output, table=table, sidecars=arguments.sidecars)
    else:
        if arguments.sidecars:
            raise ValueError("--sidecars needs --labels and --table")
        write_volume(volume, arguments.output)
    if arguments.json:
        record = {
            "path": str(arguments.output),
            "shape": list(volume.shape),
            "dtype": volume.array.dtype.name,
            **volume.geometry.to_dict(),
            "notes": list(volume.notes),
        }
        print(json.dumps(record, indent=2))
        return ExitCode.DONE
    for note in volume.notes:
        print(f"note: {arguments.input}: {note}")
    print(arguments.output)
    return ExitCode.DONE


def _phantom(arguments: argparse.Namespace) -> int:
    from flare_io.phantom import write_phantom_dataset

    def progress(case: str, done: int, total: int) -> None:
        print(f"case {done}/{total} {case}", file=sys.stderr, flush=True)

    folder = write_phantom_dataset(
        arguments.output,
        preset=arguments.preset,
        cases=arguments.cases,
        test_cases=arguments.test_cases,
        seed=arguments.seed,
        jobs=arguments.jobs,
        progress=progress,
    )
    print(json.dumps({"folder": str(folder)}) if arguments.json else folder)
    return ExitCode.DONE


def _each(arguments: argparse.Namespace, one: Callable[[Path], tuple[dict[str, Any], str]]) -> int:
    """Do one thing with every path; a bad path costs only itself."""
    records, bad = [], 0
    for path in arguments.paths:
        try:
            record, text = one(path)
        except (OSError, ValueError) as error:
            if len(arguments.paths) == 1 or exit_code_of(error) != ExitCode.REFUSED:
                raise
            bad += 1
            print(f"{_PROGRAM}: {' '.join(str(error).split())}", file=sys.stderr)
            records.append({"path": str(path), "error": error_record(error)})
            continue
        records.append(record)
        if not arguments.json:
            print(text, flush=True)
    if arguments.json:
        print(json.dumps({"volumes": records}, indent=2))
    return _outcome(bad, len(arguments.paths))


def _outcome(bad: int, total: int) -> ExitCode:
    if not bad:
        return ExitCode.DONE
    return ExitCode.REFUSED if bad == total else ExitCode.SOME_FAILED
