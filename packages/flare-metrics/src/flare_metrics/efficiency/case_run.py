"""One case of a challenge entry: an image in, a segmentation out, measured."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from flare_metrics.command import ExitCode, exit_code_of
from flare_metrics.efficiency.container import Container, ContainerOptions
from flare_metrics.efficiency.measurement import Measurement
from flare_metrics.efficiency.official import STEP_S
from flare_metrics.efficiency.running import CommandRun, measure_command

__all__ = ["SEGMENTATION_SUFFIX", "CaseMeasurement", "CaseOptions", "run_case"]

SEGMENTATION_SUFFIX = ".nii.gz"

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


def run_case(
    case: str,
    image: Path,
    folder: Path,
    work: Path,
    program: Sequence[str] | ContainerOptions,
    options: CaseOptions,
) -> CaseMeasurement:
    """Run a program on one image; see `measure_cases`.

    Parameters
    ----------
    case : str
    image : path
    folder : path
        For the segmentation and the log.
    work : path
        Folder on the same disk for what is there only while it runs.
    program : sequence of str or ContainerOptions
    options : CaseOptions

    Raises
    ------
    OSError
        If the program cannot be started, or the disk is full.
    """
    # Fresh folders: what a program leaves behind must not help or hurt the next case.
    here = Path(tempfile.mkdtemp(dir=work))
    inputs, outputs = here / "inputs", here / "outputs"
    inputs.mkdir()
    outputs.mkdir()
    # A container may run as another user.
    here.chmod(0o755)
    outputs.chmod(0o777)
    (folder / f"{case}{SEGMENTATION_SUFFIX}").unlink(missing_ok=True)
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
    status, reason = _outcome(run, outputs / f"{case}{SEGMENTATION_SUFFIX}", options.timeout_s)
    if status == "measured":
        segmentation = f"{case}{SEGMENTATION_SUFFIX}"
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
    # Docker's last line says where help is, not what is wrong.
    printed = [
        " ".join(line.split())
        for line in lines
        if line.strip() and not line.startswith("Run 'docker")
    ]
    return f": {printed[-1][:200]}" if printed else ""
