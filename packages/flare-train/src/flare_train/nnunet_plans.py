"""A model as nnU-Net v2 describes its own: ``plans.json`` and ``dataset.json``.

What nnU-Net cannot say is named, never dropped.
"""

from __future__ import annotations

import math
from typing import Any

from flare_infer.model import Model
from flare_infer.spec import ModelSpec
from flare_io.intensity import Intensity, Scheme
from flare_nets.config import NetConfig

__all__ = ["CONFIGURATION", "dataset_of_model", "head_rows", "inexpressible", "plans_of_model"]

CONFIGURATION = "3d_fullres"
# Rows of a head that no channel of the model stands for: always 0, and never the largest.
ZERO_ROW, NEVER_ROW = -1, -2

_SCHEMES: dict[Scheme, str] = {
    "ct": "CTNormalization",
    "zscore": "ZScoreNormalization",
    "none": "NoNormalization",
    "rescale": "RescaleTo01Normalization",
    "rgb": "RGBTo01Normalization",
}
_CHANNEL_NAMES: dict[Scheme, str] = {
    "ct": "CT",
    "zscore": "zscore",
    "none": "noNorm",
    "rescale": "rescale_to_0_1",
    "rgb": "rgb_to_0_1",
}
_CLASSES = {"plain": "PlainConvUNet", "residual": "ResidualEncoderUNet"}
_COUNTS = {"plain": "n_conv_per_stage", "residual": "n_blocks_per_stage"}
_NORMS = {
    "instance": "torch.nn.modules.instancenorm.InstanceNorm3d",
    "batch": "torch.nn.modules.batchnorm.BatchNorm3d",
}
# What plans mean where they leave the threshold out.
_USUAL_ANISOTROPY = 3.0


def inexpressible(model: Model) -> list[str]:
    """Return what of a model nnU-Net v2 cannot do, one phrase each; empty if it can all.

    Parameters
    ----------
    model : Model
        Of `flare_infer.read_model`.
    """
    spec = model.spec
    preprocessing = spec.preprocessing
    rules = (
        (not model.overlays, "other models painted over this one"),
        (not spec.overlay, "channels that decide alone beside others that compete"),
        (spec.order == "resample-decide", f"the order {spec.order}"),
        (spec.components is None, "the removal of small components"),
        (preprocessing.spacing_mm is not None, "a grid of each case's own"),
        (preprocessing.normalize_first, "resampling before normalization"),
        (
            getattr(spec.windows, "layout", "grid") == "grid",
            f"windows laid out as {getattr(spec.windows, 'layout', '')}",
        ),
    )
    return [phrase for holds, phrase in rules if not holds]


def head_rows(spec: ModelSpec) -> tuple[int, ...]:
    """Return for each channel of nnU-Net's head the channel of the model's.

    nnU-Net's softmax channel k is label k: where the model has no label of a number, the row is
    `NEVER_ROW`; where background has no channel but a constant 0, `ZERO_ROW`. So labels 1 and 3
    with a channel of background give (0, 1, -2, 2), without one (-1, 0, -2, 1).
    """
    labels = spec.channel_labels
    if spec.regions is not None:
        return tuple(range(len(labels)))
    rows = [NEVER_ROW] * (max(labels) + 1)
    rows[0] = ZERO_ROW
    for channel, label in enumerate(labels):
        rows[label] = channel
    return tuple(rows)


def dataset_of_model(spec: ModelSpec, *, file_ending: str = ".nii.gz") -> dict[str, Any]:
    """Return ``dataset.json``.

    Regions are written as nested ones, each with the labels of all later ones: a model knows in
    which order they are painted, not what each holds, and prediction needs no more.
    """
    channels = [each.scheme for each in spec.preprocessing.intensities]
    content: dict[str, Any] = {
        "channel_names": {
            str(number): _CHANNEL_NAMES[scheme] for number, scheme in enumerate(channels)
        },
        "labels": _plain_labels(spec),
        "numTraining": 0,
        "file_ending": file_ending,
    }
    if spec.regions is not None:
        content["labels"] = _region_labels(spec, spec.regions)
        content["regions_class_order"] = list(spec.regions)
    return content


