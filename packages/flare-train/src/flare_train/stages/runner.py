"""Doing what a graph of stages has left to do, side by side where stages do not need each other."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType

from flare_train.errors import StoppedError
from flare_train.signals import StopRequest
from flare_train.stages.data import dataset_key
from flare_train.stages.graph import Stage, in_order, stage_keys
from flare_train.stages.kinds import read_settings
from flare_train.stages.work import StageResult, StageWork, read_result, stage_folder
from flare_train.stages.worker import error_of, run_stage, write_request

__all__ = ["GraphState", "graph_state", "run_graph"]

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_GO_ON = "run the same command again to go on"


@dataclass(frozen=True, kw_only=True)
class GraphState:
    """Which stages are done.

    Parameters
    ----------
    stages : tuple of Stage
        In running order.
    keys : mapping of str to str
    folders : mapping of str to Path
    done : dict of str to StageResult
    """

    stages: tuple[Stage, ...]
    keys: Mapping[str, str]
    folders: Mapping[str, Path]
    done: dict[str, StageResult]

    @property
    def waiting(self) -> tuple[Stage, ...]:
        """The stages that are not done."""
        return tuple(stage for stage in self.stages if stage.name not in self.done)


def graph_state(stages: Sequence[Stage], root: os.PathLike[str] | str) -> GraphState:
    """Return which stages of a graph are done in a folder.

    Parameters
    ----------
    stages : sequence of Stage
    root : path
        Holds ``stages/NAME/KEY/``, one folder for every stage that was ever begun.

    Notes
    -----
    Reads the files of datasets from outside where their size or time is new, for the key is made
    from what they hold.
    """
    ordered = in_order(stages)
    for stage in ordered:
        read_settings(stage.kind, stage.settings, name=stage.name)
    contents = {
        stage.name: dataset_key(stage.settings, Path(root) / "stages" / stage.name)
        for stage in ordered
        if stage.kind == "dataset"
    }
    keys = stage_keys(ordered, contents=contents)
    folders = {stage.name: stage_folder(root, stage, keys[stage.name]) for stage in ordered}
    done = {}
    for stage in ordered:
        result = read_result(folders[stage.name], stage, keys[stage.name])
        # A dataset may have moved: only its stage knows where it lies now, and costs nothing.
        if result is not None and stage.kind != "dataset":
            done[stage.name] = result
    return GraphState(stages=ordered, keys=keys, folders=folders, done=done)


def run_graph(
    stages: Sequence[Stage],
    root: os.PathLike[str] | str,
    *,
    device: str = "cpu",
    jobs: int = 1,
) -> dict[str, StageResult]:
    """Do every stage that is not done.

    Parameters
    ----------
    stages : sequence of Stage
    root : path
        Folder of the run.
    device : str, optional
        Where nets run.
    jobs : int, optional
        Stages at the same time, each in a process of its own with one thread; 1: in this process.

    Returns
    -------
    dict of str to StageResult
        By name.

    Raises
    ------
    StageError
        If a stage cannot be done; those beside it are stopped, and go on at the next call.
    StoppedError
        If SIGTERM or SIGUSR1 came; the next call goes on.
    """
    if jobs < 1:
        raise ValueError(f"jobs must be >= 1, got {jobs}")
    Path(root).mkdir(parents=True, exist_ok=True)
    state = graph_state(stages, root)
    for stage in state.stages:
        if stage.name in state.done:
            logger.info("stage %s: done before", stage.name)
    if jobs == 1:
        _run_in_turn(state, device=device)
    else:
        _run_side_by_side(state, device=device, jobs=jobs)
    return {stage.name: state.done[stage.name] for stage in state.stages}


def _run_in_turn(state: GraphState, *, device: str) -> None:
    # Within a stage its own handlers listen; this one to what comes between two stages.
    with StopRequest() as stop:
        for stage in state.waiting:
            logger.info("stage %s: %s", stage.name, stage.kind)
            work = _work(stage, state, device=device, jobs=1)
            result = run_stage(work, state.keys[stage.name])
            state.done[stage.name] = result
            logger.info("stage %s: done in %.1f s", stage.name, result.seconds)
            if stop.requested and state.waiting:
                raise StoppedError(f"stopped by {stop.name}; {_GO_ON}")


@dataclass
class _Running:
    """Processes at work, and the signal that asked to stop them."""

    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    stopped_by: int = 0

    def stop(self, number: int, frame: FrameType | None = None) -> None:
        self.stopped_by = number
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(number)


def _run_side_by_side(state: GraphState, *, device: str, jobs: int) -> None:
    stage_of = {stage.name: stage for stage in state.stages}
    running = _Running()
    with _forwarding(running):
        try:
            while state.waiting:
                _start_ready(state, running, device=device, jobs=jobs)
                for name in _ended(running):
                    code = running.processes.pop(name).returncode
                    result = read_result(state.folders[name], stage_of[name], state.keys[name])
                    if result is not None and not code:
                        state.done[name] = result
                        logger.info("stage %s: done in %.1f s", name, result.seconds)
                    elif not running.stopped_by:
                        raise error_of(stage_of[name], state.folders[name], code)
                if running.stopped_by and not running.processes:
                    name = signal.Signals(running.stopped_by).name
                    raise StoppedError(f"stopped by {name}; {_GO_ON}")
        finally:
            # After a fault or Ctrl-C: the others save what they have and go on at the next call.
            if running.processes:
                running.stop(signal.SIGTERM)
            for process in running.processes.values():
                process.wait()


def _start_ready(state: GraphState, running: _Running, *, device: str, jobs: int) -> None:
    if running.stopped_by:
        return
    ready = [
        stage
        for stage in state.waiting
        if stage.name not in running.processes and all(name in state.done for name in stage.inputs)
    ]
    free = jobs - len(running.processes)
    alone = len(ready) == 1 and not running.processes
    for stage in ready[:free]:
        # A stage that has the machine for itself takes several cases at a time.
        work = _work(stage, state, device=device, jobs=free if alone else 1)
        request = write_request(work, state.keys[stage.name])
        logger.info("stage %s: %s", stage.name, stage.kind)
        command = [sys.executable, "-m", "flare_train.stages.worker", os.fspath(request)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        running.processes[stage.name] = subprocess.Popen(command, env=environment)


def _ended(running: _Running) -> list[str]:
    while running.processes:
        ended = [name for name, process in running.processes.items() if process.poll() is not None]
        if ended:
            return ended
        time.sleep(_POLL_S)
    return []


def _work(stage: Stage, state: GraphState, *, device: str, jobs: int) -> StageWork:
    return StageWork(
        stage=stage,
        settings=read_settings(stage.kind, stage.settings, name=stage.name),
        folder=state.folders[stage.name],
        inputs={name: state.done[name] for name in stage.inputs},
        device=device,
        jobs=jobs,
    )


@contextmanager
def _forwarding(running: _Running) -> Iterator[None]:
    """Hand SIGTERM and SIGUSR1 on to the processes."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGUSR1")]
    stop: Callable[[int, FrameType | None], None] = running.stop
    previous = {number: signal.signal(number, stop) for number in numbers if number is not None}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
