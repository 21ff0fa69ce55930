"""Let nnU-Net itself load models that flare-train exported, and compare what both predict.

``python benchmarks/parity/export.py --peer PEER_PYTHON [--ct FILE ...]`` writes model folders with
random weights, exports them, lets nnU-Net load and predict, and prints a table. Exits with 1 when a
label map differs or weights cannot be taken for fine-tuning. The peer's interpreter needs nnunetv2
only.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from exactness import ExactnessCase, real_cts, synthetic_ct

from flare_infer.model import write_model
from flare_infer.nnunet import import_nnunet
from flare_infer.predictor import Predictor
from flare_infer.spec import ModelSpec
from flare_infer.windows import WindowPlan
from flare_io.files import read_label_map, read_volume, write_volume
from flare_io.geometry import Geometry
from flare_io.intensity import Intensity
from flare_io.labels import label_table
from flare_io.preprocessing import Preprocessing
from flare_io.volume import Volume
from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_train.export_nnunet import export_nnunet

HERE = Path(__file__).parent
RESULT = HERE.parent / "results" / "export.json"
CT = Intensity(scheme="ct", mean=60.0, std=130.0, low=-250.0, high=380.0)
GRID = Preprocessing(spacing_mm=(2.5, 1.5, 1.5), intensities=(CT,), crop="none")
LABELS = label_table("flare23")
NET = NetConfig(
    architecture="plain",
    in_channels=1,
    out_channels=4,
    features=(8, 16, 32),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    convs=(2, 2, 2),
    decoder_convs=(2, 2),
)
LEAN = dataclasses.replace(NET, up_bias=False, head_bias=False)


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportCase:
    """One model, and how nnU-Net is asked."""

    spec: ModelSpec
    members: int = 1
    tta: bool = False
    file: Path | None = None


def model(net: NetConfig, labels: Sequence[int], **changes: Any) -> ModelSpec:
    """Return a small model that writes some labels."""
    spec: dict[str, Any] = {
        "name": "small",
        "net": net,
        "labels": LABELS.subset(labels),
        "preprocessing": GRID,
        "windows": WindowPlan(patch=(16, 32, 32)),
    }
    return ModelSpec(**{**spec, **changes})


def cases(cts: Sequence[Path]) -> dict[str, ExportCase]:
    """Return every form that a model of the recipes can have."""
    mirrored = WindowPlan(patch=(16, 32, 32), mirror_axes=(0, 1, 2))
    two = dataclasses.replace(GRID, intensities=(CT, Intensity(scheme="zscore")))
    anisotropic = dataclasses.replace(GRID, spacing_mm=(6.0, 1.5, 1.5))
    apart = dataclasses.replace(anisotropic, anisotropy_threshold=5.0)
    never = dataclasses.replace(anisotropic, anisotropy_threshold=float("inf"))
    turned = dataclasses.replace(GRID, transpose=(1, 0, 2))
    few = (1, 2, 3)
    found = {
        "plain": model(NET, few),
        "without bias in up and heads": model(LEAN, few),
        "without any bias": model(dataclasses.replace(LEAN, conv_bias=False), few),
        "heads for inference only": model(dataclasses.replace(LEAN, deep_supervision=False), few),
        "decoder kernels of v1": model(
            dataclasses.replace(LEAN, decoder_kernels=LEAN.kernels[1:]), few
        ),
        "gaps between labels": model(LEAN, (1, 3, 14)),
        "no background channel": model(
            dataclasses.replace(LEAN, out_channels=3), (1, 2, 14), background="threshold"
        ),
        "regions": model(dataclasses.replace(NET, out_channels=3), (1, 3, 14), regions=(14, 1, 3)),
        "one region": model(dataclasses.replace(NET, out_channels=1), (14,), regions=(14,)),
        "residual encoder": model(dataclasses.replace(NET, architecture="residual"), few),
        "batch norm": model(dataclasses.replace(NET, norm="batch"), few),
        "two channels": model(dataclasses.replace(NET, in_channels=2), few, preprocessing=two),
        "thick model": model(NET, few, preprocessing=anisotropic),
        "own anisotropy": model(NET, few, preprocessing=apart),
        "no axis apart": model(NET, few, preprocessing=never),
        "turned axes": model(NET, few, preprocessing=turned),
    }
    listed = {name: ExportCase(spec=spec) for name, spec in found.items()}
    listed["three members, mirrored"] = ExportCase(
        spec=model(dataclasses.replace(LEAN, out_channels=3), (1, 14), windows=mirrored),
        members=3,
        tta=True,
    )
    for path in cts:
        coarse = dataclasses.replace(GRID, spacing_mm=(5.0, 3.0, 3.0), axes="as_stored")
        listed[f"real {path.name.split('.')[0]}"] = ExportCase(
            spec=model(LEAN, (1, 3, 14), preprocessing=coarse), file=path
        )
    return listed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cases and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, help="interpreter that has nnunetv2")
    parser.add_argument("--ct", nargs="*", type=Path, default=real_cts(), help="real CT as well")
    parser.add_argument("--only", help="part of a case's name")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    chosen = {n: c for n, c in cases(options.ct).items() if (options.only or "") in n}
    with tempfile.TemporaryDirectory() as place:
        folders = {name: Path(place) / f"case{k:02d}" for k, name in enumerate(chosen)}
        for seed, (name, case) in enumerate(chosen.items()):
            write_case(folders[name], case, seed=seed)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            environment[variable] = place
        script = [options.peer, str(HERE / "export_nnunet.py"), place]
        subprocess.run(script, check=True, env=environment, stdout=subprocess.DEVNULL)
        rows = [compare(name, folders[name], case) for name, case in chosen.items()]
    report(rows)
    return int(any(row["differing"] or not row["fine_tunes"] for row in rows))


def write_case(folder: Path, case: ExportCase, *, seed: int) -> None:
    """Write model folder, nnU-Net's folder, images and settings."""
    folder.mkdir(parents=True)
    members = []
    for member in range(case.members):
        torch.manual_seed(100 * seed + member)
        net = build_net(case.spec.net)
        with torch.no_grad():
            for name, tensor in net.named_parameters():
                if name.startswith("heads."):
                    # Random heads leave one class everywhere; spread them so that all occur.
                    tensor.normal_(0, 2.0 if name.endswith("weight") else 0.3)
        members.append(net.state_dict())
    write_model(folder / "model", case.spec, members)
    exported = export_nnunet(folder / "model", folder / "results", dataset="Dataset712_FLARE")
    names = []
    for channel in range(case.spec.net.in_channels):
        names.append(f"case_{channel:04d}.nii.gz")
        if case.file is None:
            array = synthetic_ct(ExactnessCase(), seed=10 * seed + channel)
            volume = Volume(array, Geometry((2.0, 1.0, 1.0), origin=(-20.0, 15.0, 30.0)))
        else:
            volume = read_volume(case.file)
        write_volume(volume, folder / names[-1])
    settings = {
        "images": names,
        "model": str(exported.folder),
        "folds": list(exported.folds),
        "tta": case.tta,
    }
    (folder / "case.json").write_text(json.dumps(settings))


