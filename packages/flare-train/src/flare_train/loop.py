"""The training loop: plain PyTorch, one process, stoppable and resumable at every iteration."""

from __future__ import annotations

import hashlib
import logging
import os
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from flare_io.atomic import write_json
from flare_train.admission import check_cases
from flare_train.batches import build_batch, iterate_batches
from flare_train.checkpoint import find_checkpoints, load_checkpoint, save_checkpoint
from flare_train.config import TrainConfig
from flare_train.errors import StoppedError
from flare_train.optimizers import learning_rate
from flare_train.records import append_record, draw_progress, read_records, trim_records
from flare_train.signals import StopRequest
from flare_train.state import TrainState, build_state, train_step
from flare_train.store import StoredCase
from flare_train.validate import validate

__all__ = ["FitResult", "fit"]

logger = logging.getLogger(__name__)


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
    workers: int = 0,
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
        Holds ``config.json``, ``metrics.jsonl``, ``progress.png`` and ``checkpoints/``.
    validation : sequence of StoredCase, optional
        Cases for the Dice of the records; they change no weight.
    device : torch.device or str, optional
        Where the net is trained.
    workers : int, optional
        Threads that read patches ahead.
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
    with the same bytes as an unbroken one.
    """
    ordered = sorted(cases, key=lambda case: case.id)
    check_cases(ordered, config)
    run = _Run(
        config=config,
        folder=Path(folder),
        data=_fingerprint(ordered),
        validation=sorted(validation, key=lambda case: case.id),
        names=dict(names or {label: str(label) for label in config.classes[1:]}),
    )
    state = run.begin(device)
    with StopRequest() as stop, _progress_bar(config, state.iteration) as bar:
        run.close_epoch_if_due(state, stop)
        batches = iterate_batches(
            partial(build_batch, ordered, config),
            state.iteration,
            config.iterations,
            workers=workers,
        )
        for batch in batches:
            loss = train_step(state, batch, config, spacing_mm=ordered[0].spacing_mm)
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            bar.update()
            run.close_epoch_if_due(state, stop)
            if stop.requested:
                run.stop(state, stop.name)
    records = read_records(run.metrics)
    return FitResult(state, find_checkpoints(run.checkpoints)[0], tuple(records))


@dataclass(frozen=True)
class _Run:
    """The unchanging side of a run: where its files lie and what it validates on."""

    config: TrainConfig
    folder: Path
    data: str
    validation: Sequence[StoredCase]
    names: Mapping[int, str]

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def begin(self, device: torch.device | str) -> TrainState:
        self.folder.mkdir(parents=True, exist_ok=True)
        found = find_checkpoints(self.checkpoints)
        if found:
            state = load_checkpoint(found[0], self.config, data=self.data, device=device)
            logger.info("going on from iteration %d of %d", state.iteration, self.config.iterations)
        else:
            state = build_state(self.config, device=device)
        write_json(self.folder / "config.json", self.config.to_dict())
        trim_records(self.metrics, iteration=state.iteration)
        return state

    def stop(self, state: TrainState, signal_name: str) -> None:
        path = save_checkpoint(self.checkpoints, state, self.config, data=self.data)
        raise StoppedError(
            f"stopped by {signal_name} at iteration {state.iteration} of {self.config.iterations}, "
            f"state saved in {path}; run the same command again to go on"
        )

    def close_epoch_if_due(self, state: TrainState, stop: StopRequest) -> None:
        """Validate, record and save after the last iteration of an epoch."""
        config = self.config
        if not state.epoch_losses or state.iteration % config.iterations_per_epoch:
            return
        epoch = state.iteration // config.iterations_per_epoch
        last = epoch == config.epochs
        dice: dict[int, float | None] | None = {}
        if (
            self.validation
            and config.validate_every
            and (last or not epoch % config.validate_every)
        ):
            dice = validate(state.net, self.validation, config, should_stop=lambda: stop.requested)
        if dice is None:
            # The losses stay in the state: the resumed run closes this epoch first.
            self.stop(state, stop.name)
            return
        self._record(state, epoch, dice)
        if last or not epoch % config.checkpoint_every:
            save_checkpoint(self.checkpoints, state, config, data=self.data)
            draw_progress(
                self.folder / "progress.png", read_records(self.metrics), names=self.names
            )

    def _record(self, state: TrainState, epoch: int, dice: Mapping[int, float | None]) -> None:
        config = self.config
        scores = [value for value in dice.values() if value is not None]
        loss = float(np.mean(state.epoch_losses))
        state.epoch_losses = []
        append_record(
            self.metrics,
            {
                "epoch": epoch,
                "iteration": state.iteration,
                "samples": state.iteration * config.batch,
                "loss": loss,
                "learning_rate": learning_rate(config, state.iteration - 1),
                "dice": {str(label): value for label, value in dice.items()},
                "finished_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            },
        )
        text = f", validation Dice {np.mean(scores):.3f}" if scores else ""
        logger.info("epoch %d/%d: loss %.4f%s", epoch, config.epochs, loss, text)


def _fingerprint(cases: Sequence[StoredCase]) -> str:
    parts = [(case.id, case.key, case.shape, sorted(case.annotated)) for case in cases]
    return hashlib.sha256(repr(parts).encode()).hexdigest()


def _progress_bar(config: TrainConfig, done: int) -> Any:
    # In a log file the line of every epoch says as much as a bar.
    return tqdm(
        total=config.iterations,
        initial=done,
        desc="training",
        unit="it",
        disable=not sys.stderr.isatty(),
    )
