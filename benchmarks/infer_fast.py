"""What each shortcut of fast mode costs in accuracy and saves in windows, on phantoms held out.

``python benchmarks/infer_fast.py`` trains a net on phantoms (recipe swift-plus at scale mini, a few
minutes, kept in ``--state``), or takes that of ``--model DIR``. Its windows are half as long as the
field of view along each axis. It draws other patients on a finer grid in four fields of view, some
of which are nothing like the net's training, segments each with one shortcut at a time, and prints
DSC and NSD (5 mm) by class minus those of all windows, in points.
``benchmarks/results/infer_fast.json`` keeps all of it, and the recall of the searches: the share of
each class's voxels over which at least one window is run. A voxel without one becomes background.
"""

from __future__ import annotations

import os

# Before numpy loads its BLAS.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from numpy.typing import NDArray

from flare_infer.fast import SAME_WINDOWS, FastSettings
from flare_infer.predictor import Predictor
from flare_infer.region import Region
from flare_infer.search import find_region
from flare_infer.windows import WindowPlan
from flare_io.crop import Box
from flare_io.phantom import draw_phantom
from flare_io.preparation import plan_preparation
from flare_io.volume import Volume
from flare_metrics import dice, surface_dice

RESULTS = Path(__file__).parent / "results" / "infer_fast.json"
SPACING_MM = (4.5, 3.5, 3.5)
TOLERANCE_MM = 5.0
SEED = 2024
TUMOR = 14
TRAINING = (
    "--set", "stages.net.config.patch=[16,24,24]", "--set", "stages.net.config.batch=4",
)  # fmt: skip
PLAIN = dataclasses.replace(SAME_WINDOWS, constant=False)
SHORTCUTS = {
    "all windows": PLAIN,
    "constant": SAME_WINDOWS,
    "body": dataclasses.replace(PLAIN, body=True),
    "draft": dataclasses.replace(PLAIN, draft=True),
    "default": FastSettings(),
    "default, step 0.75": FastSettings(step=0.75),
    "default, step 1": FastSettings(step=1.0),
    "default, coarse 1.5": FastSettings(coarse=1.5),
    "default, coarse 2": FastSettings(coarse=2.0),
    "default, coarse 3": FastSettings(coarse=3.0),
    "default, coarse 2, 100 mm": FastSettings(coarse=2.0, coarse_margin_mm=100.0),
}


def usual(index: int) -> tuple[Volume, NDArray[Any]]:
    """Return the field of view that the net was trained on, on a finer grid."""
    return drawn(index, (64, 96, 96))


def very_long(index: int) -> tuple[Volume, NDArray[Any]]:
    """Return a field of view three times as long."""
    return drawn(index, (192, 96, 96))


def off_center(index: int) -> tuple[Volume, NDArray[Any]]:
    """Return a wide field of view with the patient in its corner."""
    image, truth = drawn(index, (64, 192, 192))
    return cut(image, truth, (slice(None), slice(0, 144), slice(48, 192)))


def few_slices(index: int) -> tuple[Volume, NDArray[Any]]:
    """Return 16 slices from the middle: less than a window."""
    image, truth = drawn(index, (64, 96, 96))
    return cut(image, truth, (slice(24, 40), slice(None), slice(None)))


FIELDS = {
    "usual": usual,
    "very long": very_long,
    "off center": off_center,
    "few slices": few_slices,
}


def drawn(index: int, shape: tuple[int, int, int]) -> tuple[Volume, NDArray[Any]]:
    """Return image and truth of a patient."""
    case = draw_phantom(seed=SEED, index=index, preset="mini", shape=shape, spacing_mm=SPACING_MM)
    return case.image, case.truth.array


def cut(
    image: Volume, truth: NDArray[Any], place: tuple[slice, slice, slice]
) -> tuple[Volume, NDArray[Any]]:
    """Return a part of a case."""
    return Volume(np.ascontiguousarray(image.array[place]), image.geometry), truth[place]


