"""``flare-train fit``: train on a dataset folder and write a model."""

from __future__ import annotations

import argparse

from flare_io.command import ExitCode
from flare_train.options import (
    Commands,
    add_machine,
    label_ids,
    log_case,
    pick_device,
    print_model,
    setting_changes,
)

__all__ = ["add", "run"]


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the parser of this command."""
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
        type=label_ids,
        metavar="IDS",
        help="label ids that --labels shows in every case, such as 1,2,3; default all",
    )
    add_machine(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Train and print where the model lies."""
    from flare_train.run import fit_dataset, read_run_config

    config = read_run_config(arguments.config, changes=setting_changes(arguments.changes))
    model = fit_dataset(
        arguments.dataset,
        arguments.output,
        config,
        labels=arguments.labels,
        completed=arguments.complete,
        device=pick_device(arguments.device),
        jobs=arguments.jobs,
        progress=log_case,
    )
    print_model(arguments, model)
    return int(ExitCode.DONE)
