"""Options that several commands share, and how their texts become values."""

from __future__ import annotations

import argparse
import json
import logging
import os
from collections.abc import Sequence
from typing import TypeAlias

__all__ = [
    "Commands",
    "add_machine",
    "core_count",
    "label_ids",
    "log_case",
    "pick_device",
    "setting_changes",
]

# A text, as the class takes no parameter when Python runs.
Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def add_machine(parser: argparse.ArgumentParser) -> None:
    """Add ``--device`` and ``--jobs``."""
    parser.add_argument(
        "--device", choices=("auto", "cpu", "cuda"), default="auto", help="default auto"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, metavar="N", help="cases prepared at the same time"
    )


def core_count() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def label_ids(text: str) -> list[int]:
    """Return the ids of a text such as ``1,2,3``.

    Examples
    --------
    >>> label_ids("1,2,14")
    [1, 2, 14]
    """
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"label ids as in 1,2,3 expected, got {text!r}") from error


def setting_changes(texts: Sequence[str]) -> dict[str, object]:
    """Return settings by dotted name from texts ``NAME=VALUE``; values are JSON, else plain text.

    Examples
    --------
    >>> setting_changes(["train.batch=4", "train.optimizer.kind=adamw"])
    {'train.batch': 4, 'train.optimizer.kind': 'adamw'}
    """
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


def pick_device(name: str) -> str:
    """Return the torch device of ``--device``; loads torch.

    Raises
    ------
    ValueError
        If CUDA is asked for and there is none.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("--device cuda needs a CUDA device, found none; use --device cpu")
    return name


def print_model(arguments: argparse.Namespace, model: os.PathLike[str]) -> None:
    """Print where a model lies, once however many processes trained it."""
    if os.environ.get("RANK", "0") == "0":
        path = os.fspath(model)
        print(json.dumps({"model": path}) if arguments.json else f"model {path}")


def log_case(name: str, done: int, total: int) -> None:
    """Log a line for every 25th prepared case and the last one."""
    if done == total or done % 25 == 0:
        logging.getLogger("flare_train").info("prepared %d of %d cases", done, total)
