"""From a finished run to the model folder that flare-infer loads."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from flare_infer.errors import ModelError
from flare_infer.model import ModelSpec, read_model, write_model
from flare_infer.windows import WindowPlan
from flare_io.labels import LabelTable
from flare_io.preprocessing import Preprocessing
from flare_train.config import TrainConfig
from flare_train.loop import FitResult

__all__ = ["export_model"]


def export_model(
    folder: os.PathLike[str] | str,
    result: FitResult,
    config: TrainConfig,
    *,
    table: LabelTable,
    preprocessing: Preprocessing,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write the trained net as a model folder.

    Parameters
    ----------
    folder : path
        Made if it is not there. The same model in it is left alone, another one replaced.
    result : FitResult
        Of `flare_train.fit`.
    config : TrainConfig
        The settings of that run.
    table : LabelTable
        Names and colors of the classes.
    preprocessing : Preprocessing
        What the training cases were prepared with.
    provenance : mapping, optional
        More to keep beside settings, versions, last record and the checkpoint's SHA-256.

    Returns
    -------
    Path
        The folder.
    """
    root = Path(folder)
    with open(result.checkpoint, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    weights = {
        name: value.detach().cpu().contiguous()
        for name, value in result.state.net.state_dict().items()
    }
    spec = ModelSpec(
        name=str((provenance or {}).get("dataset", root.name)),
        net=config.net,
        labels=table.subset(config.classes[1:]),
        preprocessing=preprocessing,
        windows=WindowPlan(patch=config.patch),
        provenance={
            "trained_by": f"flare-train {version('flare-train')}",
            "torch": version("torch"),
            "checkpoint_sha256": digest,
            "settings": config.to_dict(),
            **(provenance or {}),
        },
    )
    if not _is_there(root, spec):
        write_model(root, spec, [weights])
    return root


def _is_there(folder: Path, spec: ModelSpec) -> bool:
    try:
        found = read_model(folder).spec.to_dict()
    except ModelError:
        return False
    # As JSON has it: lists for tuples.
    return json.dumps(found) == json.dumps(spec.to_dict())
