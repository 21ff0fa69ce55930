"""nnU-Net's side of ``train_step.py``; runs in the peers' interpreter.

``python train_step_peer.py Z,Y,X UPDATES``: nnU-Net's own trainer, its net, loss and optimizer, on
a batch made here. Prints seconds and memory as JSON on the last line.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from resident import resident_mib

CLASSES, BATCH = 15, 2
STRIDES = [[1, 1, 1], [1, 2, 2], [2, 2, 2], [2, 2, 2]]


def trainer(patch: list[int], folder: Path) -> Any:
    """Return nnU-Net's trainer of Swift; its folders are named before nnU-Net is loaded."""
    os.environ |= {f"nnUNet_{name}": str(folder) for name in ("raw", "preprocessed", "results")}
    from nnunetv2.training.nnUNetTrainer.nnUNetTrainer import nnUNetTrainer

    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 4,
            "features_per_stage": [24, 48, 96, 192],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": [[3, 3, 3]] * 4,
            "strides": STRIDES,
            "n_conv_per_stage": [2] * 4,
            "n_conv_per_stage_decoder": [2] * 3,
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }
    configuration = {
        "data_identifier": "data",
        "patch_size": patch,
        "batch_size": BATCH,
        "batch_dice": False,
        "spacing": [3.0, 1.5, 1.5],
        "normalization_schemes": ["CTNormalization"],
        "use_mask_for_norm": [False],
        "preprocessor_name": "DefaultPreprocessor",
        "architecture": architecture,
    }
    plans = {
        "continue_training": False,
        "dataset_name": "Dataset001_Step",
        "plans_name": "plans",
        "configurations": {"3d_fullres": configuration},
        "label_manager": "LabelManager",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
    }
    names = {"background": 0} | {f"class {label}": label for label in range(1, CLASSES)}
    dataset = {"channel_names": {"0": "CT"}, "labels": names, "file_ending": ".nii.gz"}
    # From the files of this folder nnU-Net sees which kind of store it has.
    data = folder / "Dataset001_Step" / "data"
    data.mkdir(parents=True)
    (data / "case.b2nd").touch()
    made = nnUNetTrainer(plans, "3d_fullres", 0, dataset, device=torch.device("cpu"))
    made.initialize()
    return made


def batch_for(patch: list[int], scales: list[list[float]]) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, (BATCH, 1, *[-(-size // 8) for size in patch]))
    full = labels.repeat(8, 2).repeat(8, 3).repeat(8, 4)
    full = torch.from_numpy(full[..., : patch[0], : patch[1], : patch[2]].astype(np.int16))
    targets = []
    for scale in scales:
        size = [round(length * factor) for length, factor in zip(patch, scale, strict=True)]
        small = torch.nn.functional.interpolate(full.float(), size, mode="nearest-exact")
        targets.append(small.to(full.dtype))
    images = rng.normal(size=(BATCH, 1, *patch)).astype(np.float32)
    return {"data": torch.from_numpy(images), "target": targets}


def main() -> int:
    patch, updates = [int(size) for size in sys.argv[1].split(",")], int(sys.argv[2])
    made = trainer(patch, Path(tempfile.mkdtemp()))
    batch = batch_for(patch, made._get_deep_supervision_scales())
    marks: list[tuple[float, float]] = []

    def mark() -> None:
        marks.append((time.perf_counter(), time.process_time()))

    plain_backward = torch.Tensor.backward

    def marked_backward(loss: torch.Tensor, *given: Any, **options: Any) -> None:
        mark()
        plain_backward(loss, *given, **options)
        mark()

    torch.Tensor.backward = marked_backward
    made.network.train()
    parts: dict[str, list[dict[str, float]]] = {"forward": [], "backward": [], "update": []}
    for update in range(updates + 1):
        marks.clear()
        mark()
        made.train_step(batch)
        mark()
        for name, (before, after) in zip(parts, itertools.pairwise(marks), strict=True):
            seconds = {"wall_s": after[0] - before[0], "cpu_s": after[1] - before[1]}
            # The first update, which fills caches, is left out.
            if update:
                parts[name].append(seconds)
    print(json.dumps({"parts": parts, "peak_mib": resident_mib()}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
