"""Many cases from files to files: resumable, one bad case costs one case."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

from flare_infer.calibration import calibration_sha256
from flare_infer.case_input import read_case
from flare_infer.inputs import CaseFiles, find_cases, without_suffix
from flare_infer.model import Mode
from flare_infer.read_ahead import ReadAhead, reading_mib, room_beside
from flare_infer.report import CaseRecord, Report, previous_records
from flare_infer.run_case import DiskFullError, StopSignal, run_case
from flare_io.command import ExitCode, describe_record
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
            **_arithmetic(predictor, mode),
        }


def _arithmetic(predictor: Predictor, mode: Mode) -> dict[str, Any]:
    """Return what the numbers of a network depend on beside its weights."""
    found: dict[str, Any] = predictor.nets.choice.to_dict(mode)
    if found["precision"] == "int8":
        layers = predictor.model.layers
        found["calibrations_sha256"] = [calibration_sha256(layer) for layer, _ in layers]
    return found


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
    ahead = ReadAhead(
        cases,
        lambda case: read_case(case, targets[case.id], report, chosen.policy),
        room_mib=partial(room_beside, predictor, chosen.mode),
        needed_mib=partial(reading_mib, policy=chosen.policy),
    )
    with _stop_signals() as stopped, ahead:
        try:
            for number, case in enumerate(cases, start=1):
                record, code = run_case(
                    report.cases[case.id],
                    targets[case.id],
                    predictor,
                    chosen,
                    stopped,
                    partial(ahead.take, case),
                )
                report.put(record)
                codes.append(code)
                if record.error is not None:
                    logger.error("flare-infer: %s", describe_record(record.error))
                logger.info("case %d/%d %s: %s", number, len(cases), case.id, _outcome(record))
        except DiskFullError as error:
            report.put(error.record)
            codes.append(ExitCode.RESOURCES)
            logger.error("%s", error)
            return report, ExitCode.RESOURCES
        except StopSignal:
            report.save()
            return report, ExitCode.STOPPED
    return report, _exit_code(codes)


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


def _exit_code(codes: list[ExitCode]) -> ExitCode:
    bad = [code for code in codes if code is not ExitCode.DONE]
    if not bad:
        return ExitCode.DONE
    if len(bad) < len(codes):
        return ExitCode.SOME_FAILED
    return bad[0] if len(set(bad)) == 1 else ExitCode.REFUSED


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
