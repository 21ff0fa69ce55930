"""The tables of a run over cases: the challenge's, and one with everything."""

from __future__ import annotations

import csv
import io
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_metrics.atomic import write_json, write_text
from flare_metrics.efficiency.official import COLUMNS

if TYPE_CHECKING:
    from flare_metrics.efficiency.case_run import CaseMeasurement

__all__ = ["IMAGE_SUFFIX", "efficiency_csv", "summarize_cases", "write_tables"]

IMAGE_SUFFIX = "_0000.nii.gz"
_OFFICIAL = (
    "time_s",
    "max_gpu_mib",
    "area_gpu_mib_s",
    "max_cpu_percent",
    "area_cpu_percent_s",
    "max_ram_mib",
    "area_ram_mib_s",
)


def write_tables(
    results: Sequence[CaseMeasurement], folder: Path, *, team: str, program: Sequence[str]
) -> None:
    """Write ``<team>_Efficiency.csv`` and ``measurements.json``, each whole or not at all."""
    write_text(folder / f"{team}_Efficiency.csv", efficiency_csv(results))
    write_json(
        folder / "measurements.json",
        {"team": team, "program": list(program), **summarize_cases(results)},
    )


def efficiency_csv(results: Sequence[CaseMeasurement]) -> str:
    """Return the challenge's table: its eight columns, one row a case.

    A case that was not measured has its row too, with its name only: the time of a run that
    failed is no time to be ranked by.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, restval="")
    writer.writeheader()
    for result in results:
        measured = result.measurement if result.status == "measured" else None
        writer.writerow(
            {"Name": result.case + IMAGE_SUFFIX} if measured is None else measured.official.row()
        )
    return text.getvalue()


def summarize_cases(results: Sequence[CaseMeasurement]) -> dict[str, Any]:
    """Return a JSON-ready dict of all cases, without their samples.

    Returns
    -------
    dict
        ``counts`` by status; ``summary``: number, mean, median and largest value of each official
        column over the measured cases; ``cases``: ``case``, ``status``, ``reason`` and
        ``measurement`` (None where there is none).
    """
    statuses = [result.status for result in results]
    official = [
        result.measurement.official
        for result in results
        if result.measurement is not None and result.status == "measured"
    ]
    summary = {}
    for name in _OFFICIAL:
        values = [value for row in official if (value := getattr(row, name)) is not None]
        summary[name] = {
            "n": len(values),
            "mean": statistics.fmean(values) if values else None,
            "median": statistics.median(values) if values else None,
            "max": max(values, default=None),
        }
    return {
        "counts": {status: statuses.count(status) for status in dict.fromkeys(statuses)},
        "summary": summary,
        "cases": [
            {
                "case": result.case,
                "status": result.status,
                "reason": result.reason,
                "measurement": result.measurement and result.measurement.to_json(samples=False),
            }
            for result in results
        ],
    }
