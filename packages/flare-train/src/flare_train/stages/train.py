"""One network trained on prepared cases, with a model folder of its end and of every snapshot."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from flare_io.labels import LabelTable
from flare_io.preprocessing import Preprocessing
from flare_train.caches import open_cases
from flare_train.config import TrainConfig
from flare_train.errors import TrainingDataError
from flare_train.export import export_model, write_weights
from flare_train.loop import FitResult, fit
from flare_train.randomness import stream
from flare_train.run import split_cases
from flare_train.snapshots import read_weights
from flare_train.stages.net_settings import TrainSettings
from flare_train.stages.train_config import train_config
from flare_train.stages.work import StageWork
from flare_train.stored_case import StoredCase

__all__ = ["fold_of", "run"]


def run(work: StageWork) -> dict[str, Any]:
    """Train in ``training`` and write ``model`` and ``snapshots/N``.

    Notes
    -----
    A net that restores images knows no labels: it leaves ``training`` alone.
    """
    settings: TrainSettings = work.settings
    store = work.inputs[settings.store].values
    preprocessing = Preprocessing.from_dict(store["preprocessing"])
    config = train_config(settings, restores=work.stage.kind == "pretrain", start=_start(work))
    if config.task == "restore":
        config = _in_hu(config, preprocessing)
    cases, validation = _cases(work)
    table = LabelTable.from_dict(store["table"])
    result = fit(
        config,
        cases,
        work.folder / "training",
        validation=validation,
        device=work.device,
        workers=config.workers,
        names={label: table.name_of(label) for label in config.classes[1:]},
    )
    values: dict[str, Any] = {
        "cases": len(cases),
        "validation_cases": len(validation),
        "iterations": config.iterations,
        "loss": result.records[-1]["loss"],
        "weights": result.checkpoint.relative_to(work.folder).as_posix(),
    }
    if config.task == "segment":
        values["snapshots"] = _export(work, config, result, table, preprocessing)
    return values


def fold_of(ids: tuple[str, ...], fold: int, folds: int, *, seed: int) -> tuple[str, ...]:
    """Return the cases that a fold holds back; every case is held back by one fold.

    Examples
    --------
    >>> folds = [fold_of(("a", "b", "c", "d", "e"), k, 2, seed=0) for k in range(2)]
    >>> sorted(folds[0] + folds[1])
    ['a', 'b', 'c', 'd', 'e']
    """
    order = stream(seed, "folds").permutation(len(ids))
    names = sorted(ids)
    return tuple(sorted(names[int(index)] for index in order[fold::folds]))


def _in_hu(config: TrainConfig, preprocessing: Preprocessing) -> TrainConfig:
    """Tell the transforms which CT numbers the prepared images stand for."""
    intensity = preprocessing.intensities[0]
    if intensity.mean is None or intensity.std is None:
        raise TrainingDataError(
            f"restoring images needs intensities of the scheme ct, got {intensity.scheme!r}; set "
            "preprocessing.intensities"
        )
    genesis = replace(config.genesis, mean_hu=intensity.mean, deviation_hu=intensity.std)
    return replace(config, genesis=genesis)


def _start(work: StageWork) -> Path | None:
    name = work.settings.start
    return work.inputs[name].folder / work.inputs[name].values["weights"] if name else None


def _cases(work: StageWork) -> tuple[tuple[StoredCase, ...], tuple[StoredCase, ...]]:
    """Return the cases to learn from and those held back."""
    settings: TrainSettings = work.settings
    store = work.inputs[settings.store]
    chosen = work.selected(settings.cases)
    ids = tuple(id for id in store.values["cases"] if chosen is None or id in chosen)
    seed = int(settings.config.get("seed", 0))
    learned, held_back = ids, tuple[str, ...]()
    if settings.folds:
        # All folds of a net are cut alike: the seed of its first one.
        held_back = fold_of(ids, settings.fold, settings.folds, seed=seed - settings.fold)
        learned = tuple(id for id in ids if id not in held_back)
    elif settings.validation:
        learned, held_back = split_cases(ids, settings.validation, seed=seed)
    folder = store.folder / "store"
    return open_cases(folder, learned, device=work.device), open_cases(folder, held_back)


def _export(
    work: StageWork,
    config: TrainConfig,
    result: FitResult,
    table: LabelTable,
    preprocessing: Preprocessing,
) -> list[str]:
    """Write the models and return the folders of the snapshots, newest first."""
    store = work.inputs[work.settings.store].values
    common: dict[str, Any] = {
        "table": table,
        "preprocessing": preprocessing,
        "windows": work.settings.windows,
        "provenance": {"dataset": store["dataset"], "stage": work.stage.name},
    }
    export_model(work.folder / "model", result, config, **common)
    names = []
    for number, path in enumerate(result.snapshots, 1):
        names.append(f"snapshots/{number}")
        weights = read_weights(path)
        write_weights(work.folder / names[-1], weights, config, source=path, **common)
    return names
