"""A challenge entry run once for each case, as the organizers run it, and measured."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flare_metrics._progress import shown
from flare_metrics.atomic import write_json, write_text
from flare_metrics.command import ExitCode, exit_code_of
from flare_metrics.efficiency.case_tables import write_tables
from flare_metrics.efficiency.container import Container, ContainerOptions
from flare_metrics.efficiency.curves import curves_svg
from flare_metrics.efficiency.measurement import Measurement, read_measurement
from flare_metrics.efficiency.official import STEP_S
from flare_metrics.efficiency.running import CommandRun, measure_command
from flare_metrics.errors import UnreadableFileError

__all__ = ["IMAGE_SUFFIX", "CaseMeasurement", "CaseOptions", "measure_cases"]

IMAGE_SUFFIX = "_0000.nii.gz"
_SEGMENTATION_SUFFIX = ".nii.gz"
_PLACEHOLDERS = ("{input}", "{output}")
# Names of files beside those of the cases.
_RESERVED = ("measurements",)

Status = Literal["measured", "failed", "timed out", "interrupted", "not started"]


@dataclass(frozen=True, kw_only=True)
class CaseOptions:
    """How cases are run.

    Parameters
    ----------
    team : str
        Name of the entry; the table is ``<team>_Efficiency.csv``.
    interval_s : float
        Sleep between two samples.
    gpu : str or None
        Watched device; see `measure_efficiency`.
    timeout_s : float or None
        Longest time for one case; the challenge has none.
    again : bool
        Run finished cases too.
    """

    team: str
    interval_s: float = STEP_S
    gpu: str | None = None
    timeout_s: float | None = None
    again: bool = False

    def __post_init__(self) -> None:
        if not self.team or self.team != Path(self.team).name:
            raise ValueError(f"team must be a name without slashes, got {self.team!r}")


@dataclass(frozen=True, kw_only=True)
class CaseMeasurement:
    """What became of one case.

    Parameters
    ----------
    case : str
        Name of the image without ``_0000.nii.gz``.
    status : str
    reason : str
        Why it is not measured, empty where it is.
    measurement : Measurement or None
        Also of a case that failed; None where it was not started.
    """

    case: str
    status: Status
    reason: str = ""
    measurement: Measurement | None = None


def measure_cases(
    images: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    program: Sequence[str] | ContainerOptions,
    options: CaseOptions,
    progress: bool = False,
) -> tuple[CaseMeasurement, ...]:
    """Run a program once for each image of a folder and measure every run.

    For each case one image is copied into an empty folder of inputs, the program runs, and
    ``<case>.nii.gz`` is moved from the folder of outputs to the results. A case that fails costs
    that case only. A rerun skips cases that finished with the same program and image.

    Parameters
    ----------
    images : path
        Folder with ``<case>_0000.nii.gz``.
    output : path
        Folder for the results, made if need be: per case the segmentation, ``<case>.json``
        (samples), ``<case>.svg`` (curves) and ``<case>.log`` (what the program printed); for all
        ``<team>_Efficiency.csv`` and ``measurements.json``.
    program : sequence of str or ContainerOptions
        A command, in which ``{input}`` and ``{output}`` stand for the folders and ``{case}`` for
        the case; or a container.
    options : CaseOptions
    progress : bool
        Show on stderr how far it is.

    Returns
    -------
    tuple of CaseMeasurement
        One for each image, by name.

    Raises
    ------
    ValueError
        If the command lacks a placeholder, or another argument is wrong.
    UnreadableFileError
        If the folder holds no such image.
    OSError
        If the program cannot be started, or the disk is full.
    KeyboardInterrupt
        If a signal came; the tables tell how far it was.
    """
    if not isinstance(program, ContainerOptions):
        missing = [word for word in _PLACEHOLDERS if not any(word in text for text in program)]
        if missing:
            raise ValueError(f"command must hold {' and '.join(missing)}, got {list(program)}")
    found = _find_images(Path(images))
    folder = Path(os.path.abspath(output))
    folder.mkdir(parents=True, exist_ok=True)
    results: list[CaseMeasurement] = []
    with tempfile.TemporaryDirectory(
        prefix=".measure-", dir=folder, ignore_cleanup_errors=True
    ) as work:
        runs = _run_all(found, folder, Path(work), program, options)
        try:
            for result in shown(runs, total=len(found), active=progress):
                results.append(result)  # noqa: PERF402  # what is there counts when one is stopped
        except KeyboardInterrupt:
            results.extend(_not_started(case) for case, _ in found[len(results) :])
    write_tables(results, folder, team=options.team, program=_description(program))
    if any(result.status in ("interrupted", "not started") for result in results):
        raise KeyboardInterrupt
    return tuple(results)


def _not_started(case: str) -> CaseMeasurement:
    return CaseMeasurement(case=case, status="not started", reason="interrupted before it")


def _find_images(images: Path) -> list[tuple[str, Path]]:
    names = sorted(os.listdir(images))
    cases = [name.removesuffix(IMAGE_SUFFIX) for name in names if name.endswith(IMAGE_SUFFIX)]
    cases = [case for case in cases if case and not case.startswith(".")]
    if not cases:
        raise UnreadableFileError(
            images,
            f"images must be named <case>{IMAGE_SUFFIX}",
            found=f"{len(names)} other files",
            kind="no-cases",
        )
    reserved = [case for case in cases if case in _RESERVED]
    if reserved:
        raise ValueError(f"no case can have the name {reserved[0]!r}: a table has it")
    return [(case, images / f"{case}{IMAGE_SUFFIX}") for case in cases]


def _run_all(
    found: list[tuple[str, Path]],
    folder: Path,
    work: Path,
    program: Sequence[str] | ContainerOptions,
    options: CaseOptions,
) -> Iterator[CaseMeasurement]:
    stopped = False
    for case, image in found:
        if stopped:
            yield _not_started(case)
            continue
        source = {"program": _description(program), "image": _identity(image)}
        result = None if options.again else _finished(case, folder, source)
        if result is None:
            result = _run_case(case, image, folder, work, program, options)
            if result.measurement is not None:
                _keep(result, result.measurement, folder, source)
        stopped = result.status == "interrupted"
        yield result


def _run_case(
    case: str,
    image: Path,
    folder: Path,
    work: Path,
    program: Sequence[str] | ContainerOptions,
    options: CaseOptions,
) -> CaseMeasurement:
    # Fresh folders: what a program leaves behind must not help or hurt the next case.
    here = Path(tempfile.mkdtemp(dir=work))
    inputs, outputs = here / "inputs", here / "outputs"
    inputs.mkdir()
    outputs.mkdir()
    # A container may run as another user.
    here.chmod(0o755)
    outputs.chmod(0o777)
    (folder / f"{case}{_SEGMENTATION_SUFFIX}").unlink(missing_ok=True)
    try:
        shutil.copyfile(image, inputs / image.name)
    except OSError as error:
        if exit_code_of(error) is ExitCode.RESOURCES and error.errno != errno.EACCES:
            raise
        return CaseMeasurement(case=case, status="failed", reason=f"{image}: {error.strerror}")
    container = None
    if isinstance(program, ContainerOptions):
        container = Container(program, inputs, outputs)
        command = container.command()
    else:
        values = {"{input}": str(inputs), "{output}": str(outputs), "{case}": case}
        command = [_filled(text, values) for text in program]
    run = measure_command(
        command,
        name=image.name,
        interval_s=options.interval_s,
        gpu=options.gpu,
        output=folder / f"{case}.log",
        timeout_s=options.timeout_s,
        apart=True,
        container=container,
    )
    status, reason = _outcome(run, outputs / f"{case}{_SEGMENTATION_SUFFIX}", options.timeout_s)
    if status == "measured":
        segmentation = f"{case}{_SEGMENTATION_SUFFIX}"
        os.replace(outputs / segmentation, folder / segmentation)
    elif status == "failed":
        reason += _last_line(folder / f"{case}.log")
    shutil.rmtree(here, ignore_errors=True)
    return CaseMeasurement(case=case, status=status, reason=reason, measurement=run.measurement)


def _filled(text: str, values: dict[str, str]) -> str:
    """Replace placeholders, those of the command only and not those in a name."""
    for word in values:
        text = text.replace(word, f"\0{word}")
    for word, value in values.items():
        text = text.replace(f"\0{word}", value)
    return text


def _outcome(run: CommandRun, segmentation: Path, timeout_s: float | None) -> tuple[Status, str]:
    code = run.measurement.exit_code
    if run.interrupted_by is not None:
        return "interrupted", f"signal {run.interrupted_by}"
    if run.timed_out:
        return "timed out", f"stopped after {timeout_s:g} s"
    if code:
        return "failed", f"exit code {code}" if code > 0 else f"killed by signal {-code}"
    if segmentation.is_symlink() or not segmentation.is_file():
        return "failed", f"no file {segmentation.name} in the outputs"
    return "measured", ""


def _last_line(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - 4096))
        lines = file.read().decode(errors="replace").split("\n")
    printed = [" ".join(line.split()) for line in lines if line.strip()]
    return f": {printed[-1][:200]}" if printed else ""


def _keep(
    result: CaseMeasurement, measurement: Measurement, folder: Path, source: dict[str, Any]
) -> None:
    curves = folder / f"{result.case}.svg"
    write_text(curves, curves_svg(measurement, title=result.case))
    head = {"case": result.case, "status": result.status, "reason": result.reason}
    write_json(folder / f"{result.case}.json", {**head, **source, **measurement.record()})


def _finished(case: str, folder: Path, source: dict[str, Any]) -> CaseMeasurement | None:
    """Return what an earlier run measured, None unless it ended well on the same image."""
    path = folder / f"{case}.json"
    try:
        record = json.loads(path.read_bytes())
        same = all(record[key] == value for key, value in source.items())
        if record["status"] != "measured" or not same:
            return None
        measurement = read_measurement(path)
    except (OSError, ValueError, LookupError, TypeError):
        return None
    if not (folder / f"{case}{_SEGMENTATION_SUFFIX}").is_file():
        return None
    return CaseMeasurement(case=case, status="measured", measurement=measurement)


def _identity(image: Path) -> dict[str, int]:
    try:
        information = image.stat()
    except OSError:
        return {}
    return {"bytes": information.st_size, "modified_ns": information.st_mtime_ns}


def _description(program: Sequence[str] | ContainerOptions) -> list[str]:
    """Return the command as it was given, or that of the container."""
    if isinstance(program, ContainerOptions):
        return Container(program, Path("/inputs"), Path("/outputs"), name="NAME").command()
    return list(program)
