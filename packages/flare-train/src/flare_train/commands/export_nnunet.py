"""``flare-train export-nnunet``: a model as nnU-Net v2's own."""

from __future__ import annotations

import argparse
import json

from flare_io.command import ExitCode
from flare_train.options import Commands

__all__ = ["add", "run"]


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "export-nnunet",
        parents=[common],
        help="write a model as a results folder of nnU-Net v2",
        description="Write a model folder so that nnU-Net v2 loads it as its own, predicts the "
        "same labels and can fine-tune it: RESULTS/DATASET/nnUNetTrainer__nnUNetPlans__3d_fullres.",
    )
    parser.add_argument("model", metavar="MODEL", help="a model folder")
    parser.add_argument(
        "-o", "--output", required=True, metavar="RESULTS", help="nnU-Net's folder of results"
    )
    parser.add_argument("--dataset", required=True, metavar="NAME", help="such as Dataset712_FLARE")
    parser.add_argument(
        "--allow-differences",
        action="store_true",
        help="write a model even if nnU-Net cannot do all that it does",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Export and print where the model lies and what to mind."""
    from flare_train.export_nnunet import export_nnunet

    exported = export_nnunet(
        arguments.model,
        arguments.output,
        dataset=arguments.dataset,
        allow_differences=arguments.allow_differences,
    )
    if arguments.json:
        print(json.dumps(exported.to_dict()))
    else:
        print(
            "\n".join((f"model {exported.folder}", *(f"note  {note}" for note in exported.notes)))
        )
    return int(ExitCode.DONE)
