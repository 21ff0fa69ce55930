"""The command ``flare-train``: train on a dataset folder, go on with a run, see the demo."""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from flare_io.command import ExitCode, run_command

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    # Threads that wait by sleeping leave the core to others; torch reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logger = logging.getLogger("flare_train")
    handler = logging.StreamHandler(sys.stderr)
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        return run_command("flare-train", arguments.run, arguments)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flare-train", description=__doc__)
    parser.add_argument(
        "--version", action="version", version=f"flare-train {version('flare-train')}"
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print the result as one JSON object")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_fit(commands, common)
    _add_resume(commands, common)
    _add_demo(commands, common)
    return parser


def _add_fit(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "fit",
        parents=[common],
        help="train on a dataset folder and write a model",
        description="Train on a dataset folder and write a model folder that flare-infer loads. "
        "The same command again goes on where the run ended.",
    )
    parser.add_argument("dataset", metavar="DATASET", help="nnU-Net's or FLARE's dataset folder")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder of the run")
    parser.add_argument(
        "-c", "--config", required=True, metavar="FILE", help="settings, TOML or JSON"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="changes",
        help="replace one setting, such as train.batch=4; may be given again",
    )
    parser.add_argument(
        "--labels", metavar="DIR", help="label maps to learn from instead, such as fused ones"
    )
    parser.add_argument(
        "--complete",
        type=_label_ids,
        metavar="IDS",
        help="label ids that --labels shows in every case, such as 1,2,3; default all",
    )
    _add_machine(parser)
    parser.set_defaults(run=_fit)


def _add_resume(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "resume", parents=[common], help="go on with the run of a folder, all settings as they were"
    )
    parser.add_argument("output", metavar="DIR", help="folder of the run")
    _add_machine(parser)
    parser.set_defaults(run=_resume)


def _add_demo(
    commands: argparse._SubParsersAction[argparse.ArgumentParser], common: argparse.ArgumentParser
) -> None:
    parser = commands.add_parser(
        "demo",
        parents=[common],
        help="the whole way once: phantoms, fusion, training, prediction, scores, pictures",
        description="Draw phantoms, fuse their labels, train a small net, predict held-out "
        "phantoms and any CT given, score, draw pictures. Minutes on two cores; can be killed and "
        "run again.",
    )
    parser.add_argument(
        "-o", "--output", required=True, metavar="DIR", help="folder for all results"
    )
    parser.add_argument(
        "--ct",
        action="append",
        default=[],
        metavar="DIR",
        help="folder of CT volumes or DICOM series to predict too; may be given again",
    )
    parser.add_argument("--scale", choices=("unit", "mini"), default="mini", help="default mini")
    parser.add_argument("--seed", type=int, default=0, help="of phantoms and training, default 0")
    parser.set_defaults(run=_demo)


def _add_machine(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="cases prepared at the same time"
    )


def _label_ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"label ids as in 1,2,3 expected, got {text!r}") from error


def _changes(texts: Sequence[str]) -> dict[str, object]:
    changes: dict[str, object] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise ValueError(f"--set must be NAME=VALUE, got {text!r}")
        try:
            changes[name] = json.loads(value)
        except ValueError:
            changes[name] = value
    return changes


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda needs a CUDA device, found none; use --device cpu")
    return name


def _log_case(name: str, done: int, total: int) -> None:
    if done == total or done % 25 == 0:
        logging.getLogger("flare_train").info("prepared %d of %d cases", done, total)


def _fit(arguments: argparse.Namespace) -> int:
    from flare_train.run import fit_dataset, read_run_config

    config = read_run_config(arguments.config, changes=_changes(arguments.changes))
    model = fit_dataset(
        arguments.dataset,
        arguments.output,
        config,
        labels=arguments.labels,
        completed=arguments.complete,
        device=_device(arguments.device),
        jobs=arguments.jobs,
        progress=_log_case,
    )
    return _print_model(arguments, os.fspath(model))


def _resume(arguments: argparse.Namespace) -> int:
    from flare_train.run import resume

    model = resume(
        arguments.output,
        device=_device(arguments.device),
        jobs=arguments.jobs,
        progress=_log_case,
    )
    return _print_model(arguments, os.fspath(model))


def _print_model(arguments: argparse.Namespace, model: str) -> int:
    print(json.dumps({"model": model}) if arguments.json else f"model {model}")
    return int(ExitCode.DONE)


def _demo(arguments: argparse.Namespace) -> int:
    from flare_train.demo import run_demo

    report = run_demo(arguments.output, ct=arguments.ct, scale=arguments.scale, seed=arguments.seed)
    print(json.dumps(report.to_dict()) if arguments.json else report.describe())
    if report.shortcoming:
        print(f"flare-train: {report.shortcoming}", file=sys.stderr)
        return int(ExitCode.SOME_FAILED)
    return int(ExitCode.DONE)
