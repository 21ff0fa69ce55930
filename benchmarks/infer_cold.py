"""Time flare-infer from a cold start: every run is a process of its own, files in the page cache.

``python benchmarks/infer_cold.py`` makes a Swift model with random weights and a scan of one window
and runs the command's ways on them. Of ``run``, what the report counts for reading, resampling,
network, deciding and writing is taken off: what is left is interpreter, imports, model, first use.
With ``--peer PEER_PYTHON`` nnU-Net's command is asked for its help beside ours. One line is printed
for each, and ``benchmarks/results/infer_cold.json`` keeps wall seconds and processor seconds of all
repeats; the budgets hold for the least wall seconds, as other work on the machine lengthens them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from machine import describe_machine, versions_in

RESULTS = Path(__file__).parent / "results" / "infer_cold.json"
COMMAND = "import sys; from flare_infer.cli import main; sys.exit(main())"
PEER_COMMAND = (
    "from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder as main; "
    "main()"
)
WAYS = {
    "help": (("--help",), 0.3),
    "info": (("info", "-m", "model"), 0.3),
    "run, fast, OpenVINO": (
        ("--mode", "fast", "--backend", "openvino", "--precision", "float32"),
        1.0,
    ),
    "run, fast, OpenVINO, bfloat16": (("--mode", "fast", "--precision", "bfloat16"), 1.0),
    "run, fast, torch": (("--mode", "fast", "--backend", "torch"), None),
    "run, exact": (("--mode", "exact"), None),
}
RUN = ("run", "-m", "model", "-i", "scan.nii.gz", "-o", "labels.nii.gz", "--device", "cpu")


def make_inputs(folder: Path) -> None:
    """Write a model folder and a scan of one window."""
    import numpy as np
    import torch

    from flare_infer.model import ModelSpec, write_model
    from flare_infer.windows import WindowPlan
    from flare_io.files import write_volume
    from flare_io.geometry import Geometry
    from flare_io.intensity import Intensity
    from flare_io.labels import label_table
    from flare_io.preprocessing import Preprocessing
    from flare_io.volume import Volume
    from flare_nets import build_net, preset

    torch.manual_seed(0)
    entry = preset("swift")
    spacing_mm = (3.0, 1.5, 1.5)
    ct = Intensity(scheme="ct", mean=80.0, std=140.0, low=-970.0, high=280.0)
    spec = ModelSpec(
        name="swift",
        net=entry.config,
        labels=label_table("flare23"),
        preprocessing=Preprocessing(spacing_mm=spacing_mm, intensities=(ct,), crop="none"),
        windows=WindowPlan(patch=entry.patch),
        default_mode="fast",
    )
    write_model(folder / "model", spec, [build_net(entry.config).state_dict()])
    rng = np.random.default_rng(0)
    array = rng.normal(60, 120, entry.patch).astype(np.int16)
    write_volume(Volume(array, Geometry(spacing_mm)), folder / "scan.nii.gz")


def cold_run(command: list[str], folder: Path) -> dict[str, float]:
    """Run a command in a fresh process and return what it took."""
    environment = dict(os.environ)
    # Compiled modules are part of an installation.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    before = os.times()
    started = time.perf_counter()
    subprocess.run(
        command, cwd=folder, env=environment, check=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    wall = time.perf_counter() - started
    after = os.times()
    user = after.children_user - before.children_user
    return {"wall_s": wall, "cpu_s": user + after.children_system - before.children_system}


def fixed_share(run: dict[str, float], folder: Path) -> dict[str, float]:
    """Take off what the report counts for the case, and remove the run's files."""
    report = folder / "labels.nii.gz.report.json"
    seconds = json.loads(report.read_text(encoding="utf-8"))["cases"][0]["seconds"]
    report.unlink()
    (folder / "labels.nii.gz").unlink()
    return {
        **run,
        "case_s": sum(seconds.values()),
        "fixed_s": run["wall_s"] - sum(seconds.values()),
    }


def measure(name: str, folder: Path, repeats: int) -> dict[str, Any]:
    """Return the row of one way, and print it."""
    arguments, budget = WAYS[name]
    start = (*RUN, *arguments) if name.startswith("run") else arguments
    command = [sys.executable, "-c", COMMAND, *start]
    runs = []
    # The first run writes compiled modules and fills the page cache.
    for number in range(repeats + 1):
        run = cold_run(command, folder)
        if name.startswith("run"):
            run = fixed_share(run, folder)
        if number:
            runs.append({key: round(value, 3) for key, value in run.items()})
    key = "fixed_s" if name.startswith("run") else "wall_s"
    found = [run[key] for run in runs]
    row = {
        "way": name,
        "measure": key,
        "least_s": min(found),
        "median_s": round(statistics.median(found), 3),
        "budget_s": budget,
        "runs": runs,
    }
    limit = "" if budget is None else f"   budget {budget} s"
    print(
        f"{row['least_s']:6.2f} s least {row['median_s']:6.2f} s median  {name}{limit}", flush=True
    )
    return row


def measure_peer(peer: str, folder: Path, ours: float) -> dict[str, Any]:
    """Return how long nnU-Net's command takes to print its help, and print the ratio."""
    command = [peer, "-c", PEER_COMMAND, "--help"]
    runs = [cold_run(command, folder) for _ in range(3)]
    least = round(min(run["wall_s"] for run in runs), 3)
    print(f"{least / ours:6.1f} x   nnU-Net's help {least:.2f} s, ours {ours:.2f} s")
    return {"way": "help", "least_s": least, "ratio": round(least / ours, 1), "runs": runs}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="a Python that has nnunetv2")
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_inputs(folder)
        rows = [measure(name, folder, arguments.repeats) for name in WAYS]
        peer = None
        if arguments.peer:
            peer = measure_peer(arguments.peer, folder, rows[0]["least_s"])
            peer["packages"] = versions_in(arguments.peer, "nnunetv2", "torch")
    over = [row["way"] for row in rows if row["budget_s"] and row["least_s"] > row["budget_s"]]
    record = {
        "machine": describe_machine("flare-infer", "numpy", "torch", "openvino"),
        "load_at_end": os.getloadavg()[0],
        "rows": rows,
        "peer": peer,
        "over_budget": over,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    if over:
        print(f"over budget: {', '.join(over)}")
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
