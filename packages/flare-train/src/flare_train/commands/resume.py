"""``flare-train resume``: go on with the run of a folder."""

from __future__ import annotations

import argparse

from flare_io.command import ExitCode
from flare_train.options import Commands, add_machine, log_case, pick_device, print_model

__all__ = ["add", "run"]


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "resume", parents=[common], help="go on with the run of a folder, all settings as they were"
    )
    parser.add_argument("output", metavar="DIR", help="folder of the run")
    add_machine(parser)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Finish the run and print where the model lies."""
    from flare_train.commands.run import run_and_print
    from flare_train.run import resume
    from flare_train.run_recipe import read_request

    recipe = read_request(arguments.output)
    if recipe is not None:
        return run_and_print(arguments, recipe)
    model = resume(
        arguments.output,
        device=pick_device(arguments.device),
        jobs=arguments.jobs,
        progress=log_case,
    )
    print_model(arguments, model)
    return int(ExitCode.DONE)
