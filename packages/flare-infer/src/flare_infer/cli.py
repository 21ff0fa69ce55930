"""The command ``flare-infer``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flare_io.command import ExitCode, run_command
from flare_io.policy_arguments import add_policy_arguments, policy_from

if TYPE_CHECKING:
    from flare_infer.spec import ModelSpec

__all__ = ["main"]

_PROGRAM = "flare-infer"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    return run_command(_PROGRAM, arguments.command, arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=_PROGRAM,
        description="Segment CT with a model folder, or with an nnU-Net v2 model.",
        epilog="exit codes: 0 all good; 2 usage; 3 all inputs refused; 4 some cases failed; "
        "5 disk, memory, device or permission; 6 model refused; 75 stopped by a signal, run the "
        "same command again; 130 interrupted; 1 a bug",
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="show the version and exit")
    subcommands = parser.add_subparsers(metavar="COMMAND", required=True)

    run = subcommands.add_parser("run", help="segment a file, a folder or a DICOM series")
    run.add_argument("-m", "--model", type=Path, required=True, metavar="MODEL")
    run.add_argument("-i", "--input", type=Path, required=True, metavar="FILE|DIR")
    run.add_argument("-o", "--output", type=Path, required=True, metavar="FILE|DIR")
    run.add_argument("--mode", choices=("exact", "fast"), help="default: the model's own")
    run.add_argument("--device", default="auto", help="auto (default), cpu, cuda or cuda:N")
    run.add_argument(
        "--backend",
        choices=("auto", "torch", "openvino"),
        default="auto",
        help="auto (default): OpenVINO in fast mode on the CPU where it is installed, torch else",
    )
    run.add_argument(
        "--precision",
        choices=("auto", "float32", "bfloat16", "int8"),
        default="auto",
        help="of the network in fast mode; auto (default): bfloat16 where OpenVINO runs it and the "
        "processor has it, float32 else; int8 for a model that was calibrated",
    )
    run.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="shortcuts",
        help="a shortcut of fast mode, such as step=0.75, body=off, coarse=2, draft=on; may be "
        "given again",
    )
    run.add_argument("--tta", action="store_true", help="average over mirror images")
    run.add_argument("--memory-mib", type=int, metavar="N", help="refuse cases that need more")
    add_policy_arguments(run, hu_check=True)
    run.set_defaults(command=_run)

    info = subcommands.add_parser("info", help="describe a model folder")
    info.add_argument("-m", "--model", type=Path, required=True, metavar="MODEL")
    info.set_defaults(command=_info)

    calibrated = subcommands.add_parser(
        "calibrate", help="prepare a model for int8 on the CPU, from cases like those it is for"
    )
    calibrated.add_argument("-m", "--model", type=Path, required=True, metavar="MODEL")
    calibrated.add_argument("-i", "--input", type=Path, required=True, metavar="FILE|DIR")
    add_policy_arguments(calibrated, hu_check=True)
    calibrated.set_defaults(command=_calibrate)

    imported = subcommands.add_parser(
        "import-nnunet", help="turn an nnU-Net v2 results folder into a model folder"
    )
    imported.add_argument("folder", type=Path, help="holds plans.json, dataset.json and fold_*")
    imported.add_argument("-o", "--output", type=Path, required=True, metavar="MODEL")
    imported.add_argument("--folds", nargs="+", metavar="FOLD", help="default: all there are")
    imported.add_argument("--checkpoint", default="checkpoint_final.pth", metavar="NAME")
    imported.set_defaults(command=_import)

    for subcommand in (run, info, calibrated, imported):
        subcommand.add_argument("--json", action="store_true", help="print the result as JSON")
        subcommand.add_argument(
            "--debug", action="store_true", help="show the traceback of an error"
        )
    return parser


class _Version(argparse.Action):
    """Look the version up only when it is asked for, which takes longer than the help."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"{_PROGRAM} {version(_PROGRAM)}")
        parser.exit()


