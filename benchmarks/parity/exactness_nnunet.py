"""The peer's half of `exactness.py`: nnU-Net makes checkpoints and predicts with them.

Runs in an environment that holds nnunetv2 and nothing of ours: ``python exactness_nnunet.py DIR``.
Each folder in DIR holds ``model/plans.json``, ``model/dataset.json``, ``case.json`` and the images.
"""

import json
import sys
from pathlib import Path

import numpy as np
import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans
from nnunetv2.utilities.plans_handling.plans_handler import PlansManager


def main() -> None:
    """Predict every case of a folder."""
    torch.set_num_threads(1)
    for folder in sorted(path.parent for path in Path(sys.argv[1]).glob("*/case.json")):
        settings = json.loads((folder / "case.json").read_text())
        for number in range(settings["folds"]):
            write_checkpoint(folder / "model", number, settings)
        predict(folder, settings)


def write_checkpoint(model: Path, fold: int, settings: dict) -> None:
    """Save random weights as nnU-Net's trainer saves its own."""
    plans = json.loads((model / "plans.json").read_text())
    dataset = json.loads((model / "dataset.json").read_text())
    manager = PlansManager(plans)
    configuration = manager.get_configuration("3d_fullres")
    heads = manager.get_label_manager(dataset).num_segmentation_heads
    torch.manual_seed(100 * settings["seed"] + fold)
    net = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        len(dataset["channel_names"]),
        heads,
        allow_init=True,
        deep_supervision=True,
    )
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if "seg_layers" in name:
                # Random heads leave one class everywhere; spread them so that all labels occur.
                parameter.normal_(0, 2.0 if name.endswith("weight") else 0.3)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.99, nesterov=True)
    folder = model / f"fold_{fold}"
    folder.mkdir(exist_ok=True)
    torch.save(
        {
            "network_weights": net.state_dict(),
            "optimizer_state": optimizer.state_dict(),
            "grad_scaler_state": None,
            "logging": {
                "mean_fg_dice": [np.float64(0.5), np.float32(0.6)],
                "train_losses": [np.float32(-0.1)],
                "epoch_start_timestamps": [1.5],
            },
            "_best_ema": np.float64(0.7),
            "current_epoch": 1,
            "init_args": {
                "plans": plans,
                "configuration": "3d_fullres",
                "fold": fold,
                "dataset_json": dataset,
            },
            "trainer_name": "nnUNetTrainer",
            "inference_allowed_mirroring_axes": tuple(settings["mirror_axes"]),
        },
        folder / "checkpoint_final.pth",
    )


def predict(folder: Path, settings: dict) -> None:
    """Write nnU-Net's label map of the case to ``expected.nii.gz``."""
    predictor = nnUNetPredictor(
        tile_step_size=0.5,
        use_gaussian=True,
        use_mirroring=settings["tta"],
        perform_everything_on_device=False,
        device=torch.device("cpu"),
        verbose=False,
        verbose_preprocessing=False,
        allow_tqdm=False,
    )
    predictor.initialize_from_trained_model_folder(
        str(folder / "model"), tuple(range(settings["folds"])), "checkpoint_final.pth"
    )
    images = [str(folder / name) for name in settings["images"]]
    predictor.predict_from_files_sequential(
        [images], [str(folder / "expected")], save_probabilities=False, overwrite=True
    )


if __name__ == "__main__":
    main()
