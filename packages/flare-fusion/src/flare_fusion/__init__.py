"""Published label-fusion rules as exact lookup tables, on NumPy or CuPy arrays."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flare_fusion.conflict import CellCounts, agreement_record
    from flare_fusion.dataset import fuse_dataset
    from flare_fusion.engine import FusionResult, apply_table, fuse
    from flare_fusion.general import majority_table
    from flare_fusion.plan import FusionSettings
    from flare_fusion.results import CaseFusion, DatasetFusion
    from flare_fusion.rules import Origin, Rule, fusion_rule, rule_names
    from flare_fusion.selection import instability, keep_stable, select_by_agreement
    from flare_fusion.tables import FusionTable, compile_table

__all__ = [
    "CaseFusion",
    "CellCounts",
    "DatasetFusion",
    "FusionResult",
    "FusionSettings",
    "FusionTable",
    "Origin",
    "Rule",
    "agreement_record",
    "apply_table",
    "compile_table",
    "fuse",
    "fuse_dataset",
    "fusion_rule",
    "instability",
    "keep_stable",
    "majority_table",
    "rule_names",
    "select_by_agreement",
]

__version__ = version("flare-fusion")

_HOME = {
    "CaseFusion": "results",
    "CellCounts": "conflict",
    "DatasetFusion": "results",
    "FusionResult": "engine",
    "FusionSettings": "plan",
    "FusionTable": "tables",
    "Origin": "rules",
    "Rule": "rules",
    "agreement_record": "conflict",
    "apply_table": "engine",
    "compile_table": "tables",
    "fuse": "engine",
    "fuse_dataset": "dataset",
    "fusion_rule": "rules",
    "instability": "selection",
    "keep_stable": "selection",
    "majority_table": "general",
    "rule_names": "rules",
    "select_by_agreement": "selection",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'flare_fusion' has no attribute {name!r}")
    value = getattr(import_module(f"flare_fusion.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
