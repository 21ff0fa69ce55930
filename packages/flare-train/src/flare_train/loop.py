"""The training loop: plain PyTorch, alone or under torchrun, stoppable at every iteration."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from flare_train.admission import check_cases
from flare_train.batches import build_batch, iterate_batches
from flare_train.checkpoint import find_checkpoints
from flare_train.config import TrainConfig
from flare_train.distributed import World, join_world
from flare_train.epoch import Run
from flare_train.records import read_records
from flare_train.signals import StopRequest
from flare_train.snapshots import find_snapshots
from flare_train.state import TrainState
from flare_train.stored_case import StoredCase
from flare_train.update import train_step

__all__ = ["FitResult", "fit"]


@dataclass(frozen=True)
class FitResult:
    """What a finished run left.

    Parameters
    ----------
    state : TrainState
        After the last update.
    checkpoint : Path
        The last checkpoint.
    records : tuple of dict
        One per epoch, as in ``metrics.jsonl``.
    snapshots : tuple of Path
        Weights of earlier epochs, newest first.
    best : Path or None
        Weights of the best validation, if they were to be kept.
    ema : dict of str to Tensor, or None
        Running average of the weights, if there was to be one.
    """

    state: TrainState
    checkpoint: Path
    records: tuple[dict[str, Any], ...]
    snapshots: tuple[Path, ...] = ()
    best: Path | None = None
    ema: dict[str, Tensor] | None = None

    @property
    def weights(self) -> dict[str, Tensor]:
        """What the run is for: the running average if there is one, else the last weights."""
        return self.state.net.state_dict() if self.ema is None else self.ema


def fit(
    config: TrainConfig,
    cases: Sequence[StoredCase],
    folder: os.PathLike[str] | str,
    *,
    validation: Sequence[StoredCase] = (),
    device: torch.device | str = "cpu",
    workers: int | None = None,
    names: Mapping[int, str] | None = None,
) -> FitResult:
    """Train, from the newest checkpoint of the folder if there is one.

    Parameters
    ----------
    config : TrainConfig
        All settings that decide the result.
    cases : sequence of StoredCase
        Training cases, at least one. Sorted by id here, so their order does not matter.
    folder : path
        Holds ``config.json``, ``metrics.jsonl``, ``progress.png`` and ``checkpoints/``; with
        snapshots ``snapshots/``, with ``config.keep_best`` the file ``best.safetensors``.
    validation : sequence of StoredCase, optional
        Cases for the Dice of the records; they change no weight.
    device : torch.device or str, optional
        Where the net is trained. Under ``torchrun``, ``"cuda"`` is the one of the local rank.
    workers : int, optional
        Threads that read patches ahead; default ``config.workers``.
    names : mapping of int to str, optional
        Names of the label ids, for the picture.

    Returns
    -------
    FitResult

    Raises
    ------
    TrainingDataError
        If the cases do not fit the settings.
    CheckpointError
        If the folder holds a run with other settings or other cases.
    DivergedError
        If the loss is no longer finite; the checkpoints before it stay.
    StoppedError
        If SIGTERM or SIGUSR1 came; the state is saved and the same call goes on from there.

    Notes
    -----
    On one CPU with the same number of threads, a run that was stopped anywhere and resumed ends
    with the same bytes as an unbroken one. Several processes end with the same net up to rounding.
    """
    ordered = sorted(cases, key=lambda case: case.id)
    check_cases(ordered, config)
    with join_world(device) as world, _cudnn_by_trial():
        _check_shares(config, world)
        run = Run(
            config=config,
            folder=Path(folder),
            data=_fingerprint(ordered),
            validation=sorted(validation, key=lambda case: case.id),
            names=dict(names or {label: str(label) for label in config.classes[1:]}),
            world=world,
        )
        state = run.begin()
        _train(run, state, ordered, workers=config.workers if workers is None else workers)
        return FitResult(
            state=state,
            checkpoint=world.share(find_checkpoints(run.checkpoints)[:1])[0],
            records=tuple(read_records(run.metrics)),
            snapshots=tuple(find_snapshots(run.snapshots)),
            best=run.best if run.best.is_file() else None,
            ema=None if state.average is None else state.average.state_dict(),
        )


def _train(run: Run, state: TrainState, cases: Sequence[StoredCase], *, workers: int) -> None:
    config, world = run.config, run.world
    build = partial(build_batch, cases, config, rank=world.rank, world=world.size)
    with StopRequest() as stop, _progress_bar(run, state.iteration) as bar:
        run.close_epoch_if_due(state, stop)
        batches = iterate_batches(build, state.iteration, config.iterations, workers=workers)
        while state.iteration < config.iterations:
            asked = time.perf_counter()
            batch = next(batches)
            run.watch.waited += time.perf_counter() - asked
            loss = train_step(state, batch, config, spacing_mm=cases[0].spacing_mm, world=world)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            run.close_epoch_if_due(state, stop)
            if world.any(stop.requested):
                run.stop(state, stop)


def _check_shares(config: TrainConfig, world: World) -> None:
    parts = world.size * config.accumulate
    if config.batch % parts:
        larger = -(-config.batch // parts) * parts
        raise ValueError(
            f"batch must be a multiple of processes x accumulate, {world.size} x "
            f"{config.accumulate}, got {config.batch}; set batch to {larger}"
        )


@contextmanager
def _cudnn_by_trial() -> Iterator[None]:
    """Let cuDNN choose its algorithms by trial, as all patches have one size."""
    before = torch.backends.cudnn.benchmark
    torch.backends.cudnn.benchmark = True
    try:
        yield
    finally:
        torch.backends.cudnn.benchmark = before


def _fingerprint(cases: Sequence[StoredCase]) -> str:
    parts = [(case.id, case.key, case.shape, sorted(case.annotated)) for case in cases]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _progress_bar(run: Run, done: int) -> Any:
    # In a log file the line of every epoch says as much as a bar.
    return tqdm(
        total=run.config.iterations,
        initial=done,
        desc="training",
        unit="it",
        disable=not (run.world.is_first and sys.stderr.isatty()),
    )
