"""A challenge entry run once for each case, as the organizers run it, and measured."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from flare_metrics._progress import shown
from flare_metrics.atomic import write_json, write_text
from flare_metrics.efficiency.case_run import (
    SEGMENTATION_SUFFIX,
    CaseMeasurement,
    CaseOptions,
    run_case,
)
from flare_metrics.efficiency.case_tables import IMAGE_SUFFIX, write_tables
from flare_metrics.efficiency.container import Container, ContainerOptions
from flare_metrics.efficiency.curves import curves_svg
from flare_metrics.efficiency.measurement import Measurement, read_measurement
from flare_metrics.errors import UnreadableFileError

__all__ = ["measure_cases"]

_PLACEHOLDERS = ("{input}", "{output}")
# Names of files beside those of the cases.
_RESERVED = ("measurements",)


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
    if folder.samefile(images):
        # The segmentation of one case may have the name of another image.
        raise ValueError(f"output must be another folder than that of the images, got {folder}")
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
            result = run_case(case, image, folder, work, program, options)
            if result.measurement is not None:
                _keep(result, result.measurement, folder, source)
        stopped = result.status == "interrupted"
        yield result


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
    if not (folder / f"{case}{SEGMENTATION_SUFFIX}").is_file():
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
