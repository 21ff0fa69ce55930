"""What the fusion of a dataset returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

__all__ = ["CaseFusion", "DatasetFusion"]


@dataclass(frozen=True, kw_only=True)
class CaseFusion:
    """What became of one case.

    Parameters
    ----------
    case : str
    status : {"done", "kept", "failed"}
        ``"kept"``: an earlier run had finished it.
    rule : str
        The rule that was applied.
    sources : dict of str to str
        File of each source; ``"none"`` stands for a referee that saw nothing.
    label_map : str
        The fused file, relative to the output folder.
    volumes_ml : dict of str to float
        Volume of each label.
    origins : dict of str to int
        Voxels by origin.
    error : dict or None
        The fault as a record.
    """

    case: str
    status: Literal["done", "kept", "failed"]
    rule: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    label_map: str = ""
    volumes_ml: dict[str, float] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)
    error: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetFusion:
    """What became of a dataset; also written as ``report.json``."""

    folder: Path
    cases: tuple[CaseFusion, ...]

    @property
    def failed(self) -> tuple[CaseFusion, ...]:
        """The cases without a fused label map."""
        return tuple(case for case in self.cases if case.status == "failed")

    @property
    def label_maps(self) -> dict[str, Path]:
        """The fused file of each case that has one."""
        return {
            case.case: self.folder / case.label_map
            for case in self.cases
            if case.status != "failed"
        }
