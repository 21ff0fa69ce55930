"""What happens at the end of an epoch, and the files of a run."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flare_io.atomic import write_json
from flare_train.board import Board
from flare_train.checkpoint import find_checkpoints, load_checkpoint, save_checkpoint
from flare_train.config import TrainConfig
from flare_train.distributed import World
from flare_train.errors import StoppedError
from flare_train.optimizers import learning_rate
from flare_train.records import append_record, draw_progress, read_records, trim_records
from flare_train.restoration import validate_restoration
from flare_train.signals import StopRequest
from flare_train.snapshots import save_snapshot, save_weights, snapshot_is_due
from flare_train.state import TrainState, build_state
from flare_train.stored_case import StoredCase
from flare_train.validate import validate

__all__ = ["Run", "Stopwatch"]

logger = logging.getLogger(__name__)


@dataclass
class Stopwatch:
    """Seconds of the open epoch, as far as this process saw it."""

    begun: float = field(default_factory=time.perf_counter)
    waited: float = 0.0

    def lap(self) -> dict[str, float]:
        """Return the seconds since the last lap, and of these the wait for batches."""
        now = time.perf_counter()
        seconds = {"all": round(now - self.begun, 3), "wait": round(self.waited, 3)}
        self.begun, self.waited = now, 0.0
        return seconds


@dataclass(frozen=True)
class Run:
    """The unchanging side of a run: its settings, where its files lie, what it validates on.

    Parameters
    ----------
    config : TrainConfig
    folder : Path
    data : str
        Fingerprint of the training cases.
    validation : sequence of StoredCase
    names : mapping of int to str
        Of the label ids, for the picture.
    world : World
        Its first process writes the files.
    """

    config: TrainConfig
    folder: Path
    data: str
    validation: Sequence[StoredCase]
    names: Mapping[int, str]
    world: World
    watch: Stopwatch = field(default_factory=Stopwatch)
    board: Board = field(default_factory=Board)

    @property
    def metrics(self) -> Path:
        """One JSON line per epoch."""
        return self.folder / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Folder of the newest checkpoints."""
        return self.folder / "checkpoints"

    @property
    def snapshots(self) -> Path:
        """Folder of the weights of certain epochs."""
        return self.folder / "snapshots"

    @property
    def best(self) -> Path:
        """Weights of the best validation."""
        return self.folder / "best.safetensors"

    def begin(self) -> TrainState:
        """Return the state of the newest checkpoint, or a fresh one."""
        config, device = self.config, self.world.device
        found = self.world.share(find_checkpoints(self.checkpoints))
        if found:
            state = load_checkpoint(found[0], config, data=self.data, device=device)
            if self.world.is_first:
                logger.info("going on from iteration %d of %d", state.iteration, config.iterations)
        else:
            state = build_state(config, device=device)
        if self.world.is_first:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(self.folder / "config.json", config.to_dict())
            trim_records(self.metrics, iteration=state.iteration)
            if config.tensorboard:
                self.board.open(self.folder / "tensorboard", iteration=state.iteration)
        return state

    def stop(self, state: TrainState, stop: StopRequest) -> None:
        """Save the state and raise `StoppedError` in every process."""
        name = next(name for name in self.world.gather(stop.name) if name)
        path = self.checkpoints
        if self.world.is_first:
            path = save_checkpoint(self.checkpoints, state, self.config, data=self.data)
        # torchrun ends all processes as soon as one is gone.
        self.world.gather(None)
        raise StoppedError(
            f"stopped by {name} at iteration {state.iteration} of {self.config.iterations}, "
            f"state saved in {path}; run the same command again to go on"
        )

    def close_epoch_if_due(self, state: TrainState, stop: StopRequest) -> None:
        """Validate, record and save after the last iteration of an epoch."""
        config = self.config
        if not state.epoch_losses or state.iteration % config.iterations_per_epoch:
            return
        epoch = state.iteration // config.iterations_per_epoch
        last = epoch == config.epochs
        scores: dict[str, Any] | None = {}
        every = config.validate_every
        if self.validation and every and (last or not epoch % every):
            scores = self._validate(state, stop)
        if scores is None:
            # The losses stay in the state: the resumed run closes this epoch first.
            self.stop(state, stop)
            return
        record = self._close(state, epoch, scores)
        if self.world.is_first:
            self._write(state, record, last=last)

    def _validate(self, state: TrainState, stop: StopRequest) -> dict[str, Any] | None:
        net, config = state.judged, self.config
        if config.task == "restore":
            loss = validate_restoration(
                net,
                self.validation,
                config,
                should_stop=lambda: stop.requested,
                world=self.world,
            )
            return None if loss is None else {"restoration": loss, "score": -loss}
        dice = validate(
            net,
            self.validation,
            config,
            should_stop=lambda: stop.requested,
            world=self.world,
        )
        if dice is None:
            return None
        known = [value for value in dice.values() if value is not None]
        return {
            "dice": {str(label): value for label, value in dice.items()},
            "score": float(np.mean(known)) if known else None,
        }

    def _close(self, state: TrainState, epoch: int, scores: Mapping[str, Any]) -> dict[str, Any]:
        config = self.config
        loss = float(np.mean(state.epoch_losses))
        rate = learning_rate(config, state.iteration - 1, cuts=state.plateau.cuts)
        state.epoch_losses = []
        state.plateau = state.plateau.after(loss, every=config.schedule.every)
        score = scores.get("score")
        is_best = score is not None and (state.best_score is None or score > state.best_score)
        if is_best:
            state.best_score = score
        return {
            "epoch": epoch,
            "iteration": state.iteration,
            "samples": state.iteration * config.batch,
            "loss": loss,
            "learning_rate": rate,
            "dice": {},
            **scores,
            "best": is_best,
            "seconds": self.watch.lap(),
            "finished_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        }

    def _write(self, state: TrainState, record: dict[str, Any], *, last: bool) -> None:
        """Weights first, then the record, the checkpoint last: a kill repeats what is missing."""
        config, epoch = self.config, record["epoch"]
        kept = {name: record[name] for name in ("epoch", "iteration", "dice")}
        weights = state.judged.state_dict()
        if config.keep_best and record["best"]:
            save_weights(self.best, weights, kept)
        if snapshot_is_due(config, epoch):
            save_snapshot(self.snapshots, weights, kept)
        append_record(self.metrics, record)
        self.board.add(record, names=self.names)
        score = record.get("score")
        text = "" if score is None else f", validation {score:.3f}"
        logger.info("epoch %d/%d: loss %.4f%s", epoch, config.epochs, record["loss"], text)
        if last or not epoch % config.checkpoint_every:
            save_checkpoint(self.checkpoints, state, config, data=self.data)
            draw_progress(
                self.folder / "progress.png", read_records(self.metrics), names=self.names
            )
