"""What each shortcut of fast mode costs in accuracy and saves in windows, on phantoms held out.

``python benchmarks/infer_fast.py`` trains a net on phantoms (recipe swift-plus at scale small, ten
minutes, kept in ``--state``), or takes that of ``--model DIR``. Its windows are as long in mm as
Swift's. It draws other patients on a finer grid in four fields of view, some of which are nothing
like the net's training, segments each in exact mode and with one shortcut at a time, and prints DSC
and NSD (5 mm) by class minus those of exact mode, in points, and DSC between both label maps.
``benchmarks/results/infer_fast.json`` keeps all of it, the standard error of each change over the
patients, and the recall of the searches: the share of each class's voxels over which at least one
window is run. A voxel without one becomes background. ``--ways default --cases 60 --fields usual``
looks at one shortcut closely and is kept beside the rest.
"""

from __future__ import annotations

import os

# Before numpy loads its BLAS.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import dataclasses
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine
from numpy.typing import NDArray

from flare_infer.backends.choice import PrecisionName, choose
from flare_infer.backends.warm import WarmNets
from flare_infer.calibrate import calibrate
from flare_infer.calibration import CALIBRATION_FILE
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
SPACING_MM = (3.0, 2.5, 2.5)
TOLERANCE_MM = 5.0
SEED = 2024
TUMOR = 14
# 96 x 200 x 280 mm.
TRAINING = (
    "--set", "stages.net.config.patch=[16,40,56]", "--set", "stages.net.config.batch=4",
    "--set", "stages.net.config.epochs=40",
)  # fmt: skip


@dataclass(frozen=True)
class Way:
    """One way to segment a case."""

    fast: FastSettings = field(default_factory=FastSettings)
    mode: Any = "fast"
    precision: Any = "float32"


PRECISIONS: tuple[PrecisionName, ...] = ("float32", "bfloat16", "int8", "auto")
PLAIN = dataclasses.replace(SAME_WINDOWS, constant=False)
EXACT = "exact"
WAYS = {
    EXACT: Way(mode="exact"),
    "all windows": Way(PLAIN),
    "all windows, bfloat16": Way(PLAIN, precision="bfloat16"),
    "all windows, int8": Way(PLAIN, precision="int8"),
    "constant": Way(SAME_WINDOWS),
    "default": Way(precision="auto"),
    "default, int8": Way(precision="int8"),
    "default, step 0.6": Way(FastSettings(step=0.6), precision="auto"),
    "default, step 0.67": Way(FastSettings(step=2 / 3), precision="auto"),
    "default, step 0.75": Way(FastSettings(step=0.75), precision="auto"),
    "default, step 1": Way(FastSettings(step=1.0), precision="auto"),
    "default, coarse 2": Way(FastSettings(coarse=2.0), precision="auto"),
    "default, coarse 3": Way(FastSettings(coarse=3.0), precision="auto"),
    "draft": Way(dataclasses.replace(PLAIN, draft=True)),
}


def usual(index: int) -> tuple[Volume, NDArray[Any]]:
    """Return the field of view that the net was trained on, on a finer grid."""
    return drawn(index, (96, 128, 128))


def very_long(index: int) -> tuple[Volume, NDArray[Any]]:
    """Return a field of view three times as long."""
    return drawn(index, (288, 128, 128))


def off_center(index: int) -> tuple[Volume, NDArray[Any]]:
    """Return a wide field of view with the patient in its corner."""
    image, truth = drawn(index, (96, 256, 256))
    return cut(image, truth, (slice(None), slice(0, 192), slice(64, 256)))


def few_slices(index: int) -> tuple[Volume, NDArray[Any]]:
    """Return 16 slices from the middle: less than a window."""
    image, truth = drawn(index, (96, 128, 128))
    return cut(image, truth, (slice(40, 56), slice(None), slice(None)))


FIELDS = {
    "usual": usual,
    "very long": very_long,
    "off center": off_center,
    "few slices": few_slices,
}


