"""The figures of time, memory and load: the challenge's columns and what was truly so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from flare_metrics.report.measured import MeasuredCase

__all__ = ["COST_GROUPS", "Figure", "figures_present"]


class Figure(NamedTuple):
    """One figure of a measured case.

    ``source`` is a column of the challenge, or an attribute of `Measurement`, with the part of
    its `Level` behind a dot.
    """

    head: str
    source: str
    digits: int = 0

    def of(self, case: MeasuredCase) -> float | None:
        """Return the value, None where there is none, or the case failed."""
        if case.status not in ("", "measured"):
            return None
        if self.source in case.official:
            value = case.official[self.source]
            return None if value in (None, "") else float(value)
        if case.measurement is None:
            return None
        name, _, part = self.source.partition(".")
        found = getattr(case.measurement, name, None)
        value = getattr(found, part) if part and found is not None else found
        return None if value is None else float(value)


COST_GROUPS = {
    "Time and GPU memory": (
        Figure("Time s", "Time", 2),
        Figure("true time s", "time_s", 2),
        Figure("MaxGPU_Mem MiB", "MaxGPU_Mem"),
        Figure("true peak MiB", "gpu_mib.peak"),
        Figure("peak above start MiB", "gpu_mib.above_baseline"),
        Figure("peak of own processes MiB", "tree_gpu_mib.peak"),
        Figure("AUC_GPU_Time MiB s", "AUC_GPU_Time"),
        Figure("true area MiB s", "gpu_mib.area"),
        Figure("area above start MiB s", "gpu_mib.area_above_baseline"),
    ),
    "Memory of the machine": (
        Figure("MaxRAM MiB", "MaxRAM"),
        Figure("true peak MiB", "ram_mib.peak"),
        Figure("peak of own processes MiB", "tree_ram_mib.peak"),
        Figure("AUC_RAM_Time MiB s", "AUC_RAM_Time"),
        Figure("true area MiB s", "ram_mib.area"),
    ),
    "Processors": (
        Figure("MaxCPU_Utilization %", "MaxCPU_Utilization", 1),
        Figure("true peak %", "cpu_percent.peak", 1),
        Figure("peak of own processes, % of one", "tree_cpu_percent.peak", 1),
        Figure("AUC_CPU_Time % s", "AUC_CPU_Time", 1),
        Figure("true area % s", "cpu_percent.area", 1),
    ),
}
"""Figures that belong together, each of the challenge's before what was truly so."""


def figures_present(cases: Sequence[MeasuredCase]) -> dict[str, list[Figure]]:
    """Return the groups with those figures that any case has."""
    present = {
        name: [figure for figure in figures if any(figure.of(case) is not None for case in cases)]
        for name, figures in COST_GROUPS.items()
    }
    return {name: figures for name, figures in present.items() if figures}
