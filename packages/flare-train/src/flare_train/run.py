"""A whole run in one folder: dataset to store to net to model, finished by calling it again.

``DIR/run.json`` (what was asked), ``store/``, ``training/`` (records, picture, checkpoints) and
``model/`` (for flare-infer).
"""

from __future__ import annotations

import dataclasses
import json
import os
import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from flare_io.atomic import write_json
from flare_io.dataset import Dataset, read_dataset
from flare_io.preprocessing import Preprocessing
from flare_train.caches import open_cases
from flare_train.cases import build_store, training_cases
from flare_train.config import TrainConfig
from flare_train.distributed import World, join_world
from flare_train.export import export_model
from flare_train.loop import fit
from flare_train.randomness import stream

__all__ = ["RunConfig", "fit_dataset", "read_run_config", "resume", "split_cases"]


@dataclass(frozen=True, kw_only=True)
class RunConfig:
    """What a run does with a dataset.

    Parameters
    ----------
    train : TrainConfig
    preprocessing : Preprocessing
        Goes into the model as well.
    validation_cases : int
        How many labeled cases are held back for the Dice of the records; drawn by the seed.
    """

    train: TrainConfig
    preprocessing: Preprocessing
    validation_cases: int = 0

    def __post_init__(self) -> None:
        if self.validation_cases < 0:
            raise ValueError(f"validation_cases must be >= 0, got {self.validation_cases}")

    def to_dict(self) -> dict[str, Any]:
        """Return plain values; `from_dict` is the way back."""
        return {
            "validation_cases": self.validation_cases,
            "preprocessing": self.preprocessing.to_dict(),
            "train": self.train.to_dict(),
        }

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> RunConfig:
        """Return the settings of a dict; an unknown key is an error."""
        known = {entry.name for entry in dataclasses.fields(cls)}
        unknown = sorted(set(plain) - known)
        if unknown:
            raise ValueError(f"unknown setting {unknown[0]}; a run has {', '.join(sorted(known))}")
        missing = sorted({"train", "preprocessing"} - set(plain))
        if missing:
            raise ValueError(f"a run needs the settings {', '.join(missing)}")
        return cls(
            train=TrainConfig.from_dict(plain["train"]),
            preprocessing=Preprocessing.from_dict(plain["preprocessing"]),
            validation_cases=int(plain.get("validation_cases", 0)),
        )


def read_run_config(
    path: os.PathLike[str] | str, *, changes: Mapping[str, Any] | None = None
) -> RunConfig:
    """Read the settings of a run from a TOML or JSON file.

    Parameters
    ----------
    path : path
        ``.toml`` or ``.json``.
    changes : mapping of str to object, optional
        Values by dotted name, such as ``{"train.batch": 4}``, that replace those of the file.

    Raises
    ------
    ValueError
        If the file does not parse, or a setting is unknown or breaks its rule.
    """
    source = Path(path)
    text = source.read_text(encoding="utf-8")
    try:
        plain = tomllib.loads(text) if source.suffix == ".toml" else json.loads(text)
    except ValueError as error:
        raise ValueError(f"{source}: is no readable {source.suffix[1:]} file: {error}") from error
    for name, value in (changes or {}).items():
        *tables, last = name.split(".")
        table = plain
        for part in tables:
            table = table.setdefault(part, {})
        table[last] = value
    return RunConfig.from_dict(plain)


def fit_dataset(
    dataset: os.PathLike[str] | str,
    output: os.PathLike[str] | str,
    config: RunConfig,
    *,
    labels: os.PathLike[str] | str | None = None,
    completed: Iterable[int] | None = None,
    device: torch.device | str = "cpu",
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Train on a dataset folder and write a model.

    Parameters
    ----------
    dataset : path
        nnU-Net's or FLARE's folder, as `flare_io.read_dataset` reads it.
    output : path
        Folder of the run. What already lies there and belongs to the same run is kept.
    config : RunConfig
    labels, completed : path, iterable of int, optional
        Folder of other label maps and what they show, see `training_cases`.
    device : torch.device or str, optional
        Where the net is trained. Under ``torchrun`` the first process prepares the cases and writes
        the model, and all train.
    jobs : int, optional
        Cases prepared at the same time.
    progress : callable, optional
        Called as ``progress(case, done, total)`` while cases are prepared.

    Returns
    -------
    Path
        The model folder.
    """
    root = Path(output)
    source = read_dataset(dataset)
    complete = None if completed is None else sorted(completed)
    with join_world(device) as world:
        ids: tuple[str, ...] = ()
        if world.is_first:
            asked = {
                "dataset": os.path.abspath(dataset),
                "labels": None if labels is None else os.path.abspath(labels),
                "completed": complete,
                "config": config.to_dict(),
            }
            root.mkdir(parents=True, exist_ok=True)
            write_json(root / "run.json", asked)
            ids = build_store(
                training_cases(source, labels=labels, completed=complete),
                config.preprocessing,
                root / "store",
                table=source.table,
                jobs=jobs,
                progress=progress,
            )
        return _train(root, config, world.share(ids), source=source, world=world)


def _train(
    root: Path, config: RunConfig, ids: tuple[str, ...], *, source: Dataset, world: World
) -> Path:
    """Train on a store that is there, and write the model."""
    table = source.table
    learned, held_back = split_cases(ids, config.validation_cases, seed=config.train.seed)
    result = fit(
        config.train,
        open_cases(root / "store", learned, device=world.device),
        root / "training",
        validation=open_cases(root / "store", held_back),
        device=world.device,
        names={label: table.name_of(label) for label in config.train.classes[1:]},
    )
    if world.is_first:
        export_model(
            root / "model",
            result,
            config.train,
            table=table,
            preprocessing=config.preprocessing,
            provenance={"dataset": source.name, "cases": len(learned)},
        )
    # The others do not leave before the model is whole: torchrun ends all once one has failed.
    world.gather(None)
    return root / "model"


def resume(
    folder: os.PathLike[str] | str,
    *,
    device: torch.device | str = "cpu",
    jobs: int = 1,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Go on with the run of a folder; a finished one is left as it is."""
    path = Path(folder) / "run.json"
    try:
        asked = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ValueError(
            f"{path}: there is no run in this folder; start one with flare-train fit"
        ) from error
    return fit_dataset(
        asked["dataset"],
        folder,
        RunConfig.from_dict(asked["config"]),
        labels=asked["labels"],
        completed=asked["completed"],
        device=device,
        jobs=jobs,
        progress=progress,
    )


def split_cases(
    ids: tuple[str, ...], held_back: int, *, seed: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the cases to learn from and those held back, both sorted; the seed decides.

    Examples
    --------
    >>> learned, held_back = split_cases(("a", "b", "c", "d"), 1, seed=0)
    >>> sorted((*learned, *held_back)), len(held_back)
    (['a', 'b', 'c', 'd'], 1)
    """
    if held_back >= len(ids):
        raise ValueError(
            f"validation_cases must leave a case to learn from, got {held_back} of {len(ids)}"
        )
    order = stream(seed, "split").permutation(len(ids))
    names = [sorted(ids)[index] for index in order]
    return tuple(sorted(names[held_back:])), tuple(sorted(names[:held_back]))
