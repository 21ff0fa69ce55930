"""What a stage is given to work with, what it leaves, and how that is found again."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_io.atomic import write_json
from flare_train.stages.graph import Stage

if TYPE_CHECKING:
    from flare_io.dataset import Dataset

__all__ = ["StageResult", "StageWork", "read_result", "stage_folder", "write_result"]

_RESULT, _SPENT = "stage.json", "spent.json"
_KEY_LETTERS = 12


@dataclass(frozen=True, kw_only=True)
class StageResult:
    """What a finished stage left.

    Parameters
    ----------
    name, kind, key : str
    folder : Path
        Its files.
    values : mapping
        JSON-ready facts about them.
    seconds : float
        Wall time of all attempts together.
    """

    name: str
    kind: str
    key: str
    folder: Path
    values: Mapping[str, Any]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class StageWork:
    """What the function of a kind is given.

    Parameters
    ----------
    stage : Stage
    settings : object
        Of the class that `kinds.KINDS` names for the kind.
    folder : Path
        Exists; what an attempt that was cut short left is in it.
    inputs : mapping of str to StageResult
    device : str
        Where nets run.
    jobs : int
        Cases at the same time.
    """

    stage: Stage
    settings: Any
    folder: Path
    inputs: Mapping[str, StageResult]
    device: str = "cpu"
    jobs: int = 1

    def dataset(self) -> Dataset:
        """Return the dataset of the input that ``settings.data`` names."""
        from flare_io.dataset import read_dataset

        result = self.inputs[self.settings.data]
        return read_dataset(
            result.folder / result.values["root"], k_source=result.values["k_source"]
        )

    def selected(self, stage: str) -> frozenset[str] | None:
        """Return the case ids of a selection; None, for all, without one."""
        return frozenset(self.inputs[stage].values["cases"]) if stage else None


def stage_folder(root: os.PathLike[str] | str, stage: Stage, key: str) -> Path:
    """Return the folder of a stage: another one for every key, so that nothing is overwritten."""
    return Path(root) / "stages" / stage.name / key[:_KEY_LETTERS]


def read_result(folder: Path, stage: Stage, key: str) -> StageResult | None:
    """Return what a stage left, or None if it is not finished."""
    try:
        record = json.loads((folder / _RESULT).read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        return StageResult(
            name=stage.name,
            kind=stage.kind,
            key=key,
            folder=folder,
            values=record["values"],
            seconds=float(record["seconds"]),
        )
    except (OSError, ValueError, KeyError, TypeError):
        return None


def write_result(
    folder: Path, stage: Stage, key: str, values: Mapping[str, Any], *, inputs: Mapping[str, str]
) -> StageResult:
    """Declare a stage finished; the last file that it writes."""
    record = {
        "name": stage.name,
        "kind": stage.kind,
        "key": key,
        "settings": dict(stage.settings),
        "inputs": dict(inputs),
        "values": dict(values),
        "seconds": round(spent_seconds(folder), 2),
        "flare_train": version("flare-train"),
    }
    write_json(folder / _RESULT, record)
    result = read_result(folder, stage, key)
    assert result is not None
    return result


def spent_seconds(folder: Path) -> float:
    """Return the wall time of all attempts at a stage so far."""
    try:
        return float(json.loads((folder / _SPENT).read_text(encoding="utf-8"))["seconds"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0.0


def add_seconds(folder: Path, seconds: float) -> None:
    """Add the wall time of an attempt, whether it was finished or cut short."""
    write_json(folder / _SPENT, {"seconds": spent_seconds(folder) + seconds})
