"""The peer's half of `planning.py`: nnU-Net's planners on the fingerprints that lie there.

Runs in an environment that holds nnunetv2 and nothing of ours:
``python planning_nnunet.py PREPROCESSED PLANNER ...``, nnU-Net's folders in the environment. Each
plan goes to ``PREPROCESSED/DATASET/PLANNER.json``.
"""

import json
import sys
from pathlib import Path

import torch
from nnunetv2.experiment_planning.experiment_planners.default_experiment_planner import (
    ExperimentPlanner,
)
from nnunetv2.experiment_planning.experiment_planners.residual_unets import (
    residual_encoder_unet_planners as residual,
)


def main() -> None:
    """Plan every dataset with every planner."""
    for folder in sorted(Path(sys.argv[1]).iterdir()):
        for name in sys.argv[2:]:
            planner = getattr(residual, name, ExperimentPlanner)
            target = folder / f"{name}.json"
            try:
                # Weights are only counted: without memory they are made at once.
                with torch.device("meta"):
                    planned = planner(folder.name, plans_name=f"{name}_made")
                    planned.plan_experiment()
            except Exception as error:
                target.write_text(json.dumps({"error": f"{type(error).__name__}: {error}"}))
                continue
            (folder / f"{name}_made.json").rename(target)


if __name__ == "__main__":
    main()
