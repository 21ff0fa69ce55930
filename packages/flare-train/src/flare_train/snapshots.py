"""Weights on disk without the rest of the run: those of certain epochs, and the best.

Tensors are ``net/<name>``; epoch, iteration, scores and settings are one JSON text in the header.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from flare_io.atomic import write_file
from flare_train.config import TrainConfig
from flare_train.errors import CheckpointError

__all__ = [
    "find_snapshots",
    "read_weights",
    "save_snapshot",
    "save_weights",
    "snapshot_is_due",
    "write_tensors",
]

_NAME = re.compile(r"epoch_(\d{6})\.safetensors")
# In the order of preference: the average is the net that a run is for.
_PREFIXES = ("average/", "net/")


def snapshot_is_due(config: TrainConfig, epoch: int) -> bool:
    """Return whether the weights after an epoch, counted from 1, are to be kept.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> config = SimpleNamespace(epochs=1000, snapshot_every=50, keep_snapshots=3)
    >>> [epoch for epoch in range(1, 1001) if snapshot_is_due(config, epoch)]
    [900, 950, 1000]
    """
    every, left = config.snapshot_every, config.epochs - epoch
    return every > 0 and left % every == 0 and left // every < config.keep_snapshots


def save_snapshot(
    folder: os.PathLike[str] | str, weights: Mapping[str, Tensor], record: Mapping[str, Any]
) -> Path:
    """Write the weights after the epoch ``record["epoch"]`` into a folder.

    Returns
    -------
    Path
        ``epoch_<epoch>.safetensors``.
    """
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"epoch_{record['epoch']:06d}.safetensors"
    save_weights(path, weights, record)
    return path


def find_snapshots(folder: os.PathLike[str] | str) -> list[Path]:
    """Return the snapshots of a folder, newest first; none if there is no folder."""
    found = [path for path in Path(folder).glob("epoch_*") if _NAME.fullmatch(path.name)]
    return sorted(found, reverse=True)


def save_weights(
    path: os.PathLike[str] | str, weights: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Write weights and what is known of them, all or nothing."""
    tensors = {f"net/{name}": value for name, value in weights.items()}
    write_tensors(path, tensors, record)


def write_tensors(
    path: os.PathLike[str] | str, tensors: Mapping[str, Tensor], record: Mapping[str, Any]
) -> None:
    """Write a safetensors file with a JSON record, read back before it takes its name.

    Equal content gives equal bytes.
    """
    plain = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # One key alone: the writer does not promise an order of several.
    content = save(plain, {"flare": json.dumps(record, sort_keys=True)})

    def write(file: IO[bytes]) -> None:
        file.write(content)

    write_file(path, write, verify=_open)


def read_weights(path: os.PathLike[str] | str) -> dict[str, Tensor]:
    """Return the weights of a snapshot, of the best epoch or of a checkpoint, by name in the net.

    Of a checkpoint with a running average, the average.

    Raises
    ------
    CheckpointError
        If the file is damaged or holds no net.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            # No mapping: it has keys() alone.
            names = list(file.keys())
            for prefix in _PREFIXES:
                chosen = [name for name in names if name.startswith(prefix)]
                if chosen:
                    return {name.removeprefix(prefix): file.get_tensor(name) for name in chosen}
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path}: not a whole file of weights ({error}); use another one"
        ) from error
    raise CheckpointError(f"{path}: holds no weights of flare-train; use a snapshot or checkpoint")


def _open(path: Path) -> None:
    # Opening checks that the file has its full length.
    with safe_open(str(path), framework="pt") as file:
        file.metadata()
