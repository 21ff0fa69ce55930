"""One case of a run: from its files to a label map and a record."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flare_infer.case_input import CaseInput
from flare_infer.label_writer import LabelWriter, run_along_file
from flare_infer.report import CaseRecord
from flare_infer.stopwatch import Stopwatch
from flare_io.command import ExitCode, error_record, exit_code_of

if TYPE_CHECKING:
    from flare_infer.predictor import Predictor
    from flare_infer.run import RunSettings

__all__ = ["DiskFullError", "StopSignal", "run_case"]

logger = logging.getLogger(__name__)


class StopSignal(BaseException):
    """SIGTERM or SIGUSR1 arrived: the case at hand is given up, the report is written."""


class DiskFullError(Exception):
    """Nothing more can be written; carries the record of the case that found out."""

    def __init__(self, record: CaseRecord, error: OSError) -> None:
        super().__init__(str(error))
        self.record = record


def run_case(
    record: CaseRecord,
    target: Path,
    predictor: Predictor,
    settings: RunSettings,
    stopped: threading.Event,
    read: Callable[[], CaseInput],
) -> tuple[CaseRecord, ExitCode]:
    """Segment a case, unless what an earlier run wrote for it still holds.

    Parameters
    ----------
    record : CaseRecord
        What is known of the case.
    target : Path
        Of the label map.
    predictor : Predictor
    settings : RunSettings
    stopped : threading.Event
        Looked at before the case and after each window.
    read : callable
        Returns the case as `flare_infer.case_input.read_case` does.

    Returns
    -------
    record : CaseRecord
        Done, or failed with the error, whatever it was. Of reading and writing its seconds hold
        what the network had to wait for.
    code : ExitCode
        Of this case alone.

    Raises
    ------
    StopSignal
        If ``stopped`` is set.
    DiskFullError
        If the label map cannot be written.
    """
    seconds: dict[str, float] = {}
    watch = Stopwatch(seconds)

    def look_up() -> None:
        if stopped.is_set():
            raise StopSignal

    look_up()
    try:
        with watch.step("read"):
            found = read()
        if found.kept:
            return replace(record, state="done", kept=True), ExitCode.DONE
        writer = _writer(target, predictor, found)
    except Exception as raised:
        # Whatever one case did, the next is another; a fault of ours is recorded as "bug".
        return _failure(record, raised, seconds)
    with writer:
        try:
            labels = predictor.predict(
                found.handed_over(),
                mode=settings.mode,
                tta=settings.tta,
                timings=seconds,
                on_window=look_up,
                on_slab=writer.put,
            )
        except Exception as raised:
            return _failure(record, raised, seconds)
        try:
            with watch.step("write"):
                sha256 = writer.finish(labels)
        except OSError as error:
            raise DiskFullError(_failed(record, error, seconds), error) from error
    done = replace(
        record,
        state="done",
        output=target.name,
        key=found.key,
        output_sha256=sha256,
        seconds=seconds,
        notes=labels.notes,
    )
    return done, ExitCode.DONE


def _writer(target: Path, predictor: Predictor, found: CaseInput) -> LabelWriter:
    first = found.channels[0]
    along = run_along_file(predictor.model.spec.preprocessing, first.geometry)
    return LabelWriter(target, shape=first.shape, geometry=first.geometry, along=along)


def _failure(
    record: CaseRecord, raised: Exception, seconds: dict[str, float]
) -> tuple[CaseRecord, ExitCode]:
    error = _named(raised)
    return _failed(record, error, seconds), _code(error)


def _failed(record: CaseRecord, error: Exception, seconds: dict[str, float]) -> CaseRecord:
    logger.debug("case %s", record.id, exc_info=error)
    fresh = CaseRecord(id=record.id, inputs=record.inputs)
    return replace(fresh, state="failed", seconds=seconds, error=error_record(error))


def _named(error: Exception) -> Exception:
    """Return torch's two ways to say that memory ran out as a ``MemoryError``."""
    torch = sys.modules.get("torch")
    text = " ".join(str(error).split())
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return MemoryError(f"device memory is exhausted, use --device cpu: {text}")
    if isinstance(error, RuntimeError) and "DefaultCPUAllocator" in text:
        return MemoryError(f"host memory is exhausted: {text}")
    return error


def _code(error: Exception) -> ExitCode:
    """Return the code of one case; whatever the case's data caused is a refusal."""
    code = exit_code_of(error)
    return code if code is ExitCode.RESOURCES else ExitCode.REFUSED
