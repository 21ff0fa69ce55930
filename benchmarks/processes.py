"""Time training by one process and by two that torchrun starts, at the same batch.

``python benchmarks/processes.py`` trains a net of 16 to 64 features on patches of 32 x 64 x 64,
four samples an update, in float32: one process of one thread, one of two, two of one. Every run is
the same training up to rounding; the last losses are compared. One line is printed for each, and
``benchmarks/results/processes.json`` keeps the figures. Processor seconds of all processes stand
beside wall seconds, as other work on the machine lengthens only these. `--quick` makes five updates
and keeps nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

RESULTS = Path(__file__).parent / "results" / "processes.json"
WAYS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes": (2, 1)}
PATCH, BATCH, CLASSES = (32, 64, 64), 4, 8


def train(folder: Path, updates: int) -> None:
    """Be one process of a run."""
    from flare_nets.config import NetConfig
    from flare_train.config import AugmentConfig, TrainConfig
    from flare_train.loop import fit
    from flare_train.stored_case import StoredCase

    config = TrainConfig(
        net=NetConfig(
            architecture="plain",
            in_channels=1,
            out_channels=CLASSES,
            features=(16, 32, 64),
            kernels=((3, 3, 3),) * 3,
            strides=((1, 1, 1), (2, 2, 2), (2, 2, 2)),
            convs=(2,) * 3,
            decoder_convs=(2,) * 2,
        ),
        classes=tuple(range(CLASSES)),
        patch=PATCH,
        batch=BATCH,
        epochs=2,
        iterations_per_epoch=updates,
        augment=AugmentConfig.preset("nnunet"),
    )
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, (6, 12, 12)).repeat(8, 0).repeat(8, 1).repeat(8, 2)
    case = StoredCase.from_arrays(
        "case",
        rng.normal(labels, 1.0)[None],
        labels,
        spacing_mm=(3.0, 2.0, 2.0),
        annotated=frozenset(range(1, CLASSES)),
    )
    fit(config, [case], folder)


def measure(processes: int, threads: int, updates: int) -> dict[str, Any]:
    """Train in one way; the first epoch, in which all starts up, is left out."""
    with tempfile.TemporaryDirectory() as name:
        launch = [sys.executable]
        if processes > 1:
            launch += [
                "-m",
                "torch.distributed.run",
                "--standalone",
                f"--nproc-per-node={processes}",
            ]
        command = [*launch, __file__, "--train", name, "--updates", str(updates)]
        quiet = {"OMP_NUM_THREADS": str(threads), "OMP_WAIT_POLICY": "PASSIVE"}
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        begun = time.perf_counter()
        subprocess.run(command, check=True, env=os.environ | quiet, stderr=subprocess.DEVNULL)
        wall = time.perf_counter() - begun
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        lines = (Path(name) / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        record = json.loads(lines[-1])
    return {
        "samples_per_s": round(updates * BATCH / record["seconds"]["all"], 3),
        "wait_share": round(record["seconds"]["wait"] / record["seconds"]["all"], 4),
        "last_loss": record["loss"],
        "whole_wall_s": round(wall, 1),
        "whole_cpu_s": round(
            after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime, 1
        ),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--updates", type=int, default=20, help="per epoch, default 20")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    updates = 5 if arguments.quick else arguments.updates
    if arguments.train:
        train(arguments.train, arguments.updates)
        return 0
    results = {name: measure(*way, updates) for name, way in WAYS.items()}
    first = next(iter(results.values()))
    for name, found in results.items():
        speed = found["samples_per_s"] / first["samples_per_s"]
        print(f"{name}: {speed:.2f} x, {found}")
    losses = [found["last_loss"] for found in results.values()]
    print(f"largest difference of the last losses {max(losses) - min(losses):.1e}")
    if not arguments.quick:
        machine = describe_machine("flare-train", "torch")
        record = {"machine": machine, "patch": PATCH, "batch": BATCH, "ways": results}
        RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
