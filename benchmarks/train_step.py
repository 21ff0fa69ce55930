"""Time one update of Swift beside nnU-Net's trainer: same net, patch, batch and numbers.

``python benchmarks/train_step.py --peer PEER_PYTHON`` lets both sides make updates of S1's Swift
net, 32 x 128 x 192 voxels, two samples, 15 classes, Dice + cross entropy with deep supervision, SGD
with momentum, float32 on two threads: each side in fresh processes, in turns. Ours is split into
load (from cases in memory), augment (nnU-Net's list), forward with loss, backward, and update;
nnU-Net's loader and augmentation are not part of its step. The median update counts, the ratio in
processor seconds, as other work on the machine does not enter them; wall seconds and the highest
resident memory stand beside it. ``benchmarks/results/train_step.json`` keeps the figures.
``--quick`` takes a sixteenth of the patch and keeps nothing.
"""

from __future__ import annotations

import os

# Before torch is loaded.
os.environ.setdefault("OMP_NUM_THREADS", "2")
# Threads that wait asleep, on both sides: else other work on the machine multiplies all figures.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from machine import describe_machine, versions_in
from resident import resident_mib

RESULTS = Path(__file__).parent / "results" / "train_step.json"
PEER_SCRIPT = Path(__file__).with_name("train_step_peer.py")
PATCH, QUICK_PATCH, BATCH, CLASSES = (32, 128, 192), (16, 48, 64), 2, 15
NET = {
    "features": (24, 48, 96, 192),
    "strides": ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 2, 2)),
}
PARTS = ("load", "augment", "forward", "backward", "update")
T = TypeVar("T")


class Clock:
    """Wall and processor seconds of named parts."""

    def __init__(self) -> None:
        self.parts: dict[str, list[dict[str, float]]] = {}

    def time(self, name: str, action: Callable[[], T]) -> T:
        """Do something and note what it took."""
        wall, processor = time.perf_counter(), time.process_time()
        result = action()
        seconds = {
            "wall_s": time.perf_counter() - wall,
            "cpu_s": time.process_time() - processor,
        }
        self.parts.setdefault(name, []).append(seconds)
        return result


