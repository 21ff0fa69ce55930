import copy
import json

import numpy as np
import pytest
import torch

from flare_infer.errors import ModelError
from flare_infer.model import read_model
from flare_infer.nnunet import import_nnunet
from flare_infer.predictor import Predictor
from flare_nets.adapters import export_weights
from flare_nets.build import build_net
from flare_nets.plans import config_from_plans

ARCHITECTURE = {
    "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
    "arch_kwargs": {
        "n_stages": 2,
        "features_per_stage": [4, 8],
        "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [[3, 3, 3], [3, 3, 3]],
        "strides": [[1, 1, 1], [2, 2, 2]],
        "n_conv_per_stage": [1, 1],
        "n_conv_per_stage_decoder": [1],
        "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None,
        "dropout_op_kwargs": None,
        "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    },
    "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
}
PLANS = {
    "dataset_name": "Dataset007_Test",
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "SimpleITKIO",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "foreground_intensity_properties_per_channel": {
        "0": {"mean": 50.0, "std": 90.0, "percentile_00_5": -200.0, "percentile_99_5": 300.0}
    },
    "configurations": {
        "3d_fullres": {
            "patch_size": [8, 16, 16],
            "spacing": [4.0, 2.0, 2.0],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "architecture": ARCHITECTURE,
        }
    },
}
DATASET = {
    "channel_names": {"0": "CT"},
    "labels": {"background": 0, "liver": 1, "spleen": 2, "ignore": 3},
    "file_ending": ".nii.gz",
}


def write_results(folder, *, plans=PLANS, dataset=DATASET, folds=("0",), heads=3):
    folder.mkdir(exist_ok=True)
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(dataset))
    config = config_from_plans(PLANS, "3d_fullres", in_channels=1, out_channels=heads)
    for number, fold in enumerate(folds):
        torch.manual_seed(number)
        weights = export_weights(build_net(config).state_dict(), config)
        (folder / f"fold_{fold}").mkdir(exist_ok=True)
        torch.save(
            {
                "network_weights": weights,
                "init_args": {"configuration": "3d_fullres", "fold": fold},
                "trainer_name": "nnUNetTrainer",
                "inference_allowed_mirroring_axes": (0, 1, 2),
                "_best_ema": np.float64(0.5),
                "logging": {"losses": [np.float32(1.0), np.float64(2.0)], "epoch": np.int64(3)},
            },
            folder / f"fold_{fold}" / "checkpoint_final.pth",
        )
    return folder


def changed(source, *path, value):
    result = copy.deepcopy(source)
    place = result
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return result


def with_resampling(kind, arguments, others=None):
    """Return plans with arguments for one resampling, and others for the other one."""
    other = {"data": "probabilities", "probabilities": "data"}[kind]
    place = ("configurations", "3d_fullres")
    plans = changed(PLANS, *place, f"resampling_fn_{kind}_kwargs", value=arguments)
    return changed(plans, *place, f"resampling_fn_{other}_kwargs", value=others or arguments)


def test_a_results_folder_becomes_a_model_that_predicts(tmp_path, ct):
    model = import_nnunet(write_results(tmp_path / "n", folds=("0", "1")), tmp_path / "m")
    assert model == read_model(tmp_path / "m")
    assert model.members == 2
    assert model.spec.default_mode == "exact"
    assert model.spec.preprocessing.axes == "as_stored"
    assert model.spec.windows.mirror_axes == (0, 1, 2)
    # The ignore label is nothing that a model writes.
    assert [(k, model.labels.name_of(k)) for k in model.labels.ids] == [(1, "liver"), (2, "spleen")]
    assert model.spec.provenance["folds"] == ["0", "1"]
    assert "fold_1/checkpoint_final.pth" in model.spec.provenance["sha256"]
    assert Predictor.load(tmp_path / "m", device="cpu").predict(ct).shape == ct.shape


def test_single_folds_are_taken_before_all_and_can_be_chosen(tmp_path):
    folder = write_results(tmp_path / "n", folds=("0", "1", "all"))
    assert import_nnunet(folder, tmp_path / "a").members == 2
    assert import_nnunet(folder, tmp_path / "b", folds=("all",)).members == 1
    with pytest.raises(ModelError, match=r"folds \['4'\] have no checkpoint_final.pth"):
        import_nnunet(folder, tmp_path / "c", folds=("4",))
    with pytest.raises(ModelError, match=r"fold_\*/checkpoint_best.pth.*--checkpoint"):
        import_nnunet(folder, tmp_path / "d", checkpoint="checkpoint_best.pth")


def test_regions_keep_their_order(tmp_path):
    labels = {"background": 0, "whole": [1, 2, 3], "core": [2, 3], "rim": 3}
    dataset = {**DATASET, "labels": labels, "regions_class_order": [1, 2, 3]}
    model = import_nnunet(write_results(tmp_path / "n", dataset=dataset), tmp_path / "m")
    assert model.spec.regions == (1, 2, 3)
    assert model.labels.name_of(2) == "core"