class CountedNets:
    """The nets of a predictor, which count the windows that they look at."""

    def __init__(self, nets: Any) -> None:
        self._nets, self.choice, self.windows = nets, nets.choice, 0

    def by_layer(self, mode: Any) -> tuple[tuple[Any, ...], ...]:
        """Return the members of each layer."""
        return tuple(tuple(map(self._counted, nets)) for nets in self._nets.by_layer(mode))

    def _counted(self, net: Any) -> Any:
        def run(window: NDArray[np.float32]) -> NDArray[Any]:
            self.windows += 1
            answer: NDArray[Any] = net(window)
            return answer

        return run


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure all fields and shortcuts and keep the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, metavar="DIR", help="default: trained here")
    parser.add_argument(
        "--state", type=Path, default=Path(tempfile.gettempdir()) / "flare-bench-infer-fast",
        help="folder of the training",
    )  # fmt: skip
    parser.add_argument("--cases", type=int, default=10, help="patients in each field")
    parser.add_argument("--fields", nargs="+", choices=FIELDS, default=list(FIELDS))
    options = parser.parse_args(arguments)
    folder = options.model or trained(options.state)
    predictor = Predictor.load(folder, device="cpu", mode="fast", backend="torch")
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    fields = kept.get("fields", {}) if kept.get("model") == described(predictor) else {}
    for field in options.fields:
        fields[field] = measure(predictor, field, options.cases)
        for line in table(field, fields[field]):
            print(line, flush=True)
        record = {
            "machine": describe_machine("torch", "numpy", "flare-infer"),
            "model": described(predictor),
            "spacing_mm": SPACING_MM,
            "tolerance_mm": TOLERANCE_MM,
            "settings": {name: each.to_dict() for name, each in SHORTCUTS.items()},
            "fields": fields,
        }
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def trained(folder: Path) -> Path:
    """Return the model of a training on phantoms, done or finished now."""
    command = [sys.executable, "-m", "flare_train", "run", "swift-plus", "--scale", "mini"]
    command += ["--jobs", "1", "--device", "cpu", "-o", str(folder), *TRAINING]
    subprocess.run(command, check=True)
    return folder / "model"


def described(predictor: Predictor) -> dict[str, Any]:
    """Return what of the model the figures depend on."""
    spec = predictor.model.spec
    return {
        "name": spec.name,
        "weights_sha256": predictor.model.weights_sha256,
        "patch": list(spec.windows.patch),
        "spacing_mm": list(spec.preprocessing.spacing_mm or ()),
    }


def measure(predictor: Predictor, field: str, cases: int) -> dict[str, Any]:
    """Return all shortcuts' windows, seconds, scores by class and recall in one field of view."""
    nets = CountedNets(predictor.nets)
    names = {each.id: each.name for each in predictor.model.labels.classes}
    spent: dict[str, dict[str, float]] = {
        name: {"windows": 0, "cpu_s": 0.0, "healthy_with_tumor": 0} for name in SHORTCUTS
    }
    scores: dict[str, Any] = {name: defaultdict(list) for name in SHORTCUTS}
    recalls: dict[str, Any] = {name: defaultdict(list) for name in SHORTCUTS}
    for index in range(cases):
        image, truth = FIELDS[field](index)
        for name, settings in SHORTCUTS.items():
            chosen = dataclasses.replace(predictor, nets=nets, fast=settings)
            before, started = nets.windows, time.process_time()
            found = chosen.predict(image, mode="fast").array
            spent[name]["cpu_s"] += time.process_time() - started
            spent[name]["windows"] += nets.windows - before
            score(found, truth, names, scores[name])
            if not (truth == TUMOR).any():
                spent[name]["healthy_with_tumor"] += bool((found == TUMOR).any())
            if settings.coarse or settings.body:
                recall(predictor, image, truth, names, settings, recalls[name])
    return {
        name: {
            **{key: round(value, 2) for key, value in spent[name].items()},
            "classes": {key: rounded(rows) for key, rows in scores[name].items()},
            "recall": {
                key: {"mean": round(float(np.mean(rows)), 5), "least": round(min(rows), 5)}
                for key, rows in recalls[name].items()
            },
        }
        for name in SHORTCUTS
    }