def run_ours(patch: tuple[int, int, int], updates: int, precision: str) -> dict[str, Any]:
    """Be our side's process."""
    import torch

    from flare_nets.config import NetConfig
    from flare_train.allocator import keep_freed_memory
    from flare_train.batches import build_batch
    from flare_train.config import AugmentConfig, TrainConfig
    from flare_train.losses import segmentation_loss
    from flare_train.precision import autocast
    from flare_train.state import build_state
    from flare_train.stored_case import StoredCase
    from flare_train.update import prepare_example

    config = TrainConfig(
        net=NetConfig(
            architecture="plain",
            in_channels=1,
            out_channels=CLASSES,
            kernels=((3, 3, 3),) * 4,
            convs=(2,) * 4,
            decoder_convs=(2,) * 3,
            **NET,
        ),
        classes=tuple(range(CLASSES)),
        patch=patch,
        batch=BATCH,
        precision=precision,
        augment=AugmentConfig.preset("nnunet"),
    )
    rng = np.random.default_rng(0)
    shape = tuple(3 * size // 2 for size in patch)
    labels = rng.integers(0, CLASSES, [-(-size // 8) for size in shape])
    labels = labels.repeat(8, 0).repeat(8, 1).repeat(8, 2)[: shape[0], : shape[1], : shape[2]]
    case = StoredCase.from_arrays(
        "case",
        rng.normal(size=(1, *shape)),
        labels,
        spacing_mm=(3.0, 1.5, 1.5),
        annotated=frozenset(range(1, CLASSES)),
    )
    keep_freed_memory()  # as the commands do
    state, clock = build_state(config), Clock()
    for iteration in range(updates + 1):
        if iteration == 1:
            # The first update, which fills caches, is left out.
            clock = Clock()
        state.optimizer.zero_grad(set_to_none=True)
        number = iteration
        batch = clock.time("load", lambda n=number: build_batch([case], config, n))
        example = clock.time(
            "augment",
            lambda n=number, b=batch: prepare_example(b, config, n, device=state.device),
        )

        def forward(example: Any = example) -> torch.Tensor:
            with autocast(config, state.device):
                levels = state.net.forward_all(example.images)
            return segmentation_loss(
                levels, example.targets, example.annotated, config.loss, classes=config.classes
            )

        def update() -> None:
            torch.nn.utils.clip_grad_norm_(state.net.parameters(), config.optimizer.clip_norm)
            state.optimizer.step()

        loss = clock.time("forward", forward)
        clock.time("backward", lambda loss=loss: torch.autograd.backward(loss))
        clock.time("update", update)
        del loss
    return {"parts": clock.parts, "peak_mib": resident_mib()}


def ask(command: list[str]) -> dict[str, Any]:
    """Run one side in a fresh process and return what it prints last."""
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def summary(answers: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the median seconds of each part, and of a whole update without load and augment."""
    found: dict[str, Any] = {"peak_mib": round(max(each["peak_mib"] for each in answers))}
    for kind in ("wall_s", "cpu_s"):
        middle = {
            part: statistics.median(
                seconds[kind] for each in answers for seconds in each["parts"][part]
            )
            for part in answers[0]["parts"]
        }
        found[kind] = {part: round(value, 3) for part, value in middle.items()}
        steps = ("forward", "backward", "update")
        found[kind]["step"] = round(sum(middle[part] for part in steps), 3)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter that has nnU-Net v2")
    parser.add_argument("--updates", type=int, default=3, help="per process, default 3")
    parser.add_argument("--rounds", type=int, default=2, help="processes per side, default 2")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--ours", metavar="PRECISION", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    patch = QUICK_PATCH if arguments.quick else PATCH
    if arguments.ours:
        print(json.dumps(run_ours(patch, arguments.updates, arguments.ours)))
        return 0
    quick = ["--quick"] if arguments.quick else []
    updates = ["--updates", str(arguments.updates)]
    sides = {
        "flare-train": [sys.executable, __file__, "--ours", "float32", *updates, *quick],
        "flare-train, bfloat16": [sys.executable, __file__, "--ours", "bfloat16", *updates, *quick],
    }
    if arguments.peer:
        sizes = ",".join(map(str, patch))
        sides["nnU-Net"] = [arguments.peer, str(PEER_SCRIPT), sizes, str(arguments.updates)]
    answers: dict[str, list[dict[str, Any]]] = {name: [] for name in sides}
    for _ in range(arguments.rounds):
        for name, command in sides.items():
            answers[name].append(ask(command))
    results = {name: summary(found) for name, found in answers.items()}
    for name, found in results.items():
        parts = ", ".join(f"{part} {value:.2f}" for part, value in found["cpu_s"].items())
        print(f"{name}: {parts} processor s; peak {found['peak_mib']} MiB")
    ratios = {}
    if arguments.peer:
        theirs = results["nnU-Net"]
        for name in ("flare-train", "flare-train, bfloat16"):
            ratios[name] = {
                kind: round(theirs[kind]["step"] / results[name][kind]["step"], 3)
                for kind in ("cpu_s", "wall_s")
            }
            shown = ratios[name]
            print(
                f"{name}: {shown['cpu_s']:.2f} x nnU-Net's speed, {shown['wall_s']:.2f} x by wall"
            )
    if not arguments.quick:
        record = {
            "machine": describe_machine("flare-train", "flare-nets", "torch", "numpy"),
            "peer": versions_in(arguments.peer, "nnunetv2", "torch") if arguments.peer else None,
            "patch": patch,
            "batch": BATCH,
            "updates": arguments.updates * arguments.rounds,
            "sides": results,
            "speed_over_nnunet": ratios,
        }
        RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
