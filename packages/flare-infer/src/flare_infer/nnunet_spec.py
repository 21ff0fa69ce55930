"""The description of a model from the plans of nnU-Net v2."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flare_infer.spec import ModelSpec
from flare_infer.windows import WindowPlan
from flare_io.intensity import Intensity, Scheme
from flare_io.labels import LabelTable
from flare_io.preprocessing import Axes, Preprocessing

__all__ = ["spec_from_plans"]

_SCHEMES: dict[str, Scheme] = {
    "CTNormalization": "ct",
    "ZScoreNormalization": "zscore",
    "NoNormalization": "none",
    "RescaleTo01Normalization": "rescale",
    "RGBTo01Normalization": "rgb",
}
# Readers that take the array as the file holds it. Those that reorient bring it to S, A, R, which
# is neither that nor canonical: a model trained on it would see every volume turned by half.
_READER_AXES: dict[str, Axes] = {"SimpleITKIO": "as_stored", "NibabelIO": "as_stored"}
_RESAMPLING = "resample_data_or_seg_to_shape"
# What that function takes where plans leave its arguments out.
_RESAMPLING_DEFAULTS = {
    "is_seg": False,
    "order": 3,
    "order_z": 0,
    "force_separate_z": False,
    "separate_z_anisotropy_threshold": 3.0,
}
_PARTS = {"preprocessor_name": "DefaultPreprocessor", "label_manager": "LabelManager"}


def spec_from_plans(
    plans: Mapping[str, Any],
    dataset: Mapping[str, Any],
    configuration: str,
    checkpoint: Mapping[str, Any],
) -> ModelSpec:
    """Return what nnU-Net's files say of a model.

    Parameters
    ----------
    plans, dataset : mapping
        Content of ``plans.json`` and ``dataset.json``.
    configuration : str
        Its name in the plans.
    checkpoint : mapping
        For the axes of mirroring.

    Raises
    ------
    ValueError
        If there is something that flare-infer does not do as nnU-Net does, or files contradict one
        another.
    KeyError
        If something is missing.
    """
    from flare_nets.plans import config_from_plans

    settings = _configuration(plans, configuration)
    if settings.get("previous_stage") or settings.get("previous_stage_name"):
        raise ValueError("cascades need the stage before, which one model folder cannot hold")
    for part, known in _PARTS.items():
        name = {**plans, **settings}.get(part, known)
        if name != known:
            raise ValueError(f"{part} {name} is not known, only {known}")
    labels, regions = _labels(dataset)
    channels = dataset.get("channel_names") or dataset["modality"]
    net = config_from_plans(
        plans,
        configuration,
        in_channels=len(channels),
        out_channels=len(regions) if regions is not None else len(labels) + 1,
    )
    allowed = checkpoint.get("inference_allowed_mirroring_axes")
    return ModelSpec(
        name=f"{plans.get('dataset_name', 'nnU-Net')} {configuration}",
        # The coarse heads serve training alone.
        net=replace(net, deep_supervision=False),
        labels=labels,
        preprocessing=_preprocessing(plans, settings, len(channels)),
        windows=WindowPlan(
            patch=tuple(settings["patch_size"]),
            mirror_axes=tuple(int(axis) for axis in allowed) if allowed is not None else (),
        ),
        regions=regions,
        default_mode="exact",
    )


def _configuration(plans: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration with all it inherits."""
    configurations = plans["configurations"]
    if name not in configurations:
        raise ValueError(f"has no configuration {name!r}, only {sorted(configurations)}")
    own = dict(configurations[name])
    parent = own.pop("inherits_from", None)
    return {**_configuration(plans, parent), **own} if parent else own


