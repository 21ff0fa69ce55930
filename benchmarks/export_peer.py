"""The peer's half of `export.py`: nnU-Net's export, called as its predictor calls it.

Runs in an environment that holds nnunetv2 and nothing of ours: ``python export_peer.py RESAMPLING
DIR``, where DIR holds ``logits.npy`` and ``case.json``; writes ``labels.npy`` and ``record.json``.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.export_prediction import (
    convert_predicted_logits_to_segmentation_with_correct_shape,
)
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager
from resident import forget_peak, resident_mib


def plans(case: dict, resampling: str) -> dict:
    """Return what of a plans file the export reads."""
    if resampling == "resample_torch_fornnunet":
        kwargs = {"is_seg": False, "force_separate_z": False, "memefficient_seg_resampling": False}
    else:
        kwargs = {"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
    configuration = {
        "spacing": case["model_spacing_mm"],
        "resampling_fn_probabilities": resampling,
        "resampling_fn_probabilities_kwargs": kwargs,
        # Not read here, but without it the plans count as those of an old version.
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    return {
        "dataset_name": "Dataset001_Export",
        "plans_name": "nnUNetPlans",
        "transpose_forward": [0, 1, 2],
        "transpose_backward": [0, 1, 2],
        "label_manager": "LabelManager",
        "configurations": {"3d_fullres": configuration},
    }


def main() -> None:
    """Turn logits into labels and write down what it took."""
    torch.set_num_threads(1)
    resampling, folder = sys.argv[1], Path(sys.argv[2])
    case = json.loads((folder / "case.json").read_text(encoding="utf-8"))
    manager = PlansManager(plans(case, resampling))
    names = {"background": 0, **{f"class {k}": k for k in range(1, case["classes"])}}
    labels = manager.get_label_manager({"labels": names, "channel_names": {"0": "CT"}})
    depth, height, width = case["source_shape"]
    properties = {
        "spacing": case["spacing_mm"],
        "shape_after_cropping_and_before_resampling": tuple(case["cropped_shape"]),
        "shape_before_cropping": (depth, height, width),
        "bbox_used_for_cropping": [[1, depth - 1], [0, height], [0, width]],
    }
    logits = torch.from_numpy(np.load(folder / "logits.npy"))
    configuration = manager.get_configuration("3d_fullres")
    forget_peak()
    before = resident_mib("VmRSS")
    start, processor = time.perf_counter(), time.process_time()
    result = convert_predicted_logits_to_segmentation_with_correct_shape(
        logits, manager, configuration, labels, properties, num_threads_torch=1
    )
    record = {"wall_s": time.perf_counter() - start, "cpu_s": time.process_time() - processor}
    record["extra_mib"] = resident_mib("VmHWM") - before
    np.save(folder / "labels.npy", result)
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")


if __name__ == "__main__":
    main()
