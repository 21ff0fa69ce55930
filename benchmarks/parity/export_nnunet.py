"""The peer's half of `export.py`: nnU-Net loads models, predicts, and takes weights to fine-tune.

Runs in an environment that holds nnunetv2 and nothing of ours: ``python export_nnunet.py DIR``.
Each folder in DIR holds ``case.json`` and the images; answers are ``expected.nii.gz`` and
``peer.json``.
"""

import json
import sys
from pathlib import Path

import torch
from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor
from nnunetv2.run.load_pretrained_weights import load_pretrained_weights
from nnunetv2.utilities.get_network_from_plans import get_network_from_plans


def main() -> None:
    """Answer every case of a folder."""
    torch.set_num_threads(1)
    for folder in sorted(path.parent for path in Path(sys.argv[1]).glob("*/case.json")):
        settings = json.loads((folder / "case.json").read_text())
        predictor = predict(folder, settings)
        fine_tunes = takes_weights(predictor, settings)
        (folder / "peer.json").write_text(json.dumps({"fine_tunes": fine_tunes}))


def predict(folder: Path, settings: dict) -> nnUNetPredictor:
    """Write nnU-Net's label map of the case and return its predictor."""
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
        settings["model"], tuple(settings["folds"]), "checkpoint_final.pth"
    )
    images = [str(folder / name) for name in settings["images"]]
    predictor.predict_from_files_sequential(
        [images], [str(folder / "expected")], save_probabilities=False, overwrite=True
    )
    return predictor


def takes_weights(predictor: nnUNetPredictor, settings: dict) -> bool:
    """Return whether nnU-Net's loader for fine-tuning takes all weights but the heads."""
    configuration = predictor.configuration_manager
    net = get_network_from_plans(
        configuration.network_arch_class_name,
        configuration.network_arch_init_kwargs,
        configuration.network_arch_init_kwargs_req_import,
        len(predictor.dataset_json["channel_names"]),
        predictor.label_manager.num_segmentation_heads,
        allow_init=True,
        deep_supervision=True,
    )
    path = Path(settings["model"]) / "fold_0" / "checkpoint_final.pth"
    load_pretrained_weights(net, str(path))
    source = torch.load(path, weights_only=True)["network_weights"]
    loaded = net.state_dict()
    return source.keys() == loaded.keys() and all(
        torch.equal(tensor, loaded[name])
        for name, tensor in source.items()
        if ".seg_layers." not in name
    )


if __name__ == "__main__":
    main()