def _labels(dataset: Mapping[str, Any]) -> tuple[LabelTable, tuple[int, ...] | None]:
    """Return the classes that are written, and for regions the label of each channel."""
    named = {name: value for name, value in dataset["labels"].items() if name not in ("ignore",)}
    is_region = any(isinstance(value, list | tuple) and len(value) > 1 for value in named.values())
    if not is_region:
        single = {n: int(v[0] if isinstance(v, list | tuple) else v) for n, v in named.items()}
        ids = sorted(single.values())
        if ids != list(range(len(ids))):
            raise ValueError(f"labels must be 0, 1, 2, ... without gaps, found {ids}")
        return LabelTable.from_names("nnU-Net", {n: v for n, v in single.items() if v}), None
    order = tuple(int(label) for label in dataset["regions_class_order"])
    regions = {n: v for n, v in named.items() if v not in (0, [0], (0,))}
    if len(order) != len(regions):
        raise ValueError(f"{len(regions)} regions need as many entries in regions_class_order")
    # A region is named after the label it leaves where no later region covers it.
    written = dict(zip(regions, order, strict=True))
    return LabelTable.from_names("nnU-Net", written), order


def _preprocessing(
    plans: Mapping[str, Any], settings: Mapping[str, Any], channels: int
) -> Preprocessing:
    statistics = plans["foreground_intensity_properties_per_channel"]
    schemes = settings["normalization_schemes"]
    masks = settings["use_mask_for_norm"]
    intensities = []
    for number in range(channels):
        scheme = schemes[number]
        if scheme not in _SCHEMES:
            raise ValueError(f"normalization {scheme} of channel {number} is not known")
        of_channel = statistics.get(str(number), {})
        ct = scheme == "CTNormalization"
        intensities.append(
            Intensity(
                scheme=_SCHEMES[scheme],
                mean=float(of_channel["mean"]) if ct else None,
                std=float(of_channel["std"]) if ct else None,
                low=float(of_channel["percentile_00_5"]) if ct else None,
                high=float(of_channel["percentile_99_5"]) if ct else None,
                within_mask=bool(masks[number]) and scheme == "ZScoreNormalization",
            )
        )
    image, logits = _resampling(settings, "data"), _resampling(settings, "probabilities")
    if image["threshold"] != logits["threshold"]:
        raise ValueError("force_separate_z and its threshold must be the same for all resampling")
    reader = plans.get("image_reader_writer", "SimpleITKIO")
    if reader not in _READER_AXES:
        raise ValueError(f"image_reader_writer {reader} is not known, only {sorted(_READER_AXES)}")
    return Preprocessing(
        spacing_mm=tuple(settings["spacing"]),
        intensities=tuple(intensities),
        crop="nonzero",
        image_order=image["order"],
        image_order_z=image["order_z"],
        logits_order=logits["order"],
        logits_order_z=logits["order_z"],
        anisotropy_threshold=image["threshold"],
        transpose=tuple(plans["transpose_forward"]),
        axes=_READER_AXES[reader],
    )


def _resampling(settings: Mapping[str, Any], kind: str) -> dict[str, Any]:
    function = settings.get(f"resampling_fn_{kind}", _RESAMPLING)
    if function != _RESAMPLING:
        raise ValueError(f"resampling of {kind} by {function} is not known, only {_RESAMPLING}")
    planned = {"order": 3 if kind == "data" else 1, "force_separate_z": None}
    found = {**_RESAMPLING_DEFAULTS, **settings.get(f"resampling_fn_{kind}_kwargs", planned)}
    unknown = sorted(set(found) - set(_RESAMPLING_DEFAULTS))
    if unknown or found["is_seg"] or found["force_separate_z"] is True:
        raise ValueError(
            f"resampling of {kind}: is_seg and force_separate_z must not be true, and only "
            f"{sorted(_RESAMPLING_DEFAULTS)} are known, found {found}"
        )
    never = found["force_separate_z"] is False
    limit = float("inf") if never else float(found["separate_z_anisotropy_threshold"])
    return {"order": found["order"], "order_z": found["order_z"], "threshold": limit}
