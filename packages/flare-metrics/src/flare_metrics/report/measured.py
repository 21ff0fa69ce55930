"""What `flare-metrics measure` left behind, in whichever of its forms."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flare_metrics.efficiency.measurement import Measurement, read_measurement
from flare_metrics.efficiency.official import COLUMNS
from flare_metrics.errors import UnreadableFileError

__all__ = ["MeasuredCase", "read_measured"]


@dataclass(frozen=True, kw_only=True)
class MeasuredCase:
    """One measured case.

    Parameters
    ----------
    name : str
    status, reason : str
        Empty where the file does not tell.
    official : mapping
        The challenge's eight columns; empty where nothing was measured.
    measurement : Measurement or None
        None where there is the challenge's table only.
    """

    name: str
    status: str = ""
    reason: str = ""
    official: Mapping[str, Any] = field(default_factory=dict)
    measurement: Measurement | None = None


def read_measured(path: Path) -> list[MeasuredCase]:
    """Read a measurement of one command or of many cases.

    Parameters
    ----------
    path : Path
        ``FILE.json`` or the folder of ``measure -o``, the folder of ``measure --cases``, its
        ``measurements.json``, or a table ``<team>_Efficiency.csv``.

    Raises
    ------
    UnreadableFileError
        If there is no measurement.
    """
    if path.is_dir():
        return _from_folder(path)
    if path.suffix.lower() == ".csv":
        return _from_table(path)
    record = _json(path)
    if "cases" in record:
        return _from_cases(record, path)
    return [_one(read_measurement(path))]


def _from_folder(folder: Path) -> list[MeasuredCase]:
    for name in ("measurements.json", "measurement.json"):
        if (folder / name).is_file():
            return read_measured(folder / name)
    tables = sorted(folder.glob("*_Efficiency.csv"))
    if tables:
        return _from_table(tables[0])
    files = sorted(folder.glob("*.json"))
    if files:
        return [_one(read_measurement(file)) for file in files]
    raise UnreadableFileError(
        folder,
        "efficiency must be what flare-metrics measure wrote",
        found="neither measurements.json nor measurement.json",
        kind="format",
    )


def _from_cases(record: Mapping[str, Any], path: Path) -> list[MeasuredCase]:
    cases = []
    try:
        for row in record["cases"]:
            measurement = None
            official: Mapping[str, Any] = {}
            if row["measurement"] is not None:
                measurement = Measurement.from_json(row["measurement"])
                # The cost of a run that failed is no cost of the work.
                official = measurement.official.row() if row["status"] == "measured" else {}
            cases.append(
                MeasuredCase(
                    name=row["case"],
                    status=row["status"],
                    reason=row["reason"],
                    official=official,
                    measurement=_with_samples(measurement, path.parent / f"{row['case']}.json"),
                )
            )
    except (KeyError, TypeError, ValueError) as error:
        raise _not_one(path, error) from error
    return cases


def _with_samples(measurement: Measurement | None, path: Path) -> Measurement | None:
    """Return the measurement of the case's own file, which has the samples, if it is there."""
    if measurement is None:
        return None
    try:
        whole = read_measurement(path)
    except (UnreadableFileError, OSError):
        return measurement
    return whole if whole.started == measurement.started else measurement


def _from_table(path: Path) -> list[MeasuredCase]:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        cases = []
        for row in rows:
            numbers = {
                name: float(row[name]) if row[name] else "" for name in COLUMNS if name != "Name"
            }
            cases.append(MeasuredCase(name=row["Name"], official={"Name": row["Name"], **numbers}))
    except (OSError, KeyError, ValueError, TypeError, csv.Error) as error:
        raise _not_one(path, error) from error
    return cases


def _one(measurement: Measurement) -> MeasuredCase:
    return MeasuredCase(
        name=measurement.name, official=measurement.official.row(), measurement=measurement
    )


def _json(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise _not_one(path, error) from error
    if not isinstance(record, dict):
        raise _not_one(path, TypeError("no JSON object"))
    return record


def _not_one(path: Path, error: Exception) -> UnreadableFileError:
    return UnreadableFileError(
        path,
        "efficiency must be what flare-metrics measure wrote",
        found=f"{type(error).__name__} {error}",
        kind="format",
    )
