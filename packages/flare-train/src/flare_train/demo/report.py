"""What the demo found, as JSON for programs and as a page of text for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flare_io.atomic import write_json, write_text
from flare_train.demo.prediction import PredictedCase

__all__ = ["DemoReport", "write_report"]


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """Everything a demo ends with.

    Parameters
    ----------
    folder : Path
    scale : str
    smallest_dsc : float or None
        Mean organ DSC on the held-out phantoms below which the demo counts as failed.
    summary : mapping
        Scores of the held-out phantoms, as flare-metrics summarizes them.
    heldout, ct : tuple of PredictedCase
    refused : mapping of str to str
        Entries of the CT folders that are no CT, with the reason.
    names : mapping of int to str
        Name of each label id.
    places : mapping of str to Path
        What lies where.
    seconds : float
        Wall time of this call.
    """

    folder: Path
    scale: str
    smallest_dsc: float | None
    summary: Mapping[str, Any]
    heldout: tuple[PredictedCase, ...]
    ct: tuple[PredictedCase, ...]
    refused: Mapping[str, str]
    names: Mapping[int, str]
    places: Mapping[str, Path]
    seconds: float

    @property
    def mean_organ_dsc(self) -> float:
        """Mean DSC of all organs over the held-out phantoms; 0 if none could be scored."""
        return float(self.summary["organs"]["mean_dsc"] or 0.0)

    @property
    def shortcoming(self) -> str:
        """Why the demo counts as failed, on one line; empty if it does not."""
        demand = self.smallest_dsc
        if demand is not None and not self.mean_organ_dsc > demand:
            return (
                f"{self.folder}: mean organ DSC on the held-out phantoms must be > {demand}, "
                f"found {self.mean_organ_dsc:.3f}"
            )
        failed = [case.id for case in self.heldout if case.error]
        return f"{self.folder}: {len(failed)} phantoms failed, first {failed[0]}" if failed else ""

    def to_dict(self) -> dict[str, Any]:
        """Return the report as JSON-ready values."""
        return {
            "scale": self.scale,
            "mean_organ_dsc": self.mean_organ_dsc,
            "smallest_dsc": self.smallest_dsc,
            "heldout": dict(self.summary),
            "ct": [asdict(case) for case in self.ct],
            "refused": dict(self.refused),
        }

    def describe(self) -> str:
        """Return the tables and the places of all files as text."""
        return "\n".join([*self._score_lines(), *self._ct_lines(), *self._place_lines()])

    def _score_lines(self) -> list[str]:
        summary = self.summary
        lines = [
            "",
            f"held-out phantoms ({len(self.heldout)})      DSC     NSD (FLARE's tolerances)",
        ]
        lines += [
            f"  {label['name']:24s} {_score(label['dsc'])}   {_score(label['nsd'])}"
            for label in summary["labels"].values()
        ]
        organs = summary["organs"]
        lines.append(
            f"  {'mean of the organs':24s} {_number(organs['mean_dsc'])}   "
            f"{_number(organs['mean_nsd'])}"
        )
        return lines

    def _ct_lines(self) -> list[str]:
        lines = []
        if self.ct:
            lines = ["", "real CT, by a net that has seen phantoms only (volumes in ml)"]
            names = [name.split()[0] for name in self.names.values()]
            lines.append(f"  {'case':24s}" + "".join(f"{name:>10s}" for name in names) + "   time")
        for case in self.ct:
            if case.error:
                lines.append(f"  {case.id:24s} failed: {case.error}")
                continue
            volumes = [case.volumes_ml.get(str(label), 0.0) for label in self.names]
            row = "".join(f"{volume:10.0f}" for volume in volumes)
            lines.append(f"  {case.id:24s}{row} {case.seconds:5.1f} s")
        if self.refused:
            lines += ["", "not taken as CT"]
            lines += [f"  {name}: {reason}" for name, reason in self.refused.items()]
        return lines

    def _place_lines(self) -> list[str]:
        lines = [f"  {what:17s} {place}" for what, place in self.places.items()]
        return ["", f"done in {self.seconds:.0f} s; here lie", *lines]


def write_report(report: DemoReport) -> None:
    """Write ``report.json`` and ``report.txt`` into the demo's folder."""
    write_json(report.folder / "report.json", report.to_dict())
    write_text(report.folder / "report.txt", report.describe().lstrip("\n") + "\n")


def _score(values: Mapping[str, float | None]) -> str:
    return _number(values["mean"])


def _number(value: float | None) -> str:
    return "    -" if value is None else f"{value:5.3f}"
