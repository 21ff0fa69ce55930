"""Peer side: run nnU-Net's own preprocessor over the cases that ``preprocessing.py`` wrote.

Runs in an environment that holds nnunetv2 and nothing of this project:
``python preprocessing_nnunet.py CASES.npz RESULTS.npz``.
"""

import json
import sys
from importlib.metadata import version

import numpy as np
from nnunetv2.preprocessing.preprocessors.default_preprocessor import DefaultPreprocessor
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager

SCHEMES = {
    "ct": "CTNormalization",
    "zscore": "ZScoreNormalization",
    "rescale": "RescaleTo01Normalization",
    "rgb": "RGBTo01Normalization",
    "none": "NoNormalization",
}


def plans(settings, image_ndim):
    """Return the plans and dataset.json that say the same as one of our `Preprocessing`."""
    channels = settings["intensities"]
    ct = [
        {
            "mean": each.get("mean", 0.0),
            "std": each.get("std", 1.0),
            "percentile_00_5": each.get("low", 0.0),
            "percentile_99_5": each.get("high", 1.0),
        }
        for each in channels
    ]

    def resampling(order, order_z, is_label):
        return {
            "is_seg": is_label,
            "order": order,
            "order_z": order_z,
            "force_separate_z": None,
        }

    configuration = {
        "spacing": settings["spacing_mm"],
        "patch_size": [32] * image_ndim,
        "normalization_schemes": [SCHEMES[each["scheme"]] for each in channels],
        "use_mask_for_norm": [bool(each.get("within_mask", False)) for each in channels],
        "resampling_fn_data": "resample_data_or_seg_to_shape",
        "resampling_fn_data_kwargs": resampling(
            settings["image_order"], settings["image_order_z"], False
        ),
        "resampling_fn_seg": "resample_data_or_seg_to_shape",
        "resampling_fn_seg_kwargs": resampling(1, 0, True),
        "preprocessor_name": "DefaultPreprocessor",
        # Never built; without it the plans count as an old format.
        "architecture": {"network_class_name": "", "arch_kwargs": {}, "_kw_requires_import": []},
    }
    return {
        "dataset_name": "Dataset001_parity",
        "plans_name": "parity",
        "transpose_forward": settings["transpose"],
        "transpose_backward": [int(k) for k in np.argsort(settings["transpose"])],
        "label_manager": "LabelManager",
        "image_reader_writer": "SimpleITKIO",
        "foreground_intensity_properties_per_channel": {str(i): each for i, each in enumerate(ct)},
        "configurations": {"parity": configuration},
    }


def main(cases_path, results_path):
    cases = np.load(cases_path)
    results = {"version": np.array(version("nnunetv2"))}
    for name in json.loads(str(cases["names"])):
        settings = json.loads(str(cases[f"{name}.settings"]))
        manager = PlansManager(plans(settings, 3))
        labels = cases.get(f"{name}.labels")
        dataset = {"labels": {"background": 0, **{f"class {k}": k for k in range(1, 7)}}}
        data, seg, properties = DefaultPreprocessor(verbose=False).run_case_npy(
            cases[f"{name}.image"],
            # Its readers hand over label maps as float32 too.
            None if labels is None else labels[None].astype(np.float32),
            {"spacing": cases[f"{name}.spacing_mm"].tolist()},
            manager,
            manager.get_configuration("parity"),
            dataset,
        )
        results[f"{name}.array"] = data
        results[f"{name}.labels"] = seg[0]
        results[f"{name}.box"] = np.array(properties["bbox_used_for_cropping"])
    np.savez(results_path, **results)


if __name__ == "__main__":
    main(*sys.argv[1:])
