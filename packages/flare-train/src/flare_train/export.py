"""From a finished run to the model folder that flare-infer loads."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from flare_infer.errors import ModelError
from flare_infer.model import ModelSpec, read_model, write_model
from flare_infer.windows import WindowPlan
from flare_io.labels import LabelTable
from flare_io.preprocessing import Preprocessing
from flare_train.config import TrainConfig
from flare_train.loop import FitResult

__all__ = ["export_model", "head_fields", "write_weights"]


def export_model(
    folder: os.PathLike[str] | str,
    result: FitResult,
    config: TrainConfig,
    *,
    table: LabelTable,
    preprocessing: Preprocessing,
    windows: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write the trained net as a model folder.

    Parameters
    ----------
    folder : path
        Made if it is not there. The same model in it is left alone, another one replaced.
    result : FitResult
        Of `flare_train.fit`. The running average of the weights, if there is one, is what counts.
    config : TrainConfig
        The settings of that run.
    table : LabelTable
        Names and colors of the classes.
    preprocessing : Preprocessing
        What the training cases were prepared with.
    windows : mapping, optional
        Fields of `flare_infer.WindowPlan` but for the patch.
    provenance : mapping, optional
        More to keep beside settings, versions, last record and the checkpoint's SHA-256.

    Returns
    -------
    Path
        The folder.
    """
    return write_weights(
        folder,
        result.weights,
        config,
        source=result.checkpoint,
        table=table,
        preprocessing=preprocessing,
        windows=windows,
        provenance=provenance,
    )


def write_weights(
    folder: os.PathLike[str] | str,
    weights: Mapping[str, Tensor],
    config: TrainConfig,
    *,
    source: Path,
    table: LabelTable,
    preprocessing: Preprocessing,
    windows: Mapping[str, Any] | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Path:
    """Write weights as a model folder, as `export_model` does.

    Parameters
    ----------
    weights : mapping of str to Tensor
        State dict of the net.
    source : Path
        The file whose SHA-256 names them.
    """
    root = Path(folder)
    with open(source, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    spec = ModelSpec(
        name=str((provenance or {}).get("dataset", root.name)),
        net=config.net,
        labels=table.subset(config.classes[1:]),
        preprocessing=preprocessing,
        windows=WindowPlan.from_dict(
            {**WindowPlan(patch=config.patch).to_dict(), **(windows or {})}
        ),
        provenance={
            "trained_by": f"flare-train {version('flare-train')}",
            "torch": version("torch"),
            "checkpoint_sha256": digest,
            "settings": config.to_dict(),
            **(provenance or {}),
        },
        **head_fields(config),
    )
    if not _is_there(root, spec):
        plain = {name: value.detach().cpu().contiguous() for name, value in weights.items()}
        write_model(root, spec, [plain])
    return root


def head_fields(config: TrainConfig) -> dict[str, Any]:
    """Return what a model has to know about the head that a net was trained with.

    Returns
    -------
    dict
        Fields of `flare_infer.ModelSpec`; none for a softmax. Of sigmoid and hybrid heads the
        labels that `LossConfig.overlay` names decide alone and are painted over the others. Without
        a background channel the highest of the others wins where its logit is > 0.
    """
    loss = config.loss
    if loss.head == "softmax":
        return {}
    overlay = [label for label in loss.overlay if label in config.classes]
    threshold = loss.head == "sigmoid" and not loss.background_channel
    return {
        "overlay": tuple(overlay),
        "background": "threshold" if threshold else "channel",
    }


def _is_there(folder: Path, spec: ModelSpec) -> bool:
    try:
        found = read_model(folder).spec.to_dict()
    except ModelError:
        return False
    # As JSON has it: lists for tuples.
    return json.dumps(found) == json.dumps(spec.to_dict())
