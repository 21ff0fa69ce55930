"""One case of a run: from its files to a label map and a record."""

from __future__ import annotations

import hashlib
import logging
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from flare_infer.inputs import CaseFiles, files_of
from flare_infer.report import CaseRecord, Report
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
    case: CaseFiles,
    target: Path,
    predictor: Predictor,
    report: Report,
    settings: RunSettings,
    stopped: threading.Event,
) -> tuple[CaseRecord, ExitCode]:
    """Segment a case, unless what an earlier run wrote for it still holds.

    Parameters
    ----------
    case : CaseFiles
    target : Path
        Of the label map.
    predictor : Predictor
    report : Report
        Of the run; the case's record holds what is known from an earlier one. Not changed.
    settings : RunSettings
    stopped : threading.Event
        Looked at before the case and after each window.

    Returns
    -------
    record : CaseRecord
        Done, or failed with the error, whatever it was.
    code : ExitCode
        Of this case alone.

    Raises
    ------
    StopSignal
        If ``stopped`` is set.
    DiskFullError
        If the label map cannot be written.

    Notes
    -----
    Cost beside the prediction: a pass over the input's files, and one over the label map, for their
    SHA-256.
    """
    from flare_io.files import write_label_map

    record = report.cases[case.id]
    seconds: dict[str, float] = {}

    def look_up() -> None:
        if stopped.is_set():
            raise StopSignal

    look_up()
    try:
        key = _key(case, report)
        if record.key == key and _verifies(target, record.output_sha256):
            return replace(record, state="done", kept=True), ExitCode.DONE
        image = case.paths if len(case.paths) > 1 else case.paths[0]
        labels = predictor.predict(
            image,
            mode=settings.mode,
            tta=settings.tta,
            policy=settings.policy,
            timings=seconds,
            on_window=look_up,
        )
    except Exception as raised:
        # Whatever one case did, the next is another; a fault of ours is recorded as "bug".
        error = _named(raised)
        return _failed(record, error, seconds), _code(error)
    try:
        with Stopwatch(seconds).step("write"):
            write_label_map(labels, target)
    except OSError as error:
        raise DiskFullError(_failed(record, error, seconds), error) from error
    done = replace(
        record,
        state="done",
        output=target.name,
        key=key,
        output_sha256=_sha256(target),
        seconds=seconds,
        notes=labels.notes,
    )
    return done, ExitCode.DONE


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


def _key(case: CaseFiles, report: Report) -> str:
    digest = hashlib.sha256()
    # The description counts as well as the weights: another spacing gives other labels.
    for part in (report.model["sha256"], repr(sorted(report.settings.items()))):
        digest.update(part.encode())
    for path in case.paths:
        for file in files_of(path):
            digest.update(_sha256(file).encode())
    return digest.hexdigest()


def _verifies(path: Path, sha256: str) -> bool:
    try:
        return _sha256(path) == sha256
    except OSError:
        return False


def _sha256(path: Path) -> str:
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