def _run(arguments: argparse.Namespace) -> int:
    from flare_infer.fast import FastSettings

    policy = policy_from(arguments)
    fast = FastSettings.from_texts(arguments.shortcuts)
    # Refused before seconds go into loading torch.
    if not arguments.input.exists():
        raise FileNotFoundError(f"{arguments.input}: does not exist")
    from flare_infer.predictor import Predictor
    from flare_infer.run import RunSettings, run_cases

    _log_to_stderr(arguments.debug)
    predictor = Predictor.load(
        arguments.model,
        device=arguments.device,
        backend=arguments.backend,
        precision=arguments.precision,
        mode=arguments.mode,
        memory_mib=arguments.memory_mib,
        fast=fast,
    )
    mode = arguments.mode or predictor.model.spec.default_mode
    if arguments.shortcuts and mode == "exact":
        raise ValueError("--set changes fast mode and this run is exact; add --mode fast")
    schemes = {each.scheme for each in predictor.model.spec.preprocessing.intensities}
    if "ct" not in schemes:
        # Only a model of CT knows that its input must be in Hounsfield units.
        policy = replace(policy, hu_check=False)
    settings = RunSettings(mode=arguments.mode, tta=arguments.tta, policy=policy)
    report, code = run_cases(predictor, arguments.input, arguments.output, settings=settings)
    if arguments.json:
        print(json.dumps(report.to_dict()))
    else:
        print(
            f"{report.count('done')} done, {report.count('failed')} failed, "
            f"{report.count('not started')} not started; {report.path}"
        )
    return int(code)


def _info(arguments: argparse.Namespace) -> int:
    from flare_infer.model import read_model

    model = read_model(arguments.model)
    if arguments.json:
        print(json.dumps(model.to_dict()))
        return int(ExitCode.DONE)
    spec = model.spec
    spacing = spec.preprocessing.spacing_mm
    grid = "each case's own" if spacing is None else " x ".join(f"{v:g}" for v in spacing) + " mm"
    table = model.labels
    labels = ", ".join(f"{label} {table.name_of(label)}" for label in table.ids)
    rows = {
        "name": spec.name,
        "labels": labels,
        "heads": _heads(spec),
        "order": spec.order,
        "spacing": f"{grid} (z, y, x)",
        "window": " x ".join(map(str, spec.windows.patch)),
        "net": f"{spec.net.architecture}, features {', '.join(map(str, spec.net.features))}",
        "members": str(model.members),
        "parameters": f"{model.parameters / 1e6:.3f} M a member",
        "cost": f"{model.macs / 1e9:.1f} GMAC a window",
        "axes": spec.preprocessing.axes,
        "mode": spec.default_mode,
    }
    for overlay in model.overlays:
        painted = ", ".join(map(str, overlay.labels))
        rows[f"+ {overlay.name}"] = f"{overlay.model.spec.name}, paints {painted}"
    for name, value in rows.items():
        print(f"{name:<10} {value}")
    return int(ExitCode.DONE)


def _heads(spec: ModelSpec) -> str:
    if spec.regions is not None:
        return "sigmoid (regions)"
    rivals = "largest logit" if spec.background == "channel" else "largest logit above 0"
    if not spec.overlay:
        return rivals
    return f"{rivals}, painted over where above 0: {', '.join(map(str, spec.overlay))}"


def _calibrate(arguments: argparse.Namespace) -> int:
    from flare_infer.calibrate import calibrate
    from flare_infer.inputs import find_cases
    from flare_infer.model import read_model

    model = read_model(arguments.model)
    cases = find_cases(arguments.input, channels=model.spec.net.in_channels)
    found = calibrate(model.folder, [case.paths for case in cases], policy=policy_from(arguments))
    code = ExitCode.SOME_FAILED if found.failed else ExitCode.DONE
    if arguments.json:
        print(json.dumps(found.to_dict()))
        return int(code)
    for reason in found.failed:
        print(f"left out: {reason}", file=sys.stderr)
    many = "" if found.cases == 1 else "s"
    print(f"{found.windows} windows of {found.cases} case{many}; int8 beside float32 on them:")
    for name, dsc in found.dsc.items():
        print(f"{name:<22} DSC {dsc:.4f}")
    print(f"{100 * found.differing:.3f} % of all voxels differ; run with --precision int8")
    return int(code)


def _import(arguments: argparse.Namespace) -> int:
    from flare_infer.nnunet import import_nnunet

    model = import_nnunet(
        arguments.folder,
        arguments.output,
        folds=arguments.folds,
        checkpoint=arguments.checkpoint,
    )
    if arguments.json:
        print(json.dumps(model.to_dict()))
    else:
        print(f"{model.members} members, {model.parameters / 1e6:.2f} M parameters: {model.folder}")
    return int(ExitCode.DONE)


def _log_to_stderr(debug: bool) -> None:
    import logging

    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("flare_infer")
    logger.handlers = [handler]
    logger.setLevel(logging.DEBUG if debug else logging.INFO)