def drawn(index: int, shape: tuple[int, int, int]) -> tuple[Volume, NDArray[Any]]:
    """Return image and truth of a patient."""
    case = draw_phantom(seed=SEED, index=index, preset="small", shape=shape, spacing_mm=SPACING_MM)
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
    parser.add_argument(
        "--cases",
        type=int,
        default=10,
        help="patients in the usual field; half as many in the others",
    )
    parser.add_argument("--fields", nargs="+", choices=FIELDS, default=list(FIELDS))
    parser.add_argument("--ways", nargs="+", choices=WAYS, help="beside exact; default: all")
    options = parser.parse_args(arguments)
    folder = calibrated(options.model or trained(options.state), options.state)
    predictor = Predictor.load(folder, device="cpu")
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    fields = kept.get("fields", {}) if kept.get("model") == described(predictor) else {}
    for name in options.fields:
        count = options.cases if name == "usual" else -(-options.cases // 2)
        ways = {EXACT, *options.ways} if options.ways else set(WAYS)
        key = f"{name}, {count} patients" if options.ways else name
        fields[key] = measure(predictor, name, count, ways)
        for line in table(key, fields[key]):
            print(line, flush=True)
        record = {
            "machine": describe_machine("torch", "numpy", "flare-infer", "openvino"),
            "model": described(predictor),
            "spacing_mm": SPACING_MM,
            "tolerance_mm": TOLERANCE_MM,
            "ways": {
                key: {"mode": way.mode, "precision": way.precision, **way.fast.to_dict()}
                for key, way in WAYS.items()
            },
            "fields": fields,
        }
        RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    return 0


def trained(folder: Path) -> Path:
    """Return the model of a training on phantoms, done or finished now."""
    command = [sys.executable, "-m", "flare_train", "run", "swift-plus", "--scale", "small"]
    command += ["--jobs", "1", "--device", "cpu", "-o", str(folder), *TRAINING]
    subprocess.run(command, check=True)
    return folder / "model"


def calibrated(folder: Path, state: Path) -> Path:
    """Return a copy of a model that has seen four more patients, for int8."""
    copy = state / "calibrated"
    if not (copy / CALIBRATION_FILE).exists():
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        calibrate(copy, [usual(1000 + index)[0] for index in range(4)])
    return copy


def described(predictor: Predictor) -> dict[str, Any]:
    """Return what of the model the figures depend on."""
    spec = predictor.model.spec
    return {
        "name": spec.name,
        "weights_sha256": predictor.model.weights_sha256,
        "patch": list(spec.windows.patch),
        "spacing_mm": list(spec.preprocessing.spacing_mm or ()),
    }


def measure(predictor: Predictor, view: str, cases: int, ways: set[str]) -> dict[str, Any]:
    """Return the ways' windows, seconds, scores by class and recall in one field of view."""
    nets = {
        precision: CountedNets(WarmNets(predictor.model, choose("cpu", precision=precision)))
        for precision in PRECISIONS
    }
    rows = {name: _Row() for name in WAYS if name in ways}
    for index in range(cases):
        image, truth = FIELDS[view](index)
        exact = None
        for name, row in rows.items():
            way = WAYS[name]
            counted = nets[way.precision]
            chosen = dataclasses.replace(predictor, nets=counted, fast=way.fast)
            before, started = counted.windows, time.process_time()
            found = chosen.predict(image, mode=way.mode).array
            row.cpu_s += time.process_time() - started
            row.windows += counted.windows - before
            exact = found if exact is None else exact
            score(found, truth, exact, predictor, row)
            if way.mode == "fast" and (way.fast.coarse or way.fast.body):
                recall(chosen, image, truth, row)
    return {name: row.to_dict(rows[EXACT]) for name, row in rows.items()}


@dataclass
class _Row:
    """What one way gathers over the cases of a field."""

    windows: int = 0
    cpu_s: float = 0.0
    healthy_with_tumor: int = 0
    voxels: int = 0
    unlike_exact: int = 0
    scores: Any = field(default_factory=lambda: defaultdict(list))
    recalls: Any = field(default_factory=lambda: defaultdict(list))

    def to_dict(self, exact: _Row) -> dict[str, Any]:
        return {
            "windows": self.windows,
            "cpu_s": round(self.cpu_s, 2),
            "healthy_with_tumor": self.healthy_with_tumor,
            "unlike_exact": self.unlike_exact / self.voxels,
            "classes": {key: rounded(rows, exact.scores[key]) for key, rows in self.scores.items()},
            "recall": {
                key: {"mean": round(float(np.mean(rows)), 5), "least": round(min(rows), 5)}
                for key, rows in self.recalls.items()
            },
        }


def score(
    found: NDArray[Any],
    truth: NDArray[Any],
    exact: NDArray[Any],
    predictor: Predictor,
    row: _Row,
) -> None:
    """Add DSC and NSD of the classes that a case shows, and DSC to exact mode's labels."""
    for each in predictor.model.labels.classes:
        if (truth == each.id).any():
            pair = found == each.id, truth == each.id
            nsd = surface_dice(*pair, spacing_mm=SPACING_MM, tolerance_mm=TOLERANCE_MM)
            row.scores[each.name].append((dice(*pair), nsd, dice(pair[0], exact == each.id)))
    row.voxels += truth.size
    row.unlike_exact += int(np.count_nonzero(found != exact))
    row.healthy_with_tumor += bool((found == TUMOR).any() and not (truth == TUMOR).any())


def recall(predictor: Predictor, image: Volume, truth: NDArray[Any], row: _Row) -> None:
    """Add the share of each class's voxels that lies in the region of the search."""
    spec = predictor.model.spec
    _, preparation = plan_preparation(image, spec.preprocessing)
    net = predictor.nets.by_layer("fast")[0][0]
    region = find_region(net, [image], spec, preparation, settings=predictor.fast)
    seen = covered(region, predictor.fast.applied_to(spec).windows)
    voxels = [np.arange(n) * m // n for n, m in zip(truth.shape, seen.shape, strict=True)]
    inside = seen[np.ix_(*voxels)]
    for each in predictor.model.labels.classes:
        if (truth == each.id).any():
            row.recalls[each.name].append(float(inside[truth == each.id].mean()))


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


def rounded(rows: list[tuple[float, ...]], exact: list[tuple[float, ...]]) -> dict[str, Any]:
    """Return means of a class: DSC, NSD, DSC to exact mode where either shows it.

    ``dsc_error`` and ``nsd_error`` are standard errors of the mean change from exact mode's rows.
    """
    dsc, nsd, to_exact = np.array(rows).T
    alike = to_exact[~np.isnan(to_exact)]
    found: dict[str, Any] = {
        "cases": len(rows),
        "dsc": round(float(dsc.mean()), 5),
        "nsd": round(float(nsd.mean()), 5),
        "dsc_to_exact": round(float(alike.mean()), 5) if len(alike) else None,
    }
    if len(rows) > 1:
        changes = (np.array(rows) - np.array(exact))[:, :2]
        errors = changes.std(axis=0, ddof=1) / np.sqrt(len(rows))
        found |= {"dsc_error": round(float(errors[0]), 5), "nsd_error": round(float(errors[1]), 5)}
    return found


def table(view: str, rows: dict[str, Any]) -> list[str]:
    """Return the lines of one field: what exact mode reaches, and what each way changes."""
    plain = rows[EXACT]
    lines = [f"\n{view}: exact, {plain['windows']} windows"]
    for name, each in plain["classes"].items():
        line = f"  {name}: {each['cases']} cases, DSC {each['dsc']:.3f}, NSD {each['nsd']:.3f}"
        if "default" in rows:
            errors = rows["default"]["classes"][name]
            line += "; default " + " / ".join(
                f"{points:+.2f} +- {100 * errors.get(error, np.nan):.2f}"
                for points, error in zip(
                    change(rows, "default", name), ("dsc_error", "nsd_error"), strict=True
                )
            )
        lines.append(line)
    organs = [name for name in plain["classes"] if name != "tumor"]
    for way, row in rows.items():
        changes = {name: change(rows, way, name) for name in plain["classes"]}
        dsc, nsd = np.mean([changes[name] for name in organs], axis=0)
        least = min(organs, key=lambda name: changes[name][0])
        shown = (row["classes"][name]["dsc_to_exact"] for name in organs)
        alike = np.mean([each for each in shown if each is not None])
        found = row["recall"].get("tumor")
        lines.append(
            f"{plain['windows'] / row['windows']:5.2f} x fewer windows  {way:22} organs {dsc:+.2f} "
            f"/ {nsd:+.2f}, least {least} {changes[least][0]:+.2f}, DSC to exact {alike:.4f} "
            f"({100 * row['unlike_exact']:.4f} % of voxels differ)"
            + (f", tumor {changes['tumor'][0]:+.2f}" if "tumor" in changes else "")
            + (f", its recall {found['mean']:.4f}, least {found['least']:.3f}" if found else "")
        )
    return lines


def change(rows: dict[str, Any], way: str, name: str) -> tuple[float, float]:
    """Return by how many points of DSC and NSD a way differs from exact mode in a class."""
    one, exact = (rows[each]["classes"][name] for each in (way, EXACT))
    return 100 * (one["dsc"] - exact["dsc"]), 100 * (one["nsd"] - exact["nsd"])


if __name__ == "__main__":
    sys.exit(main())
