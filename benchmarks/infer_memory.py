"""Peak memory of flare-infer over the length of a scan, beside what it predicts before the run.

``python benchmarks/infer_memory.py [--slices 55 215 554 750] [--net swift] [--mode fast]
[--backend openvino] [--precision bfloat16]`` writes a model with random weights and CT of
512 x 512 x n voxels of 0.8 x 0.8 x 2.5 mm, segments each from file to file in a fresh process,
prints predicted over measured for each, and keeps the rows in ``results/infer_memory.json`` beside
those of other nets and modes. ``--all`` measures all of them, ``--resume`` only rows that are not
kept yet. Exits with 1 where a prediction is more than 15 % off, or where more grows from 215 to 554
slices than the volume and its labels, by more than a tenth of the peak.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from resident import resident_mib

HERE = Path(__file__).parent
RESULT = HERE / "results" / "infer_memory.json"
SPACING_MM = (2.5, 0.8, 0.8)
PLANE = (512, 512)
# Of CT in int16 and its labels in uint8.
BYTES_PER_VOXEL = 3
TOLERANCE = 0.15
GROWTH_TOLERANCE = 0.1
SHORT, LONG = 215, 554
SLICES = {"thin": (55, SHORT, LONG, 750), "swift": (55, SHORT, LONG)}

Row = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """A net and how it is run."""

    net: str
    mode: str
    backend: str
    precision: str

    def __str__(self) -> str:
        return " ".join(astuple(self))


WAYS = [
    Way(net, *how)
    for net in SLICES
    for how in (
        ("exact", "torch", "float32"),
        ("fast", "torch", "float32"),
        ("fast", "openvino", "float32"),
        ("fast", "openvino", "bfloat16"),
    )
]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all lengths and return the exit code."""
    options = parsed(arguments)
    if options.child:
        way = Way(options.net, options.mode, options.backend, options.precision)
        print(json.dumps(measure(way, *options.child)))
        return 0
    ways = WAYS if options.all else [chosen(options)]
    good = True
    with inputs_folder(options.inputs) as folder:
        for way in ways:
            for count in options.slices or SLICES[way.net]:
                row = kept_rows(way).get(count) if options.resume else None
                row = row or keep(way, in_fresh_process(folder, way, count))
                print(describe(way, row), flush=True)
                good &= abs(row["ratio"] - 1) <= TOLERANCE
            growth = growth_ratio(kept_rows(way))
            if growth is not None:
                good &= abs(growth - 1) <= GROWTH_TOLERANCE
                print(
                    f"{growth:.2f} x: {way}, {LONG} slices, measured over what {SHORT} slices and "
                    "more volume and labels take",
                    flush=True,
                )
    return int(not good)


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--all", action="store_true", help="all nets, modes and backends")
    parser.add_argument("--net", choices=tuple(SLICES), default="thin")
    parser.add_argument("--mode", choices=("fast", "exact"), default="fast")
    parser.add_argument("--backend", choices=("auto", "torch", "openvino"), default="auto")
    parser.add_argument("--precision", choices=("auto", "float32", "bfloat16"), default="auto")
    parser.add_argument("--slices", nargs="+", type=int, help="default: by the net")
    parser.add_argument(
        "--inputs", type=Path, metavar="FOLDER", help="keep models and scans here, and reuse them"
    )
    parser.add_argument("--resume", action="store_true", help="rows that are not kept yet")
    parser.add_argument("--child", nargs=2, metavar=("MODEL", "IMAGE"), help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def chosen(options: argparse.Namespace) -> Way:
    """Return the way of the options, with what ``auto`` stands for on this machine."""
    from flare_infer.backends.choice import choose

    choice = choose("cpu", backend=options.backend, precision=options.precision)
    taken = choice.to_dict(options.mode)
    return Way(options.net, options.mode, taken["backend"], taken["precision"])


@contextmanager
def inputs_folder(kept: Path | None) -> Iterator[Path]:
    """Give the folder for models and scans, which goes at the end unless it is to be kept."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def in_fresh_process(folder: Path, way: Way, slices: int) -> Row:
    """Return what a child process says of one case."""
    model, image = folder / way.net, folder / f"ct{slices}.nii.gz"
    if not model.exists():
        write_net(model, way.net)
    if not image.exists():
        write_ct(image, slices)
    command = [sys.executable, __file__, "--net", way.net, "--mode", way.mode]
    command += ["--backend", way.backend, "--precision", way.precision]
    command += ["--child", str(model), str(image)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    measured: Row = json.loads(done.stdout.splitlines()[-1])
    return measured


def measure(way: Way, model: str, image: str) -> Row:
    """Segment one file and return predicted and measured peak, and seconds by step."""
    import time

    from flare_infer.predictor import Predictor
    from flare_io.files import read_header, write_label_map

    header = read_header(image)
    how: dict[str, Any] = {
        "backend": way.backend,
        "precision": way.precision,
        "mode": way.mode,
    }
    predictor = Predictor.load(model, device="cpu", **how)
    plan = predictor.explain(
        header.shape,
        spacing_mm=header.geometry.spacing_mm,
        voxel_bytes=header.dtype.itemsize,
        measure=False,
    )
    seconds: dict[str, float] = {}
    started = time.perf_counter()
    labels = predictor.predict(image, timings=seconds)
    write_label_map(labels, Path(image).with_name("labels.nii.gz"))
    peak_mib = resident_mib()
    return {
        "slices": header.shape[0],
        "ratio": plan.peak_mib / peak_mib,
        "predicted_mib": plan.peak_mib,
        "peak_mib": peak_mib,
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


def describe(way: Way, row: Row) -> str:
    """Return one line of the table."""
    return (
        f"{row['ratio']:.2f} x: {way}, {row['slices']} slices, predicted {row['predicted_mib']}, "
        f"measured {row['peak_mib']:.0f} MiB, {row['total_s']:.1f} s, {row['windows']} windows"
    )


def growth_ratio(rows: Mapping[int, Row]) -> float | None:
    """Return the peak of a long scan over that of a short one and the arrays that grow."""
    if SHORT not in rows or LONG not in rows:
        return None
    arrays = BYTES_PER_VOXEL * (LONG - SHORT) * PLANE[0] * PLANE[1] / 2**20
    ratio: float = rows[LONG]["peak_mib"] / (rows[SHORT]["peak_mib"] + arrays)
    return ratio


def kept_rows(way: Way) -> dict[int, Row]:
    """Return what is kept of a way, by slices."""
    rows = kept_results().get(str(way), {}).get("rows", [])
    return {row["slices"]: row for row in rows}


def kept_results() -> dict[str, Any]:
    """Return all that is kept, by way."""
    return json.loads(RESULT.read_text()) if RESULT.exists() else {}


def keep(way: Way, row: Row) -> Row:
    """Write a row, in the place of an older one, and return it."""
    from machine import describe_machine

    rows = kept_rows(way) | {row["slices"]: row}
    machine = describe_machine("torch", "openvino", "numpy", "flare-infer")
    in_order = [rows[count] for count in sorted(rows)]
    entry = {"machine": machine, "growth": growth_ratio(rows), "rows": in_order}
    everything = dict(sorted((kept_results() | {str(way): entry}).items()))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(everything, indent=2) + "\n")
    return row


if __name__ == "__main__":
    sys.exit(main())