def test_m01_a_truncated_checkpoint(tmp_path):
    folder = write_results(tmp_path / "n")
    path = folder / "fold_0" / "checkpoint_final.pth"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(ModelError, match=r"is broken.*copy it again") as caught:
        import_nnunet(folder, tmp_path / "m")
    assert caught.value.exit_code == 6
    assert not (tmp_path / "m").exists()


class Canary:
    """A pickle that would write a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_m02_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path):
    folder = write_results(tmp_path / "n")
    canary = tmp_path / "canary"
    torch.save(
        {"network_weights": {}, "init_args": {}, "trap": Canary(str(canary))},
        folder / "fold_0" / "checkpoint_final.pth",
    )
    with pytest.raises(ModelError, match="without running code") as caught:
        import_nnunet(folder, tmp_path / "m")
    assert caught.value.kind == "unsafe-pickle"
    assert not canary.exists()


@pytest.mark.parametrize(
    ("plans", "message"),
    [
        (changed(PLANS, "configurations", value={}), "no configuration '3d_fullres'"),
        ({k: v for k, v in PLANS.items() if k != "transpose_forward"}, "lacks the entry"),
        (changed(PLANS, "image_reader_writer", value="Tiff3DIO"), "Tiff3DIO is not known"),
        # Both reorient to S, A, R.
        (changed(PLANS, "image_reader_writer", value="SimpleITKIOWithReorient"), "is not known"),
        (changed(PLANS, "image_reader_writer", value="NibabelIOWithReorient"), "is not known"),
        (changed(PLANS, "label_manager", value="Mine"), "label_manager Mine is not known"),
        (
            changed(PLANS, "configurations", "3d_fullres", "preprocessor_name", value="Mine"),
            "preprocessor_name Mine is not known",
        ),
        (with_resampling("data", {"order": 3, "mode": "wrap"}), "resampling of data.*'mode'"),
        (with_resampling("probabilities", {"is_seg": True}), "is_seg and force_separate_z must"),
        (with_resampling("data", {"force_separate_z": True}), "force_separate_z must not be true"),
        (
            with_resampling("data", {"force_separate_z": None}, {"force_separate_z": False}),
            "must be the same for all resampling",
        ),
        (
            changed(PLANS, "configurations", "3d_fullres", "normalization_schemes", value=["X"]),
            "normalization X of channel 0",
        ),
        (
            changed(PLANS, "configurations", "3d_fullres", "resampling_fn_data", value="torch"),
            "resampling of data by torch",
        ),
        (
            changed(PLANS, "configurations", "3d_fullres", "previous_stage", value="3d_lowres"),
            "cascades need the stage before",
        ),
    ],
)
def test_m05_plans_that_cannot_be_used_are_refused_by_name(tmp_path, plans, message):
    folder = write_results(tmp_path / "n", plans=plans)
    with pytest.raises(ModelError, match=message):
        import_nnunet(folder, tmp_path / "m")


def test_m05_missing_plans_name_the_folder_wanted(tmp_path):
    folder = write_results(tmp_path / "n")
    (folder / "plans.json").unlink()
    with pytest.raises(ModelError, match=r"plans.json: cannot be read.*fold_\*"):
        import_nnunet(folder, tmp_path / "m")


def test_m06_a_wrong_class_count_names_the_tensor(tmp_path):
    folder = write_results(tmp_path / "n", heads=5)
    with pytest.raises(ModelError, match=r"do not fit plans.json.*seg_layers.*expected \(3, 4"):
        import_nnunet(folder, tmp_path / "m")


def test_arguments_of_resampling_that_plans_leave_out_are_those_of_the_function(tmp_path):
    plans = with_resampling("data", {"force_separate_z": None}, {"force_separate_z": None})
    found = import_nnunet(write_results(tmp_path / "a", plans=plans), tmp_path / "m")
    assert found.spec.preprocessing.logits_order == 3
    assert found.spec.preprocessing.anisotropy_threshold == 3.0
    own = {"force_separate_z": None, "separate_z_anisotropy_threshold": 2.0, "order": 1}
    found = import_nnunet(
        write_results(tmp_path / "b", plans=with_resampling("data", own)), tmp_path / "m"
    )
    assert found.spec.preprocessing.anisotropy_threshold == 2.0
    found = import_nnunet(
        write_results(tmp_path / "c", plans=with_resampling("data", {"order": 1})), tmp_path / "m"
    )
    assert found.spec.preprocessing.anisotropy_threshold == np.inf


def test_settings_inherited_from_another_configuration(tmp_path):
    parent = PLANS["configurations"]["3d_fullres"]
    plans = changed(
        PLANS,
        "configurations",
        value={"base": parent, "3d_fullres": {"inherits_from": "base", "spacing": [5.0, 3.0, 3.0]}},
    )
    model = import_nnunet(write_results(tmp_path / "n", plans=plans), tmp_path / "m")
    assert model.spec.preprocessing.spacing_mm == (5.0, 3.0, 3.0)
    assert model.spec.windows.patch == (8, 16, 16)
