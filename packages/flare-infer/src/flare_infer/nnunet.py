"""An nnU-Net v2 results folder as a model folder, without nnunetv2 and without running code.

Read are ``plans.json`` (both formats), ``dataset.json`` and ``fold_*/checkpoint_*.pth``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_infer._json import read_object
from flare_infer.errors import ModelError
from flare_infer.model import Model, ModelSpec, write_model
from flare_infer.nnunet_checkpoint import load_nnunet_checkpoint
from flare_infer.nnunet_spec import spec_from_plans

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["import_nnunet"]

_REQUIRED = ("network_weights", "init_args")


def import_nnunet(
    folder: os.PathLike[str] | str,
    output: os.PathLike[str] | str,
    *,
    folds: Sequence[str] | None = None,
    checkpoint: str = "checkpoint_final.pth",
) -> Model:
    """Turn a trained nnU-Net v2 model into a model folder.

    Parameters
    ----------
    folder : path
        Holds ``plans.json``, ``dataset.json`` and ``fold_*``, as nnU-Net's training left it.
    output : path
        The model folder to write.
    folds : sequence of str, optional
        Such as ``("0", "1")`` or ``("all",)``. All folds that hold the checkpoint otherwise, but
        without ``all`` where single folds are there, as nnU-Net chooses.
    checkpoint : str
        File name in each fold's folder.

    Returns
    -------
    Model
        Several folds are an ensemble. Its default mode is ``exact``.

    Raises
    ------
    ModelError
        If a file is missing, broken or would run code, the weights do not fit the plans, or the
        model uses something that flare-infer does not have: cascades, two dimensions, other
        resampling, readers or normalization. The message names it.
    """
    root = Path(folder)
    plans_file, dataset_file = root / "plans.json", root / "dataset.json"
    remedy = "give the folder that holds plans.json, dataset.json and fold_*"
    plans = read_object(plans_file, remedy=remedy)
    dataset = read_object(dataset_file, remedy=remedy)
    chosen = _folds(root, folds, checkpoint)
    files = [root / f"fold_{fold}" / checkpoint for fold in chosen]
    checkpoints = [load_nnunet_checkpoint(file, required=_REQUIRED) for file in files]
    configuration = str(checkpoints[0]["init_args"].get("configuration", ""))
    try:
        spec = spec_from_plans(plans, dataset, configuration, checkpoints[0])
    except ModelError:
        raise
    except KeyError as error:
        remedy = "is it of another nnU-Net version?"
        raise ModelError(plans_file, f"lacks the entry {error}", remedy=remedy) from error
    except (ValueError, TypeError) as error:
        raise ModelError(plans_file, f"cannot be used: {error}") from error
    weights = [_weights(each, spec, file) for each, file in zip(checkpoints, files, strict=True)]
    provenance = {
        "imported_from": "nnU-Net v2",
        "dataset": str(plans.get("dataset_name", "")),
        "plans": str(plans.get("plans_name", "")),
        "configuration": configuration,
        "trainer": str(checkpoints[0].get("trainer_name", "")),
        "folds": list(chosen),
        "sha256": {
            file.relative_to(root).as_posix(): _sha256(file)
            for file in (plans_file, dataset_file, *files)
        },
    }
    return write_model(output, replace(spec, provenance=provenance), weights)


def _folds(root: Path, folds: Sequence[str] | None, checkpoint: str) -> tuple[str, ...]:
    there = sorted(
        path.parent.name.removeprefix("fold_") for path in root.glob(f"fold_*/{checkpoint}")
    )
    if folds is not None:
        missing = [fold for fold in map(str, folds) if fold not in there]
        if missing:
            raise ModelError(root, f"folds {missing} have no {checkpoint}", found=f"folds {there}")
        return tuple(map(str, folds))
    single = tuple(fold for fold in there if fold != "all")
    if not there:
        raise ModelError(
            root,
            f"must hold fold_*/{checkpoint}",
            found=", ".join(sorted(path.name for path in root.iterdir())[:8])
            if root.is_dir()
            else "",
            remedy="name another file with --checkpoint",
        )
    return single or tuple(there)


def _weights(checkpoint: Mapping[str, Any], spec: ModelSpec, path: Path) -> dict[str, Tensor]:
    from flare_nets.adapters import import_weights
    from flare_nets.errors import WeightsError

    try:
        found = import_weights(checkpoint["network_weights"], spec.net)
    except (WeightsError, AttributeError, TypeError) as error:
        raise ModelError(path, f"weights do not fit plans.json: {error}") from error
    return {name: tensor.float() for name, tensor in found.weights.items()}


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
