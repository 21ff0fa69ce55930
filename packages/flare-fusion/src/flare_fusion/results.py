"""What the fusion of a dataset returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flare_io.command import describe_record

__all__ = ["CaseFusion", "DatasetFusion", "fault_of_case"]


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
    image : str
        The image's file, first channel.
    sources : dict of str to str
        File of each source; ``"none"`` stands for a referee that saw nothing.
    label_map : str
        The fused file, relative to the output folder.
    provenance : str
        The file of origins, relative to the output folder; empty unless it was asked for.
    annotated : list of int
        The classes that somebody looked for: those of the partial label and of the other sources.
    partial_annotated : list of int or None
        The classes K that the fusion took for those of the partial label; None without one, or
        where nobody states them and the rule does not ask.
    volumes_ml : dict of str to float
        Volume of each label, 0 left out.
    origins : dict of str to int
        Voxels by origin.
    agreement : dict or None
        How far the sources agree, see `flare_fusion.conflict.agreement_record`.
    notes : list of str
        What was done to a source before the fusion.
    error : dict or None
        The fault as a record.
    """

    case: str
    status: Literal["done", "kept", "failed"]
    rule: str = ""
    image: str = ""
    sources: dict[str, str] = field(default_factory=dict)
    label_map: str = ""
    provenance: str = ""
    annotated: list[int] = field(default_factory=list)
    partial_annotated: list[int] | None = None
    volumes_ml: dict[str, float] = field(default_factory=dict)
    origins: dict[str, int] = field(default_factory=dict)
    agreement: dict[str, Any] | None = None
    notes: list[str] = field(default_factory=list)
    error: dict[str, Any] | None = None


@dataclass(frozen=True, kw_only=True)
class DatasetFusion:
    """What became of a dataset; also written as ``report.json``.

    Parameters
    ----------
    folder : Path
        Where the fused labels lie.
    cases : tuple of CaseFusion
        In the order of the dataset.
    settings : dict
        Rule, options and the rest of what was asked for.
    names : dict of str to str
        Name of each label.
    """

    folder: Path
    cases: tuple[CaseFusion, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> tuple[CaseFusion, ...]:
        """The cases without a fused label map."""
        return tuple(case for case in self.cases if case.status == "failed")

    @property
    def fused(self) -> tuple[CaseFusion, ...]:
        """The cases with a fused label map, of this run or an earlier one."""
        return tuple(case for case in self.cases if case.status != "failed")

    @property
    def label_maps(self) -> dict[str, Path]:
        """The fused file of each case that has one."""
        return {case.case: self.folder / case.label_map for case in self.fused}


def fault_of_case(case: str, error: Mapping[str, Any] | None) -> str:
    """Return a fault as one line that stands behind the name of its case.

    Examples
    --------
    >>> fault_of_case("c1", {"source": "A/c1.nii.gz", "rule": "ends early"})
    'A/c1.nii.gz: ends early'
    >>> fault_of_case("c1", {"source": "c1", "rule": "case has no source A"})
    'case has no source A'
    """
    record = dict(error or {})
    if record.get("source") == case:
        del record["source"]
    return describe_record(record)
