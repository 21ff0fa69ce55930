"""What a program costs: time, memory and processors, as the FLARE challenge counts and soundly."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_metrics.efficiency.case_run import CaseMeasurement, CaseOptions
    from flare_metrics.efficiency.cases import measure_cases
    from flare_metrics.efficiency.container import ContainerOptions
    from flare_metrics.efficiency.curves import curves_svg
    from flare_metrics.efficiency.levels import Level
    from flare_metrics.efficiency.measurement import Measurement, read_measurement
    from flare_metrics.efficiency.meter import Meter, measure_efficiency
    from flare_metrics.efficiency.official import Efficiency, official_efficiency
    from flare_metrics.efficiency.running import CommandRun, measure_command
    from flare_metrics.efficiency.samples import GpuDevice, SampleLog, Samples, read_log

__all__ = [
    "CaseMeasurement",
    "CaseOptions",
    "CommandRun",
    "ContainerOptions",
    "Efficiency",
    "GpuDevice",
    "Level",
    "Measurement",
    "Meter",
    "SampleLog",
    "Samples",
    "curves_svg",
    "measure_cases",
    "measure_command",
    "measure_efficiency",
    "official_efficiency",
    "read_log",
    "read_measurement",
]

_HOME = {
    "CaseMeasurement": "case_run",
    "CaseOptions": "case_run",
    "CommandRun": "running",
    "ContainerOptions": "container",
    "Efficiency": "official",
    "GpuDevice": "samples",
    "Level": "levels",
    "Measurement": "measurement",
    "Meter": "meter",
    "SampleLog": "samples",
    "Samples": "samples",
    "curves_svg": "curves",
    "measure_cases": "cases",
    "measure_command": "running",
    "measure_efficiency": "meter",
    "official_efficiency": "official",
    "read_log": "samples",
    "read_measurement": "measurement",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flare_metrics.efficiency' has no attribute {name!r}")
    value = getattr(import_module(f"flare_metrics.efficiency.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
