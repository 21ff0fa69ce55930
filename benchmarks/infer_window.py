"""Time one window of a net by each backend, and what a cache of converted networks would save.

``python benchmarks/infer_window.py`` runs Swift (3.15 M parameters, windows of 32 x 128 x 192) with
random weights on one thread, each backend in a process of its own. It prints processor seconds of
the quickest of a few windows, so that other work on the machine counts little, and how far logits
are from those of exact mode, as root mean square and at most; then what as many multiplications
take as one product of matrices, which is about as fast as the processor can. Last a network is
built, compiled, written down and read back by OpenVINO. ``benchmarks/results/infer_window.json``
keeps the figures.
"""

from __future__ import annotations

import os

# Before numpy loads its BLAS; OpenVINO and torch go by it as well.
os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from infer_cold import make_inputs
from machine import describe_machine

SIDE = 4096
RESULTS = Path(__file__).parent / "results" / "infer_window.json"
# The mode, the backend and the precision of each way; the first is what all are held against.
WAYS = {
    "exact: torch": ("exact", "torch", "float32"),
    "fast: torch, channels innermost": ("fast", "torch", "float32"),
    "fast: OpenVINO": ("fast", "openvino", "float32"),
    "fast: OpenVINO, bfloat16": ("fast", "openvino", "bfloat16"),
    "fast: OpenVINO, int8": ("fast", "openvino", "int8"),
}


def run_way(folder: Path, name: str, repeats: int) -> None:
    """Be the process of one backend: write logits and seconds."""
    from flare_infer.predictor import Predictor

    mode, backend, precision = WAYS[name]
    if precision == "int8":
        from flare_infer.calibrate import calibrate

        calibrate(folder / "model", [folder / "scan.nii.gz"])
    predictor = Predictor.load(
        folder / "model", device="cpu", backend=backend, precision=precision, mode=mode
    )
    patch = predictor.model.spec.windows.patch
    window = np.random.default_rng(0).normal(size=(1, 1, *patch)).astype(np.float32)
    ((net,),) = predictor.nets.by_layer(mode)
    seconds = [cpu_seconds(lambda: net(window)) for _ in range(repeats + 1)]
    np.save(folder / "logits.npy", net(window))
    (folder / "seconds.json").write_text(json.dumps(seconds[1:]), encoding="utf-8")


def run_cache(folder: Path) -> None:
    """Be the process that compiles a network, writes it down and reads it back."""
    from flare_infer.backends.openvino import CORE
    from flare_infer.backends.openvino_graph import build_graph
    from flare_infer.model import read_model
    from flare_infer.weights_file import read_members

    model = read_model(folder / "model")
    (tensors,) = read_members(model.weights_file, 1)
    core, made = CORE, {}
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1}

    def convert() -> None:
        graph = build_graph(model.spec.net, tensors, model.spec.windows.patch)
        made["net"] = core.compile_model(graph, "CPU", settings)

    def read() -> None:
        core.import_model((folder / "net.blob").read_bytes(), "CPU", settings)

    seconds = {"convert_s": min(cpu_seconds(convert) for _ in range(5))}
    (folder / "net.blob").write_bytes(made["net"].export_model().getvalue())
    seconds["read_s"] = min(cpu_seconds(read) for _ in range(5))
    seconds["file_mib"] = (folder / "net.blob").stat().st_size / 2**20
    (folder / "seconds.json").write_text(json.dumps(seconds), encoding="utf-8")


def run_product(folder: Path) -> None:
    """Be the process that multiplies matrices: seconds of a window's arithmetic by type."""
    import torch

    from flare_infer.model import read_model
    from flare_nets.cost import count_cost

    spec = read_model(folder / "model").spec
    macs = count_cost(spec.net, spec.windows.patch).macs
    seconds = {}
    for name in ("float32", "bfloat16"):
        a, b = torch.randn(2, SIDE, SIDE).to(getattr(torch, name))
        least = min(cpu_seconds(lambda a=a, b=b: torch.mm(a, b)) for _ in range(4))
        seconds[name] = least * macs / SIDE**3
    (folder / "seconds.json").write_text(json.dumps({"gmacs": macs / 1e9, **seconds}))


def cpu_seconds(work: Callable[[], Any]) -> float:
    before = time.process_time()
    work()
    return time.process_time() - before


def side(name: str, folder: Path, repeats: int) -> Any:
    """Run one part in a fresh process and return what it wrote."""
    command = [sys.executable, __file__, "--side", name, "--repeats", str(repeats), str(folder)]
    subprocess.run(command, check=True)
    return json.loads((folder / "seconds.json").read_text(encoding="utf-8"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--side", choices=(*WAYS, "cache", "product"), help=argparse.SUPPRESS)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    if arguments.side == "cache":
        run_cache(arguments.folder)
        return 0
    if arguments.side == "product":
        run_product(arguments.folder)
        return 0
    if arguments.side:
        run_way(arguments.folder, arguments.side, arguments.repeats)
        return 0
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        make_inputs(folder)
        reference = None
        for name in WAYS:
            least = min(side(name, folder, arguments.repeats))
            logits = np.load(folder / "logits.npy")
            reference = logits if reference is None else reference
            difference = np.abs(logits - reference)
            typical = float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))
            ratio = (rows[0]["cpu_s"] if rows else least) / least
            row = {
                "way": name,
                "ratio": round(ratio, 2),
                "cpu_s": round(least, 3),
                "typical_difference": typical,
                "largest_difference": float(difference.max()),
                "typical_logit": float(np.sqrt(np.mean(np.square(reference, dtype=np.float64)))),
                "largest_logit": float(np.abs(reference).max()),
            }
            rows.append(row)
            far = f"{typical:.1e}, at most {difference.max():.1e}"
            print(f"{ratio:5.2f} x {least:6.2f} s  {name}, logits differ by {far}", flush=True)
        product = {key: round(value, 3) for key, value in side("product", folder, 1).items()}
        cache = {key: round(value, 3) for key, value in side("cache", folder, 1).items()}
    print(
        f"{product['gmacs']:.0f} G multiply-accumulates as a product of matrices: "
        f"{product['float32']:.2f} s in float32, {product['bfloat16']:.2f} s in bfloat16"
    )
    print(
        f"converting takes {cache['convert_s']:.3f} s, reading a converted network back "
        f"{cache['read_s']:.3f} s"
    )
    machine = describe_machine("flare-infer", "numpy", "torch", "openvino")
    record = {"machine": machine, "rows": rows, "product_s": product, "cache": cache}
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
