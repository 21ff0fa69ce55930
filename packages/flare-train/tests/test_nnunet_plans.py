import dataclasses
import json
import math

import pytest

from flare_infer.model import ModelSpec, read_model, write_model
from flare_infer.windows import WindowPlan
from flare_io.intensity import Intensity
from flare_io.labels import label_table
from flare_io.preprocessing import Preprocessing
from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.plans import config_from_plans
from flare_train.nnunet_plans import (
    CONFIGURATION,
    dataset_of_model,
    head_rows,
    inexpressible,
    plans_of_model,
)

CT = Intensity(scheme="ct", mean=50.0, std=100.0, low=-200.0, high=300.0)
GRID = Preprocessing(spacing_mm=(3.0, 2.0, 2.0), intensities=(CT,), crop="none")
NET = NetConfig(
    architecture="plain",
    in_channels=1,
    out_channels=3,
    features=(4, 8, 8),
    kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
    strides=((1, 1, 1), (1, 2, 2), (2, 2, 2)),
    convs=(1, 2, 3),
    decoder_convs=(2, 1),
)


def spec_of(labels=(1, 14), *, net=NET, **changes):
    fields = {
        "name": "small",
        "net": net,
        "labels": label_table("flare23").subset(labels),
        "preprocessing": GRID,
        "windows": WindowPlan(patch=(8, 16, 16)),
    }
    return ModelSpec(**{**fields, **changes})


def plans_of(spec, net=NET):
    return plans_of_model(spec, net, dataset="Dataset712_FLARE", batch=2)


@pytest.mark.parametrize("architecture", ["plain", "residual"])
@pytest.mark.parametrize("norm", ["instance", "batch"])
def test_the_net_comes_back_from_the_plans(architecture, norm):
    net = dataclasses.replace(NET, architecture=architecture, norm=norm)
    plans = json.loads(json.dumps(plans_of(spec_of(net=net), net)))
    assert config_from_plans(plans, CONFIGURATION, in_channels=1, out_channels=3) == net


def test_statistics_schemes_and_masks_of_every_channel():
    intensities = (
        CT,
        Intensity(scheme="zscore", within_mask=True),
        Intensity(scheme="rescale"),
        Intensity(scheme="none"),
        Intensity(scheme="rgb"),
    )
    spec = spec_of(
        net=dataclasses.replace(NET, in_channels=5),
        preprocessing=dataclasses.replace(GRID, intensities=intensities),
    )
    plans = plans_of(spec)
    settings = plans["configurations"][CONFIGURATION]
    assert settings["normalization_schemes"] == [
        "CTNormalization",
        "ZScoreNormalization",
        "RescaleTo01Normalization",
        "NoNormalization",
        "RGBTo01Normalization",
    ]
    assert settings["use_mask_for_norm"] == [False, True, False, False, False]
    assert plans["foreground_intensity_properties_per_channel"] == {
        "0": {"mean": 50.0, "std": 100.0, "percentile_00_5": -200.0, "percentile_99_5": 300.0},
        **{str(number): {} for number in range(1, 5)},
    }
    assert list(dataset_of_model(spec)["channel_names"].values()) == [
        "CT",
        "zscore",
        "rescale_to_0_1",
        "noNorm",
        "rgb_to_0_1",
    ]


@pytest.mark.parametrize(
    ("threshold", "expected"),
    [
        (3.0, {"force_separate_z": None}),
        (5.0, {"force_separate_z": None, "separate_z_anisotropy_threshold": 5.0}),
        (math.inf, {"force_separate_z": False}),
    ],
)
def test_orders_and_the_rule_for_thick_slices(threshold, expected):
    grid = dataclasses.replace(
        GRID, anisotropy_threshold=threshold, image_order=1, image_order_z=1, logits_order=0
    )
    settings = plans_of(spec_of(preprocessing=grid))["configurations"][CONFIGURATION]
    assert settings["resampling_fn_data_kwargs"] == {
        "is_seg": False,
        "order": 1,
        "order_z": 1,
        **expected,
    }
    assert settings["resampling_fn_probabilities_kwargs"]["order"] == 0
    assert settings["resampling_fn_seg_kwargs"] == {
        "is_seg": True,
        "order": 1,
        "order_z": 0,
        **expected,
    }


def test_turned_axes_and_their_way_back():
    grid = dataclasses.replace(GRID, transpose=(2, 0, 1))
    plans = plans_of(spec_of(preprocessing=grid))
    assert plans["transpose_forward"] == [2, 0, 1]
    assert plans["transpose_backward"] == [1, 2, 0]


def test_labels_are_numbered_without_gaps_and_rows_follow_them():
    spec = spec_of((1, 3), net=NET)
    assert dataset_of_model(spec)["labels"] == {
        "background": 0,
        "liver": 1,
        "unused 2": 2,
        "spleen": 3,
    }
    assert head_rows(spec) == (0, 1, -2, 2)
    free = dataclasses.replace(
        spec, net=dataclasses.replace(NET, out_channels=2), background="threshold"
    )
    assert head_rows(free) == (-1, 0, -2, 1)


def test_regions_are_nested_in_their_order_and_one_is_no_plain_label():
    three = spec_of((1, 3, 14), regions=(14, 1, 3))
    found = dataset_of_model(three, file_ending=".nrrd")
    assert found["labels"] == {
        "background": 0,
        "tumor": [14, 1, 3],
        "liver": [1, 3],
        "spleen": [3],
    }
    assert found["regions_class_order"] == [14, 1, 3]
    assert found["file_ending"] == ".nrrd"
    assert head_rows(three) == (0, 1, 2)
    one = spec_of((14,), net=dataclasses.replace(NET, out_channels=1), regions=(14,))
    assert dataset_of_model(one)["labels"] == {"background": 0, "tumor": [14, 14]}


def test_what_nnunet_cannot_do_is_named(tmp_path):
    weights = [build_net(NET).state_dict()]

    def phrases(**changes):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        write_model(folder, spec_of(**changes), weights)
        return inexpressible(read_model(folder))

    assert phrases() == []
    assert phrases(overlay=(14,)) == ["channels that decide alone beside others that compete"]
    assert phrases(order="decide-resample") == ["the order decide-resample"]
    late = dataclasses.replace(GRID, normalize_first=False, spacing_mm=None)
    assert phrases(preprocessing=late) == [
        "a grid of each case's own",
        "resampling before normalization",
    ]
    islands = {"min_share": 0.05, "min_mm3": 50.0}
    assert phrases(components=islands) == ["the removal of small components"]
