"""One stage done, in this process or as ``python -m flare_train.stages.worker REQUEST``."""

from __future__ import annotations

import importlib
import json
import logging
import os
import signal
import sys
import threading
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from flare_io.atomic import write_json
from flare_io.command import ExitCode, describe_record, error_record, exit_code_of
from flare_train.allocator import keep_freed_memory
from flare_train.errors import StoppedError
from flare_train.stages.graph import Stage
from flare_train.stages.kinds import read_settings
from flare_train.stages.work import (
    StageResult,
    StageWork,
    add_seconds,
    read_result,
    write_result,
)

__all__ = ["StageError", "error_of", "main", "run_stage", "write_request"]

HOMES = {
    "dataset": "data",
    "phantom": "data",
    "select": "select",
    "fuse": "fuse",
    "prepare": "prepare",
    "pretrain": "train",
    "train": "train",
    "model": "model",
    "predict": "predict",
    "score": "score",
}
_ERROR, _REQUEST = "error.json", "request.json"


class StageError(Exception):
    """A stage that could not be done; its ``exit_code`` is that of the fault.

    Examples
    --------
    >>> print(StageError("fine", "case_7: holds NaN", 3))
    stage fine: case_7: holds NaN
    """

    def __init__(self, stage: str, message: str, exit_code: int) -> None:
        self.stage = stage
        self.exit_code = exit_code
        super().__init__(f"stage {stage}: {message}")


class _Stop(BaseException):
    """SIGTERM or SIGUSR1 arrived where nothing else listens to it."""


def run_stage(work: StageWork, key: str) -> StageResult:
    """Do the work of a stage and declare it finished.

    Parameters
    ----------
    work : StageWork
    key : str
        Of the stage.

    Raises
    ------
    StoppedError
        If SIGTERM or SIGUSR1 came. What was done stays and the next call goes on.
    StageError
        If the work cannot be done.
    """
    work.folder.mkdir(parents=True, exist_ok=True)
    (work.folder / _ERROR).unlink(missing_ok=True)
    home = importlib.import_module(f"flare_train.stages.{HOMES[work.stage.kind]}")
    started = time.monotonic()
    try:
        with _stop_signals():
            values: Mapping[str, Any] = home.run(work)
    except _Stop as stop:
        raise StoppedError(
            f"stage {work.stage.name} stopped by {stop}; run the same command again to go on"
        ) from None
    except (StoppedError, KeyboardInterrupt):
        raise
    except Exception as error:
        code = exit_code_of(error)
        if code is ExitCode.BUG:
            traceback.print_exc()
        message = describe_record(error_record(error)) or type(error).__name__
        raise StageError(work.stage.name, message, int(code)) from error
    finally:
        add_seconds(work.folder, time.monotonic() - started)
    inputs = {name: result.key for name, result in work.inputs.items()}
    return write_result(work.folder, work.stage, key, values, inputs=inputs)


def write_request(work: StageWork, key: str) -> Path:
    """Write what a process of its own needs to do a stage, and return the file."""
    work.folder.mkdir(parents=True, exist_ok=True)
    (work.folder / _ERROR).unlink(missing_ok=True)
    path = work.folder / _REQUEST
    write_json(
        path,
        {
            "key": key,
            "device": work.device,
            "jobs": work.jobs,
            "stage": _plain_stage(work.stage),
            "inputs": {
                name: {"folder": str(result.folder), "key": result.key, "kind": result.kind}
                for name, result in work.inputs.items()
            },
        },
    )
    return path


def error_of(stage: Stage, folder: Path, code: int) -> Exception:
    """Return the error that a process with this exit code ended with."""
    try:
        record = json.loads((folder / _ERROR).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        message = f"its process ended with code {code}"
        if code < 0:
            message = f"its process was killed by signal {-code}, perhaps for lack of memory"
        return StageError(stage.name, message, int(ExitCode.RESOURCES))
    if record["exit_code"] == StoppedError.exit_code:
        return StoppedError(record["message"])
    return StageError(stage.name, record["message"], int(record["exit_code"]))


def main(argv: Sequence[str] | None = None) -> int:
    """Do the stage of a request file."""
    if argv is None:
        keep_freed_memory()
    (path,) = sys.argv[1:] if argv is None else argv
    folder = Path(path).parent
    request = json.loads(Path(path).read_text(encoding="utf-8"))
    stage = _stage(request["stage"])
    logging.basicConfig(level=logging.INFO, format=f"[{stage.name}] %(message)s", stream=sys.stderr)
    work = StageWork(
        stage=stage,
        settings=read_settings(stage.kind, stage.settings, name=stage.name),
        folder=folder,
        inputs={name: _input(name, entry) for name, entry in request["inputs"].items()},
        device=request["device"],
        jobs=request["jobs"],
    )
    try:
        run_stage(work, request["key"])
    except (StageError, StoppedError) as error:
        message = str(error).removeprefix(f"stage {stage.name}: ")
        write_json(folder / _ERROR, {"message": message, "exit_code": error.exit_code})
        return error.exit_code
    except KeyboardInterrupt:
        return int(ExitCode.INTERRUPTED)
    return int(ExitCode.DONE)


@contextmanager
def _stop_signals() -> Iterator[None]:
    """Turn SIGTERM and SIGUSR1 into an exception; the training loop has its own way."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: FrameType | None) -> None:
        raise _Stop(signal.Signals(number).name)

    numbers = [getattr(signal, name, None) for name in ("SIGTERM", "SIGUSR1")]
    previous = {number: signal.signal(number, stop) for number in numbers if number is not None}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _plain_stage(stage: Stage) -> dict[str, Any]:
    return {
        "name": stage.name,
        "kind": stage.kind,
        "settings": dict(stage.settings),
        "inputs": list(stage.inputs),
    }


def _stage(plain: Mapping[str, Any]) -> Stage:
    return Stage(
        name=plain["name"],
        kind=plain["kind"],
        settings=plain["settings"],
        inputs=tuple(plain["inputs"]),
    )


def _input(name: str, entry: Mapping[str, str]) -> StageResult:
    stage = Stage(name=name, kind=entry["kind"], settings={})
    result = read_result(Path(entry["folder"]), stage, entry["key"])
    if result is None:
        raise StageError(name, f"{entry['folder']}: is not finished", int(ExitCode.REFUSED))
    return result


if __name__ == "__main__":
    # Threads that wait by sleeping leave the core to others; torch reads this when it is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    sys.exit(main())
