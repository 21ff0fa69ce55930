"""Hold flare-infer's exact mode against nnU-Net's own predictor, voxel for voxel.

``python benchmarks/parity/exactness.py --peer PEER_PYTHON [--ct FILE ...]`` writes plans and
images, lets nnU-Net make random checkpoints and predict with them, imports the same folders, and
prints a table. Exits with 1 when a label map differs. The peer's interpreter needs nnunetv2 only.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io.files import read_label_map, read_volume, write_volume
from flare_io.geometry import AxisOrder, Geometry
from flare_io.volume import Volume

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))
RESULT = HERE.parent / "results" / "exactness.json"
Size = tuple[int, int, int]
PLAIN = {"background": 0, "liver": 1, "spleen": 2, "tumor": 3}
REGIONS = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "rim": 3}


@dataclass(frozen=True, kw_only=True)
class ExactnessCase:
    """One model and one image."""

    shape: Size = (40, 70, 60)
    spacing_mm: tuple[float, float, float] = (2.0, 1.0, 1.0)
    model_spacing_mm: tuple[float, float, float] = (2.5, 1.5, 1.5)
    patch: Size = (16, 32, 32)
    labels: dict[str, Any] = field(default_factory=lambda: dict(PLAIN))
    normalization: tuple[str, ...] = ("CTNormalization",)
    folds: int = 1
    tta: bool = False
    transpose: tuple[int, int, int] = (0, 1, 2)
    flips: tuple[bool, bool, bool] = (False, False, False)
    zero_border: bool = False
    residual: bool = False
    old_plans: bool = False
    file: Path | None = None


CASES = {
    "isotropic": ExactnessCase(spacing_mm=(1.3, 1.3, 1.3), model_spacing_mm=(2.0, 2.0, 2.0)),
    "finer grid": ExactnessCase(shape=(20, 40, 40), model_spacing_mm=(1.5, 0.8, 0.8)),
    "same grid": ExactnessCase(shape=(30, 50, 44), model_spacing_mm=(2.0, 1.0, 1.0)),
    "thick slices": ExactnessCase(
        shape=(14, 80, 72), spacing_mm=(5.0, 0.8, 0.8), model_spacing_mm=(2.5, 1.2, 1.2)
    ),
    "thick model": ExactnessCase(spacing_mm=(2.0, 1.1, 1.1), model_spacing_mm=(6.0, 1.5, 1.5)),
    "smaller than patch": ExactnessCase(shape=(9, 31, 25), patch=(16, 48, 48)),
    "nonzero crop": ExactnessCase(zero_border=True),
    "transposed": ExactnessCase(transpose=(1, 0, 2)),
    "flipped axes": ExactnessCase(flips=(False, True, True)),
    "two folds": ExactnessCase(folds=2),
    "regions": ExactnessCase(labels=dict(REGIONS)),
    "mirroring": ExactnessCase(shape=(24, 50, 40), tta=True),
    "mirroring, regions, folds": ExactnessCase(
        shape=(24, 40, 40), tta=True, folds=2, labels=dict(REGIONS)
    ),
    "residual encoder": ExactnessCase(residual=True),
    "two channels": ExactnessCase(normalization=("CTNormalization", "ZScoreNormalization")),
    "plans of 2.0": ExactnessCase(old_plans=True),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all cases and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", required=True, help="interpreter that has nnunetv2")
    parser.add_argument("--ct", nargs="*", type=Path, default=real_cts(), help="real CT as well")
    parser.add_argument("--only", help="part of a case's name")
    options = parser.parse_args(arguments)
    cases = dict(CASES)
    for path in options.ct:
        name = path.name.split(".")[0]
        cases[f"real {name}"] = ExactnessCase(
            file=path, model_spacing_mm=(5.0, 3.0, 3.0), patch=(16, 64, 64)
        )
    cases = {name: case for name, case in cases.items() if (options.only or "") in name}
    with tempfile.TemporaryDirectory() as folder:
        for number, (name, case) in enumerate(cases.items()):
            write_case(Path(folder) / name, case, seed=number)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
            environment.setdefault(variable, folder)
        subprocess.run(
            [options.peer, str(HERE / "exactness_nnunet.py"), folder],
            check=True,
            env=environment,
            stdout=subprocess.DEVNULL,
        )
        rows = [compare(Path(folder) / name, case) for name, case in cases.items()]
    report(rows)
    return int(any(row["differing"] for row in rows))


def real_cts() -> list[Path]:
    """Return the CT beside the checkout, if it is there."""
    path = HERE.parents[2] / "shared" / "data" / "torso_ct.nii.gz"
    return [path] if path.exists() else []


def write_case(folder: Path, case: ExactnessCase, *, seed: int) -> None:
    """Write plans, dataset description, settings and images."""
    (folder / "model").mkdir(parents=True)
    channels = len(case.normalization)
    dataset = {
        "channel_names": {str(k): f"channel {k}" for k in range(channels)},
        "labels": case.labels,
        "file_ending": ".nii.gz",
        "numTraining": 1,
    }
    if case.labels == REGIONS:
        dataset["regions_class_order"] = [1, 2, 3]
    (folder / "model" / "dataset.json").write_text(json.dumps(dataset))
    (folder / "model" / "plans.json").write_text(json.dumps(plans(case)))
    names = []
    for channel in range(channels):
        names.append(f"case_{channel:04d}.nii.gz")
        if case.file is None:
            volume = Volume(
                synthetic_ct(case, seed=10 * seed + channel),
                Geometry(case.spacing_mm, origin=(-20.0, 15.0, 30.0)),
            ).reordered(AxisOrder((0, 1, 2), case.flips))
        else:
            volume = read_volume(case.file)
        write_volume(volume, folder / names[-1])
    settings = {
        "images": names,
        "folds": case.folds,
        "tta": case.tta,
        "mirror_axes": [0, 1, 2],
        "seed": seed,
    }
    (folder / "case.json").write_text(json.dumps(settings))


def synthetic_ct(case: ExactnessCase, *, seed: int) -> NDArray[np.int16]:
    """Return smooth structures with noise, in HU."""
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng(seed)
    smooth = gaussian_filter(rng.normal(size=case.shape), 3.0)
    hu = 60 + 120 * smooth / smooth.std() + rng.normal(0, 15, case.shape)
    array = np.clip(np.rint(hu), -1000, 1500).astype(np.int16)
    array[array == 0] = 1
    if case.zero_border:
        array[:5] = 0
        array[:, :, -9:] = 0
        array[:, :6] = 0
    return array


def plans(case: ExactnessCase) -> dict[str, Any]:
    """Return an nnU-Net v2 plans file for a small net."""
    statistics = {"mean": 60.0, "std": 130.0, "percentile_00_5": -250.0, "percentile_99_5": 380.0}
    extra = {"median": 60.0, "min": -900.0, "max": 900.0}
    resampling = {
        f"resampling_fn_{kind}": "resample_data_or_seg_to_shape"
        for kind in ("data", "seg", "probabilities")
    }
    for kind, order in (("data", 3), ("seg", 1), ("probabilities", 1)):
        resampling[f"resampling_fn_{kind}_kwargs"] = {
            "is_seg": kind == "seg",
            "order": order,
            "order_z": 0,
            "force_separate_z": None,
        }
    count = len(case.normalization)
    configuration = {
        "data_identifier": "test",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": 2,
        "patch_size": list(case.patch),
        "median_image_size_in_voxels": list(case.shape),
        "spacing": list(case.model_spacing_mm),
        "normalization_schemes": list(case.normalization),
        "use_mask_for_norm": [False] * count,
        "batch_dice": True,
        **resampling,
        **(old_architecture() if case.old_plans else architecture(residual=case.residual)),
    }
    transpose = list(case.transpose)
    return {
        "dataset_name": "Dataset001_Parity",
        "plans_name": "nnUNetPlans",
        "original_median_spacing_after_transp": list(case.spacing_mm),
        "original_median_shape_after_transp": list(case.shape),
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": transpose,
        "transpose_backward": [int(k) for k in np.argsort(transpose)],
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(k): {**statistics, **extra} for k in range(count)
        },
        "configurations": {"3d_fullres": configuration},
    }


def architecture(*, residual: bool) -> dict[str, Any]:
    """Return the network of plans since nnU-Net 2.4."""
    kind = "ResidualEncoderUNet" if residual else "PlainConvUNet"
    counts = "n_blocks_per_stage" if residual else "n_conv_per_stage"
    keywords = {
        "n_stages": 3,
        "features_per_stage": [8, 16, 32],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        counts: [1, 2, 2] if residual else [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    return {
        "architecture": {
            "network_class_name": f"dynamic_network_architectures.architectures.unet.{kind}",
            "arch_kwargs": keywords,
            "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
        }
    }


def old_architecture() -> dict[str, Any]:
    """Return the same plain network as plans before nnU-Net 2.4 wrote it."""
    return {
        "UNet_class_name": "PlainConvUNet",
        "UNet_base_num_features": 8,
        "unet_max_num_features": 32,
        "n_conv_per_stage_encoder": [2, 2, 2],
        "n_conv_per_stage_decoder": [2, 2],
        "num_pool_per_axis": [1, 2, 2],
        "pool_op_kernel_sizes": [[1, 1, 1], [1, 2, 2], [2, 2, 2]],
        "conv_kernel_sizes": [[1, 3, 3], [3, 3, 3], [3, 3, 3]],
    }


def compare(folder: Path, case: ExactnessCase) -> dict[str, Any]:
    """Predict with the imported model in both modes and count what differs."""
    import torch
    from margins import margins, network_logits

    from flare_infer.channels import read_channels
    from flare_infer.nnunet import import_nnunet
    from flare_infer.predictor import Predictor
    from flare_io.policy import ReadPolicy

    torch.set_num_threads(1)
    expected = read_label_map(folder / "expected.nii.gz").array
    settings = json.loads((folder / "case.json").read_text())
    import_nnunet(folder / "model", folder / "imported")
    predictor = Predictor.load(folder / "imported", device="cpu", precision="float32")
    images = [folder / name for name in settings["images"]]
    exact = predictor.predict(images, mode="exact", tta=case.tta).array
    fast = predictor.predict(images, mode="fast", tta=case.tta).array
    channels = read_channels(images, None, ReadPolicy())
    logits, preparation = network_logits(predictor, channels, mirror=case.tta)
    near = margins(logits, preparation, predictor.model.spec, fast != expected)
    return {
        "case": folder.name,
        "voxels": int(expected.size),
        "labels": np.unique(expected).tolist(),
        "differing": int((exact != expected).sum()),
        "fast_differing": int((fast != expected).sum()),
        "fast_margin": float(near.max(initial=0.0)),
        "logits_std": float(logits.std()),
    }


def report(rows: list[dict[str, Any]]) -> None:
    """Print the table and keep it as JSON."""
    from machine import describe_machine

    print(
        "| case | voxels | labels | exact mode differs in | fast mode differs in "
        "| largest margin there | standard deviation of logits |"
    )
    print("|---|---|---|---|---|---|---|")
    for row in rows:
        labels = ", ".join(map(str, row["labels"]))
        share = 100 * row["fast_differing"] / row["voxels"]
        verdict = "0 (equal)" if not row["differing"] else str(row["differing"])
        print(
            f"| {row['case']} | {row['voxels']} | {labels} | {verdict} | {share:.3f} % "
            f"| {row['fast_margin']:.4f} | {row['logits_std']:.2f} |"
        )
    equal = sum(not row["differing"] for row in rows)
    print(f"\nequal in {equal} of {len(rows)} cases")
    machine = describe_machine("torch", "numpy", "flare-infer")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(main())
