"""nnU-Net's half of `infer.py`: its command for model folders, as a user calls it on a CPU.

Runs in an environment that holds nnunetv2 and nothing of ours: ``python infer_nnunet.py STATE SCAN
LABELS default|torch``. Mirroring is off; all else is the command's default, its processes too.
"""

import os
import shutil
import sys
import tempfile
from pathlib import Path

for variable in ("nnUNet_raw", "nnUNet_preprocessed", "nnUNet_results"):
    os.environ.setdefault(variable, tempfile.gettempdir())


def main() -> None:
    """Segment one scan."""
    from nnunetv2.inference.predict_from_raw_data import predict_entry_point_modelfolder

    state, scan, labels, resampling = Path(sys.argv[1]), *map(Path, sys.argv[2:4]), sys.argv[4]
    model = next((state / "nnunet").glob("*/*"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # The plans say how to resample: a model folder of its own for each way.
        (folder / "model").mkdir()
        shutil.copy(model / f"plans_{resampling}.json", folder / "model" / "plans.json")
        shutil.copy(model / "dataset.json", folder / "model")
        (folder / "model" / "fold_0").symlink_to(model / "fold_0", target_is_directory=True)
        (folder / "in").mkdir()
        (folder / "in" / "case_0000.nii.gz").symlink_to(scan)
        sys.argv = [
            "nnUNetv2_predict_from_modelfolder", "-i", str(folder / "in"), "-o",
            str(folder / "out"), "-m", str(folder / "model"), "-f", "0", "-device", "cpu",
            "--disable_tta",
        ]  # fmt: skip
        predict_entry_point_modelfolder()
        shutil.move(folder / "out" / "case.nii.gz", labels)


if __name__ == "__main__":
    main()
