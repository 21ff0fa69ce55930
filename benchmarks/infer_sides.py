"""Models, scans and commands of `infer.py`: what each side is given and how it is started."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from flare_io.files import read_volume, write_volume
from flare_io.geometry import Geometry
from flare_io.volume import Volume, to_canonical

HERE = Path(__file__).parent
NNUNET_SCRIPT = HERE / "infer_nnunet.py"
MONAI_SCRIPT = HERE / "infer_monai.py"
DATASET = "Dataset600_Bench"
SPACING_MM = (2.5, 0.8, 0.8)
# The most quiet run that the command line of flare-infer has.
_OURS = [sys.executable, "-c", "import sys; from flare_infer.cli import main; sys.exit(main())"]
_FLOAT32 = ("--backend", "openvino", "--precision", "float32")
_BFLOAT16 = ("--backend", "openvino", "--precision", "bfloat16")
_INT8 = ("--precision", "int8")
_ALL_WINDOWS = ["--set", "body=off", "--set", "constant=off"]


@dataclass(frozen=True, kw_only=True)
class Side:
    """One row of the table.

    Parameters
    ----------
    peer : {"nnunet", "monai"}, optional
        Whose environment it needs; None for ours.
    options : tuple of str
        What it is started with beside model, input and output.
    model : str
        Of ours: Swift in ``model``, or S4's student.
    """

    peer: str | None = None
    options: tuple[str, ...] = ()
    model: str = "model"

    def command(self, state: Path, scan: Path, labels: Path, pythons: dict[str, str]) -> list[str]:
        """Return the command that turns a scan into labels, file to file."""
        if self.peer is None:
            model = ["-m", str(state / self.model), "-i", str(scan), "-o", str(labels)]
            return [*_OURS, "run", *model, "--device", "cpu", *self.options]
        script = NNUNET_SCRIPT if self.peer == "nnunet" else MONAI_SCRIPT
        return [
            pythons[self.peer], str(script), str(state), str(scan), str(labels), *self.options,
        ]  # fmt: skip


SIDES = {
    "nnU-Net, default": Side(peer="nnunet", options=("default",)),
    "nnU-Net, torch resampling": Side(peer="nnunet", options=("torch",)),
    "MONAI": Side(peer="monai"),
    "exact": Side(options=("--mode", "exact")),
    "fast, same windows, torch": Side(
        options=("--mode", "fast", "--backend", "torch", *_ALL_WINDOWS)
    ),
    "fast, same windows, fp32": Side(options=("--mode", "fast", *_FLOAT32, *_ALL_WINDOWS)),
    "fast, same windows, bf16": Side(options=("--mode", "fast", *_BFLOAT16, *_ALL_WINDOWS)),
    "fast, same windows, int8": Side(options=("--mode", "fast", *_INT8, *_ALL_WINDOWS)),
    "fast": Side(options=("--mode", "fast")),
    "fast, int8": Side(options=("--mode", "fast", *_INT8)),
}
STUDENT_SIDES = {
    f"student, {mode}": Side(options=("--mode", mode), model="student")
    for mode in ("exact", "fast")
}
COMPARED = ("abdomen_ct", "torso_ct", "phantom 100")
LENGTHS = {f"stress {n}": k for k, n in enumerate((55, 100, 150, 200, 250, 334, 440, 554))}
TINY = "tiny"


def write_models(state: Path) -> None:
    """Write Swift with random weights as a model folder, for nnU-Net, and as tensors for MONAI.

    S4's student is written as a model folder alone. Swift is calibrated on the shortest phantom.
    """
    import torch

    from flare_infer.calibrate import calibrate
    from flare_train.export_nnunet import export_nnunet

    write_random_model(
        state / "student", "s4-student", (4.0, 1.2, 1.2), layout="flare22", order="decide-resample"
    )
    spec, state_dict = write_random_model(state / "model", "swift", (3.0, 1.5, 1.5))
    calibrate(state / "model", [draw_stress(0)])
    torch.save(state_dict, state / "weights.pt")
    (state / "net.json").write_text(json.dumps(spec.to_dict()), encoding="utf-8")
    folder = export_nnunet(state / "model", state / "nnunet", dataset=DATASET).folder
    plans = json.loads((folder / "plans.json").read_text(encoding="utf-8"))
    (folder / "plans_default.json").write_text(json.dumps(plans), encoding="utf-8")
    configuration = plans["configurations"]["3d_fullres"]
    for kind in ("data", "seg", "probabilities"):
        configuration[f"resampling_fn_{kind}"] = "resample_torch_fornnunet"
        configuration[f"resampling_fn_{kind}_kwargs"] = {
            "is_seg": kind == "seg",
            "force_separate_z": False,
            "memefficient_seg_resampling": False,
        }
    (folder / "plans_torch.json").write_text(json.dumps(plans), encoding="utf-8")


def write_random_model(
    folder: Path,
    name: str,
    spacing_mm: tuple[float, float, float],
    *,
    layout: Any = "grid",
    order: Any = "resample-decide",
) -> tuple[Any, Any]:
    """Write a preset with random weights; returns its description and its tensors."""
    import torch

    from flare_infer.model import ModelSpec, write_model
    from flare_infer.windows import WindowPlan
    from flare_io.intensity import Intensity
    from flare_io.labels import LabelTable, label_table
    from flare_io.preprocessing import Preprocessing
    from flare_nets import build_net, preset

    torch.manual_seed(0)
    entry = preset(name)
    ct = Intensity(scheme="ct", mean=80.0, std=140.0, low=-970.0, high=280.0)
    classes = label_table("flare23").classes[: entry.config.out_channels - 1]
    spec = ModelSpec(
        name=name,
        net=entry.config,
        labels=LabelTable(name, classes),
        preprocessing=Preprocessing(spacing_mm=spacing_mm, intensities=(ct,)),
        windows=WindowPlan(patch=entry.patch, layout=layout),
        order=order,
    )
    # Random heads leave one class everywhere; spread they give all of them, in small pieces.
    state_dict = {
        key: tensor * (4 if key.startswith("heads") else 1)
        for key, tensor in build_net(entry.config).state_dict().items()
    }
    write_model(folder, spec, [state_dict])
    return spec, state_dict


def write_scan(name: str, path: Path, data: Path) -> None:
    """Write a scan by name: real CT on a usual grid, a phantom, or a tiny one."""
    from flare_io.resample import resample_image, target_shape

    if name == TINY:
        array = np.random.default_rng(0).normal(60, 120, (40, 130, 200)).astype(np.int16)
        volume = Volume(array, Geometry((3.0, 1.5, 1.5)))
    elif name.startswith(("phantom", "stress")):
        index = LENGTHS[name.replace("phantom", "stress")]
        volume = draw_stress(index)
    else:
        source, _ = to_canonical(read_volume(data / f"{name}.nii.gz"))
        shape = target_shape(source.shape, source.geometry.spacing_mm, SPACING_MM)
        array = resample_image(np.maximum(source.array, -1024).astype(np.float32), shape, order=1)
        grid = Geometry(SPACING_MM, source.geometry.origin)
        volume = Volume(np.rint(array).astype(np.int16), grid)
    write_volume(volume, path)


def draw_stress(index: int) -> Volume:
    """Return the CT of a phantom of 512 x 512 voxels; see `LENGTHS`."""
    from flare_io.phantom import draw_phantom

    return draw_phantom(seed=1, index=index, preset="stress").image


def scan_description(path: Path) -> dict[str, Any]:
    """Return shape and spacing of a scan."""
    from flare_io.files import read_header

    header = read_header(path)
    return {"shape": list(header.shape), "spacing_mm": list(header.geometry.spacing_mm)}
