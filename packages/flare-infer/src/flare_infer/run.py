"""Many cases from files to files: resumable, one bad case costs one case."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from flare_infer.inputs import CaseFiles, files_of, find_cases, without_suffix
from flare_infer.model import Mode
from flare_infer.report import CaseRecord, Report, previous_records
from flare_infer.stopwatch import Stopwatch
from flare_io.command import ExitCode, describe_record, error_record, exit_code_of
from flare_io.policy import ReadPolicy

if TYPE_CHECKING:
    from flare_infer.predictor import Predictor

__all__ = ["RunSettings", "run_cases"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """What a run does beside the model: mode, mirroring, reading."""

    mode: Mode | None = None
    tta: bool = False
    policy: ReadPolicy = field(default_factory=ReadPolicy)

    def to_dict(self, predictor: Predictor) -> dict[str, Any]:
        """Return the settings as they take effect, JSON-ready."""
        mode = self.mode or predictor.mode or predictor.model.spec.default_mode
        return {
            "mode": mode,
            "tta": self.tta,
            "policy": asdict(self.policy),
            "fast": predictor.fast.to_dict() if mode == "fast" else None,
            **predictor.nets.choice.to_dict(mode),
        }


class _StopSignal(BaseException):
    """SIGTERM or SIGUSR1 arrived: the case at hand is given up, the report is written."""


def run_cases(
    predictor: Predictor,
    source: os.PathLike[str] | str,
    output: os.PathLike[str] | str,
    *,
    settings: RunSettings | None = None,
) -> tuple[Report, ExitCode]:
    """Segment all cases of a path and keep a report beside the label maps.

    Parameters
    ----------
    predictor : Predictor
    source : path
        See `find_cases`.
    output : path
        A folder, made if it is not there, for ``CASE.nii.gz`` and ``report.json``; or, for a single
        case, the name of the label map, with its report in ``NAME.report.json``.
    settings : RunSettings, optional

    Returns
    -------
    report : Report
    code : ExitCode
        Done, some failed, all refused, a lack of resources, or stopped by a signal.

    Notes
    -----
    A case that an earlier run has done is kept when the same input bytes, model (description and
    weights) and settings gave a label map whose checksum still holds. A full disk ends the run: all
    later cases would fail too.
    """
    model = predictor.model
    chosen = settings or RunSettings()
    cases = find_cases(source, channels=model.spec.net.in_channels)
    targets, report_path = _targets(Path(output), cases)
    _spare_inputs(Path(source), cases, targets)
    report_path.parent.mkdir(parents=True, exist_ok=True)
    earlier = previous_records(report_path)
    report = Report(
        path=report_path,
        model={
            "name": model.spec.name,
            "folder": str(model.folder),
            "weights_sha256": model.weights_sha256,
            "sha256": hashlib.sha256(
                json.dumps(model.to_dict(), sort_keys=True).encode()
            ).hexdigest(),
            "device": predictor.device,
        },
        settings=chosen.to_dict(predictor),
        cases={
            case.id: replace(
                # Kept through a stop: what was done before must still be known to the next run.
                earlier.get(case.id, CaseRecord(id=case.id)),
                state="not started",
                inputs=tuple(map(str, case.paths)),
                kept=False,
            )
            for case in cases
        },
    )
    report.save()
    codes: list[ExitCode] = []
    with _stop_signals() as stopped:
        try:
            for number, case in enumerate(cases, start=1):
                record, code = _run_case(case, targets[case.id], predictor, report, chosen, stopped)
                report.put(record)
                codes.append(code)
                if record.error is not None:
                    logger.error("flare-infer: %s", describe_record(record.error))
                logger.info("case %d/%d %s: %s", number, len(cases), case.id, _outcome(record))
        except _DiskFullError as error:
            report.put(error.record)
            codes.append(ExitCode.RESOURCES)
            logger.error("%s", error)
            return report, ExitCode.RESOURCES
        except _StopSignal:
            report.save()
            return report, ExitCode.STOPPED
    return report, _exit_code(codes)


class _DiskFullError(Exception):
    """Nothing more can be written; carries the record of the case that found out."""

    def __init__(self, record: CaseRecord, error: OSError) -> None:
        super().__init__(str(error))
        self.record = record


def _targets(output: Path, cases: tuple[CaseFiles, ...]) -> tuple[dict[str, Path], Path]:
    """Return the label map of each case and the report's path."""
    if without_suffix(output) is not None and not output.is_dir():
        if len(cases) > 1:
            raise ValueError(f"{output}: {len(cases)} cases need a folder as output, not a file")
        return {cases[0].id: output}, output.with_name(f"{output.name}.report.json")
    return {case.id: output / f"{case.id}.nii.gz" for case in cases}, output / "report.json"


def _spare_inputs(root: Path, cases: tuple[CaseFiles, ...], targets: dict[str, Path]) -> None:
    """Refuse a run whose output would replace an input or become one of the next run."""
    series = any(path.is_dir() for case in cases for path in case.paths)
    inputs = {path.resolve() for case in cases for path in case.paths}
    for target in targets.values():
        if target.resolve() in inputs:
            raise ValueError(f"{target}: the output would overwrite this input; name another")
        if series and target.resolve().is_relative_to(root.resolve()):
            raise ValueError(f"{target}: the output lies in the DICOM input {root}; name another")


def _run_case(
    case: CaseFiles,
    target: Path,
    predictor: Predictor,
    report: Report,
    settings: RunSettings,
    stopped: threading.Event,
) -> tuple[CaseRecord, ExitCode]:
    from flare_io.files import write_label_map

    record = report.cases[case.id]
    seconds: dict[str, float] = {}

    def look_up() -> None:
        if stopped.is_set():
            raise _StopSignal

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
        raise _DiskFullError(_failed(record, error, seconds), error) from error
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


def _exit_code(codes: list[ExitCode]) -> ExitCode:
    bad = [code for code in codes if code is not ExitCode.DONE]
    if not bad:
        return ExitCode.DONE
    if len(bad) < len(codes):
        return ExitCode.SOME_FAILED
    return bad[0] if len(set(bad)) == 1 else ExitCode.REFUSED


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


def _outcome(record: CaseRecord) -> str:
    if record.error is not None:
        return "failed"
    if record.kept:
        return "kept, done by an earlier run"
    return f"{sum(record.seconds.values()):.1f} s"


@contextmanager
def _stop_signals() -> Iterator[threading.Event]:
    """Turn SIGTERM and SIGUSR1 into an event while the run lasts, in the main thread."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name)]
    before = [(number, signal.signal(number, stop)) for number in numbers]
    try:
        yield stopped
    finally:
        for number, handler in before:
            signal.signal(number, handler)
