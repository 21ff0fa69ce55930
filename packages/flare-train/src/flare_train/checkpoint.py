"""A run on disk: one safetensors file per checkpoint, with everything an exact resume needs.

Tensors are ``net/<name>``, ``average/<name>`` and ``optimizer/<parameter>/<slot>``; the rest
(iteration, losses of the open epoch, settings, fingerprint of the data) is one JSON text in the
file's header. Random numbers need no state: they are named by seed and iteration. Loading runs no
code.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flare_train.config import BOOKKEEPING, TrainConfig
from flare_train.errors import CheckpointError
from flare_train.optimizers import Plateau
from flare_train.snapshots import write_tensors
from flare_train.state import TrainState, build_state

__all__ = ["find_checkpoints", "load_checkpoint", "save_checkpoint"]

FORMAT = 2
_NAME = re.compile(r"checkpoint_(\d{9})\.safetensors")


def save_checkpoint(
    folder: os.PathLike[str] | str, state: TrainState, config: TrainConfig, *, data: str = ""
) -> Path:
    """Write the state, then remove checkpoints beyond the newest ``config.keep_checkpoints``.

    Parameters
    ----------
    folder : path
        Made if it is not there.
    state : TrainState
    config : TrainConfig
    data : str, optional
        Fingerprint of the training cases; `load_checkpoint` compares it.

    Returns
    -------
    Path
        ``checkpoint_<iteration>.safetensors``. Equal states give equal bytes.

    Notes
    -----
    The name appears once the file is whole and was read back; older checkpoints are removed after
    that, so a kill at any moment leaves one that loads.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    record = {
        "format": FORMAT,
        "iteration": state.iteration,
        "epoch_losses": state.epoch_losses,
        "plateau": dataclasses.asdict(state.plateau),
        "best_score": state.best_score,
        "scaler": None if state.scaler is None else state.scaler.state_dict(),
        "config": config.to_dict(),
        "data": data,
    }
    path = root / f"checkpoint_{state.iteration:09d}.safetensors"
    write_tensors(path, _tensors(state), record)
    for old in find_checkpoints(root)[config.keep_checkpoints :]:
        old.unlink(missing_ok=True)
    return path


def find_checkpoints(folder: os.PathLike[str] | str) -> list[Path]:
    """Return the checkpoints of a folder, newest first; none if there is no folder."""
    root = Path(folder)
    found = [
        entry for entry in root.glob("checkpoint_*.safetensors") if _NAME.fullmatch(entry.name)
    ]
    return sorted(found, reverse=True)


def load_checkpoint(
    path: os.PathLike[str] | str,
    config: TrainConfig,
    *,
    data: str = "",
    device: torch.device | str = "cpu",
) -> TrainState:
    """Return the state of a checkpoint.

    Parameters
    ----------
    path : path
        A file of `save_checkpoint`.
    config : TrainConfig
        Settings of the run that goes on. Only how often to validate and save may differ.
    data : str, optional
        Fingerprint of the training cases.
    device : torch.device or str, optional
        Where the weights go.

    Raises
    ------
    CheckpointError
        If the file is damaged, or was written under other settings or with other cases; the message
        names the first difference.
    """
    record = _read_record(Path(path))
    difference = _first_difference(record["config"], config.to_dict())
    if difference:
        raise CheckpointError(
            f"{path}: was trained with other settings, {difference}; "
            "use the same settings or another output folder"
        )
    if record["data"] != data:
        raise CheckpointError(
            f"{path}: was trained on other cases or labels than those given now; "
            "use the same cases or another output folder"
        )
    state = build_state(config, device=device, resumes=True)
    with safe_open(str(path), framework="pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no dict)
    _restore(state, tensors)
    state.iteration = int(record["iteration"])
    state.epoch_losses = [float(loss) for loss in record["epoch_losses"]]
    state.plateau = Plateau(**record["plateau"])
    state.best_score = record["best_score"]
    if state.scaler is not None:
        state.scaler.load_state_dict(record["scaler"])
    return state


def _tensors(state: TrainState) -> dict[str, Tensor]:
    tensors = {f"net/{name}": value for name, value in state.net.state_dict().items()}
    if state.average is not None:
        averages = state.average.state_dict()
        tensors |= {f"average/{name}": value for name, value in averages.items()}
    for name, parameter in state.net.named_parameters():
        for slot, value in state.optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                tensors[f"optimizer/{name}/{slot}"] = value
    return tensors


def _restore(state: TrainState, tensors: Mapping[str, Tensor]) -> None:
    for prefix, net in (("net/", state.net), ("average/", state.average)):
        if net is not None:
            net.load_state_dict(_below(tensors, prefix))
    for name, parameter in state.net.named_parameters():
        for slot, value in _below(tensors, f"optimizer/{name}/").items():
            if value.shape == parameter.shape:
                # Like the parameter in device and memory order, as the optimizer made it.
                restored = torch.empty_like(parameter, requires_grad=False).copy_(value)
            else:
                restored = value.clone()
            state.optimizer.state[parameter][slot] = restored


def _below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): value
        for name, value in tensors.items()
        if name.startswith(prefix)
    }


def _read_record(path: Path) -> dict[str, Any]:
    """Return the JSON record; opening checks that the file has its full length."""
    try:
        with safe_open(str(path), framework="pt") as file:
            record = json.loads((file.metadata() or {})["flare"])
    except (SafetensorError, OSError, KeyError, ValueError) as error:
        raise CheckpointError(
            f"{path}: not a whole checkpoint of flare-train ({error}); "
            "remove the file to go on from the one before"
        ) from error
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: checkpoint format must be {FORMAT}; "
            "use the version of flare-train that wrote it"
        )
    return record


def _first_difference(old: Mapping[str, Any], new: Mapping[str, Any], prefix: str = "") -> str:
    for name in sorted(set(old) | set(new)):
        if not prefix and name in BOOKKEEPING:
            continue
        before, after = old.get(name), new.get(name)
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            inner = _first_difference(before, after, f"{prefix}{name}.")
            if inner:
                return inner
        elif before != after:
            return f"{prefix}{name} {before!r} there and {after!r} here"
    return ""