def score(
    found: NDArray[Any], truth: NDArray[Any], names: dict[int, str], into: dict[str, Any]
) -> None:
    """Add DSC and NSD of the classes that a case shows."""
    for label, name in names.items():
        if (truth == label).any():
            pair = found == label, truth == label
            nsd = surface_dice(*pair, spacing_mm=SPACING_MM, tolerance_mm=TOLERANCE_MM)
            into[name].append((dice(*pair), nsd))


def recall(
    predictor: Predictor,
    image: Volume,
    truth: NDArray[Any],
    names: dict[int, str],
    settings: FastSettings,
    into: dict[str, Any],
) -> None:
    """Add the share of each class's voxels that lies in the region of the search."""
    spec = predictor.model.spec
    _, preparation = plan_preparation(image, spec.preprocessing)
    net = predictor.nets.by_layer("fast")[0][0]
    region = find_region(net, [image], spec, preparation, settings=settings)
    seen = covered(region, settings.applied_to(spec).windows)
    rows = [np.arange(n) * m // n for n, m in zip(truth.shape, seen.shape, strict=True)]
    inside = seen[np.ix_(*rows)]
    for label, name in names.items():
        if (truth == label).any():
            into[name].append(float(inside[truth == label].mean()))


def covered(region: Region, windows: WindowPlan) -> NDArray[np.bool_]:
    """Return over which voxels of the network's grid a window is run."""
    seen = np.zeros(region.shape, dtype=bool)
    box = region.window_box(windows)
    if box is None:
        return seen
    padded = windows.padded_shape(box.shape)
    before = [(n - m) // 2 for n, m in zip(padded, box.shape, strict=True)]
    for start in windows.starts(padded):
        corner = [k - p + o for k, p, o in zip(start, before, box.start, strict=True)]
        ends = [k + n for k, n in zip(corner, windows.patch, strict=True)]
        first = tuple(max(0, k) for k in corner)
        last = tuple(min(k, n) for k, n in zip(ends, region.shape, strict=True))
        window = Box(first, last)
        if region.meets(window):
            seen[window.slices] = True
    return seen


def rounded(rows: list[tuple[float, float]]) -> dict[str, float]:
    """Return mean DSC and NSD of a class."""
    dsc, nsd = np.mean(rows, axis=0)
    return {"cases": len(rows), "dsc": round(float(dsc), 5), "nsd": round(float(nsd), 5)}


def table(field: str, rows: dict[str, Any]) -> list[str]:
    """Return the lines of one field: what all windows reach, and what each shortcut changes."""
    plain = rows["all windows"]
    classes = plain["classes"]
    lines = [
        f"\n{field}: all windows, {plain['windows']:.0f} of them, DSC / NSD: "
        + ", ".join(f"{k} {v['dsc']:.3f} / {v['nsd']:.3f}" for k, v in classes.items())
    ]
    for name, row in rows.items():
        changes = [
            f"{key} {100 * (row['classes'][key]['dsc'] - classes[key]['dsc']):+.2f} / "
            f"{100 * (row['classes'][key]['nsd'] - classes[key]['nsd']):+.2f}"
            for key in classes
        ]
        found = row["recall"].get("tumor")
        lines.append(
            f"{plain['windows'] / row['windows']:5.2f} x fewer windows  {name:29} "
            + ", ".join(changes)
            + (
                f"; recall of tumor {found['mean']:.4f}, least {found['least']:.3f}"
                if found
                else ""
            )
        )
    return lines


if __name__ == "__main__":
    sys.exit(main())
