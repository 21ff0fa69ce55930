"""``flare-train plan``: settings of a run from a dataset, by nnU-Net's rules or to a budget."""

from __future__ import annotations

import argparse
import json

from flare_io.command import ExitCode
from flare_train.options import Commands, label_ids, log_case

__all__ = ["add", "run"]


def add(commands: Commands, common: argparse.ArgumentParser) -> None:
    """Add the parser of this command."""
    parser = commands.add_parser(
        "plan",
        parents=[common],
        help="plan spacing, patch, batch and net of a dataset",
        description="Measure a dataset and plan spacing, patch, batch and net by nnU-Net's rules, "
        "or the widest net that keeps to a budget. Writes DIR/settings.json for flare-train fit.",
    )
    parser.add_argument("dataset", metavar="DATASET", help="nnU-Net's or FLARE's dataset folder")
    parser.add_argument("-o", "--output", required=True, metavar="DIR", help="folder for the plan")
    parser.add_argument(
        "--rules",
        choices=("default", "resenc-m", "resenc-l", "resenc-xl"),
        default="default",
        help="nnU-Net's planner whose constants hold; default default",
    )
    _add_wishes(parser)
    _add_limits(parser)
    parser.add_argument("--labels", metavar="DIR", help="label maps to learn from instead")
    parser.add_argument(
        "--complete", type=label_ids, metavar="IDS", help="ids that --labels shows in every case"
    )
    parser.add_argument(
        "--validation", type=int, default=0, metavar="N", help="cases that the run holds back"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="cases measured at the same time"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Plan and print what was planned."""
    import dataclasses

    from flare_train.planning.budget import Budget
    from flare_train.planning.planned_run import PlanRequest, plan_run
    from flare_train.planning.rules import plan_rules

    rules = plan_rules(arguments.rules)
    changes = {
        "memory_gb": arguments.memory_gb,
        "max_stages": arguments.stages,
        "base_features": arguments.features,
    }
    given = {name: value for name, value in changes.items() if value is not None}
    if arguments.features is not None:
        given["max_features"] = max(rules.max_features, arguments.features)
    macs = arguments.max_gmacs
    request = PlanRequest(
        rules=dataclasses.replace(rules, **given),
        budget=Budget(
            parameters=arguments.max_parameters,
            macs_per_case=None if macs is None else macs * 1e9,
            inference_mib=arguments.max_inference_mib,
            training_mib=arguments.max_training_mib,
        ),
        spacing_mm=arguments.spacing,
        patch=arguments.patch,
        batch=arguments.batch,
        classes=None if arguments.classes is None else tuple(arguments.classes),
        validation_cases=arguments.validation,
    )
    planned = plan_run(
        arguments.dataset,
        arguments.output,
        request,
        labels=arguments.labels,
        completed=arguments.complete,
        jobs=arguments.jobs,
        progress=log_case,
    )
    print(json.dumps(planned.to_dict()) if arguments.json else planned.describe())
    return int(ExitCode.DONE)


def _add_wishes(parser: argparse.ArgumentParser) -> None:
    wishes = parser.add_argument_group("what the rules leave to you")
    wishes.add_argument("--memory-gb", type=float, metavar="GB", help="GPU memory to plan for")
    wishes.add_argument("--spacing", type=_lengths, metavar="Z,Y,X", help="grid in millimeters")
    wishes.add_argument("--patch", type=_sizes, metavar="Z,Y,X", help="patch in voxels")
    wishes.add_argument("--batch", type=int, metavar="N", help="patches per batch")
    wishes.add_argument("--stages", type=int, metavar="N", help="most resolutions of the net")
    wishes.add_argument("--features", type=int, metavar="N", help="channels of the first stage")
    wishes.add_argument(
        "--classes", type=label_ids, metavar="IDS", help="labels to learn; default all annotated"
    )


def _add_limits(parser: argparse.ArgumentParser) -> None:
    limits = parser.add_argument_group("budget: the widest net within all that is given")
    limits.add_argument("--max-parameters", type=float, metavar="N", help="weights, such as 3e6")
    limits.add_argument(
        "--max-gmacs", type=float, metavar="N", help="1e9 multiply-accumulates for the median case"
    )
    limits.add_argument(
        "--max-inference-mib", type=float, metavar="MIB", help="weights and one window, float32"
    )
    limits.add_argument(
        "--max-training-mib", type=float, metavar="MIB", help="one step of training, float32"
    )


def _lengths(text: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3:
        raise argparse.ArgumentTypeError(f"three lengths as in 3,1.5,1.5 expected, got {text!r}")
    return values


def _sizes(text: str) -> tuple[int, ...]:
    try:
        values = tuple(int(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != 3:
        raise argparse.ArgumentTypeError(f"three sizes as in 32,128,192 expected, got {text!r}")
    return values
