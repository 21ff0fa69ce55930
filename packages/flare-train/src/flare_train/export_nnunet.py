"""A model folder as a results folder that nnU-Net v2 loads as its own."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from flare_infer.model import Model, read_model
from flare_io.atomic import write_file, write_json
from flare_nets.adapters import export_weights
from flare_train.nnunet_plans import (
    CONFIGURATION,
    dataset_of_model,
    head_rows,
    inexpressible,
    plans_of_model,
)
from flare_train.nnunet_weights import nnunet_net, nnunet_weights

__all__ = ["NnunetExport", "export_nnunet"]

_TRAINER = "nnUNetTrainer"
_PLANS = "nnUNetPlans"
_DATASET = re.compile(r"Dataset\d{3}_\w+")
_USUAL_STEP = 0.5
# nnU-Net reads over it; it tells an export from a model that nnU-Net trained.
_MARK = "flare"


@dataclass(frozen=True, kw_only=True)
class NnunetExport:
    """What was written.

    Attributes
    ----------
    folder : Path
        Holds ``plans.json``, ``dataset.json`` and a ``fold_*`` for each member.
    folds : tuple of int
    notes : tuple of str
        Where nnU-Net's labels could differ from the model's, and what to ask it for.
    """

    folder: Path
    folds: tuple[int, ...]
    notes: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the fields ready for JSON."""
        return {
            "folder": str(self.folder),
            "folds": list(self.folds),
            "notes": list(self.notes),
        }


def export_nnunet(
    model: os.PathLike[str] | str,
    results: os.PathLike[str] | str,
    *,
    dataset: str,
    allow_differences: bool = False,
    batch: int = 2,
) -> NnunetExport:
    """Write a model folder as a trained model of nnU-Net v2.

    Parameters
    ----------
    model : path
        A model folder of flare-infer.
    results : path
        nnU-Net's folder of results, ``$nnUNet_results``. The model goes to
        ``DATASET/nnUNetTrainer__nnUNetPlans__3d_fullres`` in it; one of ours that lies there is
        replaced.
    dataset : str
        Name such as ``Dataset712_FLARE``; its number is what ``nnUNetv2_predict -d`` takes.
    allow_differences : bool, optional
        Write a model of which nnU-Net cannot do all; `NnunetExport.notes` says what it leaves out.
    batch : int, optional
        Patches per batch in the plans, for fine-tuning.

    Returns
    -------
    NnunetExport

    Raises
    ------
    ValueError
        If the name is no dataset's, a model that nnU-Net trained lies there, or nnU-Net cannot do
        what the model does and `allow_differences` is off; the message names it.
    flare_infer.ModelError
        If the folder is no whole model.

    Notes
    -----
    nnU-Net predicts the labels of the mode ``exact``. Its softmax channel k means label k, so
    labels that a model leaves out become channels that never win. Heads of coarser stages that a
    model for inference no longer holds are 0; they serve training alone. ``plans.json`` is written
    last: a folder that a kill left behind is none that loads.
    """
    if not _DATASET.fullmatch(dataset):
        raise ValueError(
            f"dataset must be a name such as Dataset712_FLARE, of three digits, got {dataset!r}"
        )
    found = read_model(model)
    missing = inexpressible(found)
    if missing and not allow_differences:
        raise ValueError(
            f"{model}: nnU-Net v2 has no {'; no '.join(missing)}; allow differences to write the "
            "rest of the model"
        )
    rows = head_rows(found.spec)
    net = nnunet_net(found.spec.net, out_channels=len(rows))
    folder = Path(results) / dataset / f"{_TRAINER}__{_PLANS}__{CONFIGURATION}"
    _clear(folder, keep=found.members)
    content = dataset_of_model(found.spec)
    plans = plans_of_model(found.spec, net, dataset=dataset, batch=batch, plans_name=_PLANS)
    for member, weights in enumerate(_members(found)):
        fitted = nnunet_weights(weights, net, rows=rows)
        checkpoint = {
            "network_weights": export_weights(fitted, net),
            "init_args": {
                "plans": plans,
                "configuration": CONFIGURATION,
                "fold": member,
                "dataset_json": content,
            },
            "trainer_name": _TRAINER,
            "inference_allowed_mirroring_axes": found.spec.windows.mirror_axes or None,
        }
        _write_checkpoint(folder / f"fold_{member}" / "checkpoint_final.pth", checkpoint)
    write_json(folder / "dataset.json", content)
    mark = {"written_by": f"flare-train {version('flare-train')}", "model": found.weights_sha256}
    write_json(folder / "plans.json", {**plans, _MARK: mark})
    notes = (*(f"nnU-Net has no {phrase}" for phrase in missing), *_notes(found))
    return NnunetExport(folder=folder, folds=tuple(range(found.members)), notes=notes)


def _clear(folder: Path, *, keep: int) -> None:
    """Make room: an export that lies there loads no more, and has no fold beyond `keep`."""
    plans = folder / "plans.json"
    if plans.exists():
        try:
            is_ours = _MARK in json.loads(plans.read_text(encoding="utf-8"))
        except ValueError:
            is_ours = False
        if not is_ours:
            raise ValueError(
                f"{plans}: a model that nnU-Net trained lies there and stays as it is; take "
                "another name for the dataset or another folder of results"
            )
        plans.unlink()
    kept = {f"fold_{number}" for number in range(keep)}
    for checkpoint in folder.glob("fold_*/checkpoint_final.pth"):
        if checkpoint.parent.name not in kept:
            checkpoint.unlink()


def _members(model: Model) -> list[dict[str, Tensor]]:
    tensors = load_file(model.weights_file, device="cpu")
    members: list[dict[str, Tensor]] = [{} for _ in range(model.members)]
    for name, tensor in tensors.items():
        member, _, own = name.partition("/")
        members[int(member.removeprefix("member"))][own] = tensor
    return members


def _write_checkpoint(path: Path, checkpoint: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    buffer = io.BytesIO()
    torch.save(dict(checkpoint), buffer)

    def write(file: IO[bytes]) -> None:
        file.write(buffer.getbuffer())

    write_file(path, write)


def _notes(model: Model) -> list[str]:
    """Return what depends on the case or on how nnU-Net is called."""
    preprocessing, windows = model.spec.preprocessing, model.spec.windows
    notes = []
    if preprocessing.axes == "canonical":
        notes.append(
            "nnU-Net takes axes as a file stores them: bring volumes to the order L, P, S first "
            "(flare-io convert --canonical), or labels are those of a turned volume"
        )
    if preprocessing.crop == "none":
        notes.append("nnU-Net crops to voxels that are not 0: equal where no border is all 0")
    if windows.step != _USUAL_STEP:
        notes.append(f"call nnU-Net with -step_size {windows.step}")
    if not windows.mirror_axes:
        notes.append("no axis may be mirrored: nnU-Net leaves its augmentation in prediction out")
    return notes
