"""Peak memory of flare-infer over the length of a scan, beside what it predicts before the run.

``python benchmarks/infer_memory.py [--slices 55 215 554 750] [--net swift] [--mode fast]`` writes a
model with random weights and CT of 512 x 512 x n voxels of 0.8 x 0.8 x 2.5 mm, segments each from
file to file in a fresh process, prints a table and keeps it with the machine's description. Exits
with 1 where a prediction is more than 15 % off.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from resident import resident_mib

HERE = Path(__file__).parent
RESULT = HERE / "results" / "infer_memory.json"
SPACING_MM = (2.5, 0.8, 0.8)
PLANE = (512, 512)
TOLERANCE = 0.15


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all lengths and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--slices", nargs="+", type=int, default=[55, 215, 554, 750])
    parser.add_argument("--net", choices=("swift", "thin"), default="thin")
    parser.add_argument("--mode", choices=("fast", "exact"), default="fast")
    parser.add_argument("--child", nargs=2, metavar=("MODEL", "IMAGE"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(measure(*options.child, mode=options.mode)))
        return 0
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_net(folder / "model", options.net)
        for count in options.slices:
            write_ct(folder / "ct.nii.gz", count)
            rows.append({"slices": count, **in_fresh_process(folder, options.mode)})
            print(describe(rows[-1]), flush=True)
    keep(rows, options.net, options.mode)
    return int(any(abs(row["predicted_mib"] / row["peak_mib"] - 1) > TOLERANCE for row in rows))


def in_fresh_process(folder: Path, mode: str) -> dict[str, Any]:
    """Return what a child process says of one case."""
    command = [sys.executable, __file__, "--mode", mode, "--child"]
    command += [str(folder / "model"), str(folder / "ct.nii.gz")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(model: str, image: str, *, mode: Any) -> dict[str, Any]:
    """Segment one file and return predicted and measured peak, and seconds by step."""
    import time

    from flare_infer.predictor import Predictor
    from flare_io.files import read_header, write_label_map

    header = read_header(image)
    predictor = Predictor.load(model, device="cpu")
    plan = predictor.explain(
        header.shape,
        spacing_mm=header.geometry.spacing_mm,
        mode=mode,
        voxel_bytes=header.dtype.itemsize,
        measure=False,
    )
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    labels = predictor.predict(image, mode=mode, timings=seconds)
    write_label_map(labels, Path(image).with_name("labels.nii.gz"))
    return {
        "predicted_mib": plan.peak_mib,
        "peak_mib": resident_mib(),
        "windows": plan.windows,
        "parts_mib": dict(plan.parts_mib),
        "total_s": time.perf_counter() - started,
        "seconds": seconds,
    }


def write_net(folder: Path, kind: str) -> None:
    """Write a model of 15 classes with random weights: Swift, or the same with few features."""
    import dataclasses

    import torch

    from flare_infer.model import ModelSpec, write_model
    from flare_infer.windows import WindowPlan
    from flare_io.intensity import Intensity
    from flare_io.labels import label_table
    from flare_io.preprocessing import Preprocessing
    from flare_nets.build import build_net
    from flare_nets.presets import preset

    labels = label_table("flare23")
    net = dataclasses.replace(preset("swift").config, out_channels=len(labels) + 1)
    if kind == "thin":
        net = dataclasses.replace(net, features=(16,) * 4, convs=(1,) * 4, decoder_convs=(1,) * 3)
    torch.manual_seed(0)
    ct = Intensity(scheme="ct", mean=80.0, std=140.0, low=-960.0, high=300.0)
    spec = ModelSpec(
        name=kind,
        net=net,
        labels=labels,
        preprocessing=Preprocessing(spacing_mm=(3.0, 1.5, 1.5), intensities=(ct,), crop="none"),
        # Neighbors that do not overlap: memory is the same, and time a third.
        windows=WindowPlan(patch=(32, 128, 192), step=1.0),
    )
    write_model(folder, spec, [build_net(net).state_dict()])


def write_ct(path: Path, slices: int) -> None:
    """Write smooth structures with a little noise."""
    from flare_io.files import write_volume
    from flare_io.geometry import Geometry
    from flare_io.volume import Volume

    rng = np.random.default_rng(slices)
    z, y, x = (np.linspace(0, 6 * n / 512, n, dtype=np.float32) for n in (slices, *PLANE))
    plane = np.sin(3 * y)[:, None] * np.cos(2 * x)[None] * 400
    noise = rng.integers(-20, 20, PLANE)
    array = np.stack([plane * np.cos(k) + noise for k in z]).astype(np.int16)
    write_volume(Volume(array, Geometry(SPACING_MM)), path)


def describe(row: dict[str, Any]) -> str:
    """Return one line of the table."""
    ratio = row["predicted_mib"] / row["peak_mib"]
    return (
        f"{row['slices']} slices: peak {row['peak_mib']:.0f} MiB, predicted "
        f"{row['predicted_mib']} ({ratio:.2f} x), {row['total_s']:.1f} s, {row['windows']} windows"
    )


def keep(rows: list[dict[str, Any]], net: str, mode: str) -> None:
    """Write the rows beside those of other nets and modes."""
    from machine import describe_machine

    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    machine = describe_machine("torch", "numpy", "flare-infer")
    kept[f"{net} {mode}"] = {"machine": machine, "rows": rows}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(kept, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
