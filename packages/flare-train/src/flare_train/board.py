"""The records of a run for TensorBoard, if it is installed."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

__all__ = ["Board"]


class Board:
    """Writer of event files; until `open` is called it writes nothing."""

    def __init__(self) -> None:
        self._writer: Any = None

    def open(self, folder: os.PathLike[str] | str, *, iteration: int) -> None:
        """Begin to write to a folder; what other files of it hold after `iteration` is void.

        Raises
        ------
        ModuleNotFoundError
            If TensorBoard is not installed.
        """
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "tensorboard = true needs TensorBoard, which is not installed; "
                "pip install 'flare-train[tensorboard]' or set tensorboard = false"
            ) from error
        self._writer = SummaryWriter(os.fspath(folder), purge_step=iteration + 1)

    def add(self, record: Mapping[str, Any], *, names: Mapping[int, str]) -> None:
        """Write one record of an epoch."""
        if self._writer is None:
            return
        step = record["iteration"]
        for name in ("loss", "learning_rate", "score", "restoration"):
            if record.get(name) is not None:
                self._writer.add_scalar(name, record[name], step)
        for label, value in record["dice"].items():
            if value is not None:
                self._writer.add_scalar(f"dice/{names.get(int(label), label)}", value, step)
        self._writer.flush()