def plans_of_model(
    spec: ModelSpec, net: NetConfig, *, dataset: str, batch: int, plans_name: str = "nnUNetPlans"
) -> dict[str, Any]:
    """Return ``plans.json`` with one configuration, `CONFIGURATION`.

    Parameters
    ----------
    spec : ModelSpec
        Of which nothing is `inexpressible`.
    net : NetConfig
        The model's net as nnU-Net builds it, see `flare_train.nnunet_weights.nnunet_net`.
    dataset : str
        Name such as ``Dataset712_FLARE``.
    batch : int
        Patches per batch, for fine-tuning.
    plans_name : str
        Name of the plans.

    Notes
    -----
    Median shape and spacing of the training cases are left out: a model does not know them, and
    nnU-Net reads them in planning alone.
    """
    preprocessing = spec.preprocessing
    order = [int(axis) for axis in preprocessing.transpose]
    configuration = {
        "data_identifier": f"{plans_name}_{CONFIGURATION}",
        "preprocessor_name": "DefaultPreprocessor",
        "batch_size": batch,
        "patch_size": list(spec.windows.patch),
        "spacing": list(preprocessing.spacing_mm or ()),
        "normalization_schemes": [_SCHEMES[each.scheme] for each in preprocessing.intensities],
        "use_mask_for_norm": [each.within_mask for each in preprocessing.intensities],
        **_resampling("data", spec, order=preprocessing.image_order),
        **_resampling("seg", spec, order=1),
        **_resampling("probabilities", spec, order=preprocessing.logits_order),
        "architecture": _architecture(net),
        "batch_dice": False,
    }
    return {
        "dataset_name": dataset,
        "plans_name": plans_name,
        "image_reader_writer": "SimpleITKIO",
        "transpose_forward": order,
        "transpose_backward": [order.index(axis) for axis in range(3)],
        "configurations": {CONFIGURATION: configuration},
        "experiment_planner_used": "ExperimentPlanner",
        "label_manager": "LabelManager",
        "foreground_intensity_properties_per_channel": {
            str(number): _statistics(each) for number, each in enumerate(preprocessing.intensities)
        },
    }


def _plain_labels(spec: ModelSpec) -> dict[str, Any]:
    names = {0: "background"}
    for label in spec.labels.ids:
        names[label] = spec.labels.name_of(label)
    return {names.get(k, f"unused {k}"): k for k in range(max(names) + 1)}


def _region_labels(spec: ModelSpec, order: tuple[int, ...]) -> dict[str, Any]:
    labels: dict[str, Any] = {"background": 0}
    for place, label in enumerate(order):
        # Twice the same, so that a single region is no plain label to nnU-Net.
        inside = list(order[place:]) if len(order) > 1 else [label, label]
        labels[spec.labels.name_of(label)] = inside
    return labels


def _resampling(kind: str, spec: ModelSpec, *, order: int) -> dict[str, Any]:
    preprocessing = spec.preprocessing
    along_z = {
        "data": preprocessing.image_order_z,
        "seg": 0,
        "probabilities": preprocessing.logits_order_z,
    }
    threshold = preprocessing.anisotropy_threshold
    arguments: dict[str, Any] = {
        "is_seg": kind == "seg",
        "order": order,
        "order_z": along_z[kind],
        "force_separate_z": False if math.isinf(threshold) else None,
    }
    if not math.isinf(threshold) and threshold != _USUAL_ANISOTROPY:
        arguments["separate_z_anisotropy_threshold"] = threshold
    return {
        f"resampling_fn_{kind}": "resample_data_or_seg_to_shape",
        f"resampling_fn_{kind}_kwargs": arguments,
    }


def _architecture(net: NetConfig) -> dict[str, Any]:
    keywords = {
        "n_stages": net.stages,
        "features_per_stage": list(net.features),
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [list(kernel) for kernel in net.kernels],
        "strides": [list(stride) for stride in net.strides],
        _COUNTS[net.architecture]: list(net.convs),
        # nnU-Net counts decoder stages from the deepest.
        "n_conv_per_stage_decoder": list(net.decoder_convs[::-1]),
        "conv_bias": net.conv_bias,
        "norm_op": _NORMS[net.norm],
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }
    name = f"dynamic_network_architectures.architectures.unet.{_CLASSES[net.architecture]}"
    return {
        "network_class_name": name,
        "arch_kwargs": keywords,
        "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }


def _statistics(intensity: Intensity) -> dict[str, float | None]:
    if intensity.scheme != "ct":
        return {}
    return {
        "mean": intensity.mean,
        "std": intensity.std,
        "percentile_00_5": intensity.low,
        "percentile_99_5": intensity.high,
    }
