"""A model folder from trained nets: one, several as an ensemble, and another painted over."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from flare_infer import add_overlay
from flare_infer.components import Components
from flare_infer.model import ModelSpec, read_model, write_model
from flare_infer.windows import WindowPlan
from flare_train.errors import TrainingDataError
from flare_train.stages.net_settings import ModelSettings
from flare_train.stages.predict import model_folder
from flare_train.stages.work import StageWork

__all__ = ["run"]


def run(work: StageWork) -> dict[str, Any]:
    """Write ``model``; the logits of its members are averaged.

    Raises
    ------
    TrainingDataError
        If the members are not of one kind.
    """
    settings: ModelSettings = work.settings
    numbers = range(1, settings.snapshots + 1) if settings.snapshots else (0,)
    names = [name for name in settings.members for _ in numbers]
    folders = [
        model_folder(work.inputs[name], snapshot=number)
        for name in settings.members
        for number in numbers
    ]
    members = [read_model(folder) for folder in folders]
    first = members[0].spec
    for name, model in zip(names, members, strict=True):
        spec = model.spec
        same = (spec.net, spec.labels.ids, spec.preprocessing) == (
            first.net,
            first.labels.ids,
            first.preprocessing,
        )
        if not same:
            raise TrainingDataError(
                f"{name}: members of an ensemble must have one net, one preprocessing and the same "
                f"labels as {settings.members[0]}"
            )
    spec = dataclasses.replace(
        first,
        name=work.stage.name,
        windows=WindowPlan.from_dict({**first.windows.to_dict(), **settings.windows}),
        provenance={
            "members": [dict(model.spec.provenance) for model in members],
            "stage": work.stage.name,
        },
        **_changes(settings.changes),
    )
    folder = work.folder / "model"
    write_model(folder, spec, [_weights(model.weights_file, spec) for model in members])
    if settings.over:
        source = model_folder(work.inputs[settings.over])
        add_overlay(folder, settings.over, source, settings.over_labels)
    return {"members": len(members), "over": settings.over}


def _changes(plain: Mapping[str, Any]) -> dict[str, Any]:
    changes = {
        name: tuple(value) if isinstance(value, list) else value for name, value in plain.items()
    }
    if plain.get("components") is not None:
        changes["components"] = Components.from_dict(plain["components"])
    return changes


def _weights(path: Any, spec: ModelSpec) -> dict[str, Tensor]:
    tensors = load_file(path)
    return {name.removeprefix("member0/"): value for name, value in tensors.items()}