def compare(name: str, folder: Path, case: ExportCase) -> dict[str, Any]:
    """Predict with the model and with what comes back from its export; count what differs."""
    settings = json.loads((folder / "case.json").read_text())
    peers = json.loads((folder / "peer.json").read_text())
    expected = read_label_map(folder / "expected.nii.gz").array
    images = [folder / image for image in settings["images"]]
    ours = Predictor.load(folder / "model", device="cpu")
    labels = ours.predict(images, mode="exact", tta=case.tta).array
    import_nnunet(settings["model"], folder / "back")
    back = Predictor.load(folder / "back", device="cpu")
    returned = back.predict(images, mode="exact", tta=case.tta).array
    return {
        "case": name,
        "voxels": int(expected.size),
        "labels": np.unique(expected).tolist(),
        "differing": int((labels != expected).sum()),
        "differing_returned": int((returned != expected).sum()),
        "fine_tunes": bool(peers["fine_tunes"]),
    }


def report(rows: list[dict[str, Any]]) -> None:
    """Print the table and keep it as JSON."""
    sys.path.insert(0, str(HERE.parent))
    from machine import describe_machine

    print("| model | voxels | labels | differs in | imported again, in | fine-tunes |")
    print("|---|---|---|---|---|---|")
    for row in rows:
        labels = ", ".join(map(str, row["labels"]))
        print(
            f"| {row['case']} | {row['voxels']} | {labels} | {row['differing']} | "
            f"{row['differing_returned']} | {'yes' if row['fine_tunes'] else 'NO'} |"
        )
    equal = sum(not row["differing"] for row in rows)
    print(f"\nequal in {equal} of {len(rows)} models")
    machine = describe_machine("torch", "numpy", "flare-train")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
