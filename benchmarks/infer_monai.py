"""MONAI's half of `infer.py`: its transforms and its sliding window, as its bundles put them.

Runs in an environment that holds monai, and flare_nets on the path for the same network: ``python
infer_monai.py STATE SCAN LABELS``. Windows overlap by half and are weighted by a Gaussian, as
nnU-Net's are.
"""

import json
import sys
from pathlib import Path

import torch
from monai.inferers import sliding_window_inference
from monai.transforms import (
    AsDiscreted,
    Compose,
    EnsureChannelFirstd,
    Invertd,
    LoadImaged,
    NormalizeIntensityd,
    Orientationd,
    SaveImaged,
    Spacingd,
    ThresholdIntensityd,
)

from flare_nets.build import build_net
from flare_nets.config import NetConfig


def main() -> None:
    """Segment one scan."""
    state, scan, labels = map(Path, sys.argv[1:4])
    description = json.loads((state / "net.json").read_text(encoding="utf-8"))
    ct = description["preprocessing"]["intensities"][0]
    prepare = Compose(
        [
            LoadImaged(keys="image"),
            EnsureChannelFirstd(keys="image"),
            Orientationd(keys="image", axcodes="LPS", labels=None),
            Spacingd(
                keys="image",
                pixdim=description["preprocessing"]["spacing_mm"][::-1],
                mode="bilinear",
            ),
            ThresholdIntensityd(keys="image", threshold=ct["low"], above=True, cval=ct["low"]),
            ThresholdIntensityd(keys="image", threshold=ct["high"], above=False, cval=ct["high"]),
            NormalizeIntensityd(keys="image", subtrahend=ct["mean"], divisor=ct["std"]),
        ]
    )
    finish = Compose(
        [
            Invertd(
                keys="labels",
                transform=prepare,
                orig_keys="image",
                nearest_interp=False,
                to_tensor=True,
            ),
            AsDiscreted(keys="labels", argmax=True),
            SaveImaged(
                keys="labels",
                output_dir=str(labels.parent),
                output_postfix="monai",
                separate_folder=False,
                output_dtype="uint8",
                resample=False,
                print_log=False,
            ),
        ]
    )
    net = build_net(NetConfig.from_dict(description["net"]), initialization="none").eval()
    net.load_state_dict(torch.load(state / "weights.pt", weights_only=True))

    def predict(window: torch.Tensor) -> torch.Tensor:
        # MONAI's axes are x, y, z.
        flipped: torch.Tensor = net(window.permute(0, 1, 4, 3, 2).contiguous())
        return flipped.permute(0, 1, 4, 3, 2)

    with torch.inference_mode():
        case = prepare({"image": str(scan)})
        case["labels"] = sliding_window_inference(
            case["image"][None],
            roi_size=description["windows"]["patch"][::-1],
            sw_batch_size=1,
            predictor=predict,
            overlap=0.5,
            mode="gaussian",
        )[0]
        finish(case)
    written = labels.parent / f"{scan.name.removesuffix('.nii.gz')}_monai.nii.gz"
    written.replace(labels)


if __name__ == "__main__":
    main()
