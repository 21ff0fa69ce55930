"""What all cases of one run share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flare_io.errors import DatasetError
from flare_io.labels import LabelTable

__all__ = ["FusionPlan", "FusionSettings"]


@dataclass(frozen=True, kw_only=True)
class FusionSettings:
    """How a dataset is fused, apart from the rule.

    Parameters
    ----------
    k_source : {"manifest", "presence"}
        Where a case's annotated classes come from; ``"presence"`` takes the labels its file
        holds, as the published systems do, and is wrong where an annotated organ is truly absent.
    resample : bool
        Bring a source on another grid over by nearest neighbor in patient space, and say so in
        the report; otherwise it is refused.
    provenance : bool
        Write ``provenanceTr/<case>.nii.gz`` too, the `Origin` of each voxel.
    cases : sequence of str, optional
        Fuse these cases only; all by default.

    Raises
    ------
    ValueError
        If ``k_source`` is neither of the two.
    """

    k_source: Literal["manifest", "presence"] = "manifest"
    resample: bool = False
    provenance: bool = False
    cases: Sequence[str] | None = None

    def __post_init__(self) -> None:
        if self.k_source not in ("manifest", "presence"):
            raise ValueError(f"k_source must be 'manifest' or 'presence', got {self.k_source!r}")


@dataclass(frozen=True, kw_only=True)
class FusionPlan:
    """A run: rule, options, sources, where the results go, and the rest of the settings."""

    rule: str
    options: Mapping[str, Any]
    folders: Mapping[str, Path]
    output: Path
    table: LabelTable
    ending: str
    settings: FusionSettings

    def check_folders(self) -> None:
        """Refuse sources that are no folders, before any work."""
        for name, folder in self.folders.items():
            if not folder.is_dir():
                raise DatasetError(folder, f"source {name} must be a folder", kind="missing")

    def to_dict(self) -> dict[str, Any]:
        """Return the settings for ``report.json``."""
        chosen = self.settings.cases
        return {
            "rule": self.rule,
            "options": dict(self.options),
            "sources": {name: str(folder) for name, folder in self.folders.items()},
            "k_source": self.settings.k_source,
            "resample": self.settings.resample,
            "provenance": self.settings.provenance,
            "cases_asked_for": None if chosen is None else list(chosen),
        }
