"""The results of claims as JSON, CSV and a page of Markdown."""

from __future__ import annotations

import csv
import io
import math
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from flare_io.atomic import write_json, write_text
from flare_train.claims.findings import Finding
from flare_train.claims.measures import CaseRow, case_values, unlearned
from flare_train.claims.register import Claim, Comparison

__all__ = ["ClaimResult", "write_report"]

_READING = (
    "An effect is the second arm minus the first, the mean over seeds of the mean over held-out "
    "cases, for DSC and NSD in points of 100; equal seeds share patients, first weights and the "
    "order of samples. Intervals of 95 % come from a bootstrap of seeds and then of cases within "
    "them. `seen` is the half-width that was planned with, the smallest effect that the design can "
    "be expected to see. p is of the sign test over cases, adjusted by Holm over all comparisons "
    "of this page. Bold rows decide about their claim. The phantoms prove nothing about patients: "
    "they show whether a mechanism works."
)
_WORDS = {
    "organ_dsc": "organs DSC",
    "organ_nsd": "organs NSD",
    "tumor_dsc": "tumor DSC",
    "tumor_nsd": "tumor NSD",
    "healthy_ml": "false tumor in healthy cases, ml",
    "seconds": "s per case",
}


@dataclass(frozen=True, kw_only=True)
class ClaimResult:
    """One claim, tried.

    Parameters
    ----------
    claim : Claim
    organs, tumor : tuple of int, int
        Label ids.
    rows : tuple of CaseRow
    training_seconds : mapping of str to float
        By arm, of all nets that it needs, all seeds together; arms may share nets.
    findings : tuple of Finding
    """

    claim: Claim
    organs: tuple[int, ...]
    tumor: int
    rows: tuple[CaseRow, ...]
    training_seconds: Mapping[str, float]
    findings: tuple[Finding, ...]


def write_report(
    folder: Path, results: Sequence[ClaimResult], *, scale: str, seeds: int, jobs: int
) -> None:
    """Write ``claims.json``, ``claims.md`` and ``cases.csv``, each whole or not at all."""
    settings = {
        "scale": scale,
        "seeds": seeds,
        "jobs": jobs,
        "machine": {"system": platform.platform(), "cores": os.cpu_count()},
        "versions": {name: version(name) for name in ("flare-train", "flare-nets", "torch")},
    }
    plain = [_plain(result) for result in results]
    write_json(folder / "claims.json", {**settings, "claims": plain})
    write_text(folder / "cases.csv", _csv(results))
    write_text(folder / "claims.md", _markdown(results, settings))


def _plain(result: ClaimResult) -> dict[str, Any]:
    claim = result.claim
    return {
        "claim": claim.id,
        "title": claim.title,
        "published": claim.published,
        "arms": [
            {"name": arm.name, "about": arm.about, **_arm_numbers(result, arm.name)}
            for arm in claim.arms
        ],
        "findings": [
            {key: _number(value) for key, value in asdict(finding).items()}
            for finding in result.findings
        ],
    }


def _arm_numbers(result: ClaimResult, arm: str) -> dict[str, Any]:
    rows = [row for row in result.rows if row.arm == arm]
    numbers: dict[str, Any] = {}
    for measure in ("organ_dsc", "organ_nsd", "tumor_dsc", "healthy_ml", "seconds"):
        comparison = Comparison(first=arm, second=arm, measure=measure, expect="same")
        values = case_values(rows, comparison, organs=result.organs, tumor=result.tumor)
        numbers[measure] = float(np.mean(list(values.values()))) if values else None
    pairs = unlearned(rows, (*result.organs, result.tumor))
    numbers["unlearned"] = [list(pair) for pair in pairs]
    numbers["labels"] = {
        name: float(np.mean([row.dsc for row in rows if row.name == name and _shown(row)]))
        for name in dict.fromkeys(row.name for row in rows if _shown(row))
    }
    numbers["training_seconds"] = result.training_seconds.get(arm)
    return numbers


def _shown(row: CaseRow) -> bool:
    return row.reference_ml > 0 and not math.isnan(row.dsc)


def _csv(results: Sequence[ClaimResult]) -> str:
    names = [entry.name for entry in fields(CaseRow)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for result in results:
        for row in result.rows:
            values = (getattr(row, name) for name in names)
            writer.writerow(
                "" if isinstance(value, float) and math.isnan(value) else value for value in values
            )
    return text.getvalue()


def _markdown(results: Sequence[ClaimResult], settings: Mapping[str, Any]) -> str:
    versions, machine = settings["versions"], settings["machine"]
    head = ("claim", "what is compared", "effect", "95 % interval", "seen", "cases +/-", "p",
            "expected", "verdict")  # fmt: skip
    lines = [
        "# Published claims, tried on phantoms",
        "",
        f"Scale {settings['scale']}, {settings['seeds']} seed(s), {settings['jobs']} process(es); "
        f"flare-train {versions['flare-train']}, torch {versions['torch']}, {machine['system']}, "
        f"{machine['cores']} cores.",
        "",
        _READING,
        "",
        f"| {' | '.join(head)} |",
        "|---" * len(head) + "|",
        *(_finding_line(finding) for result in results for finding in result.findings),
    ]
    for result in results:
        lines += ["", f"## {result.claim.id}: {result.claim.title}", ""]
        lines += [f"Published: {result.claim.published}.", ""]
        lines += [result.claim.about, ""] if result.claim.about else []
        lines += _arm_table(result)
    return "\n".join(lines) + "\n"


def _finding_line(finding: Finding) -> str:
    comparison = finding.comparison
    scale, digits = (100, 1) if comparison.measure.endswith(("dsc", "nsd")) else (1, 3)
    measure = comparison.name or _WORDS[comparison.measure]
    planned = "" if finding.planned is None else f"{scale * finding.planned:.{digits}f}"
    bold = "**" if comparison.primary else ""
    cells = [
        f"{bold}{finding.claim}{bold}",
        f"{comparison.first} → {comparison.second}: {measure}",
        f"{scale * finding.effect:+.{digits}f}",
        f"{scale * finding.low:+.{digits}f} to {scale * finding.high:+.{digits}f}",
        planned,
        f"{finding.positive}/{finding.negative}",
        f"{finding.p_holm:.2g}",
        comparison.expect,
        f"{bold}{finding.verdict}{bold}",
    ]
    return f"| {' | '.join(cells)} |"


def _arm_table(result: ClaimResult) -> list[str]:
    lines = [
        "| arm | organs DSC | NSD | tumor DSC | false tumor, ml | not learned | training, s |",
        "|---|---|---|---|---|---|---|",
    ]
    for arm in result.claim.arms:
        numbers = _arm_numbers(result, arm.name)
        missing = [f"{name} (seed {seed})" for name, seed in numbers["unlearned"]]
        cells = [
            f"{arm.name}: {arm.about}",
            *(_percent(numbers[name]) for name in ("organ_dsc", "organ_nsd", "tumor_dsc")),
            "" if numbers["healthy_ml"] is None else f"{numbers['healthy_ml']:.1f}",
            ", ".join(missing) or "0",
            "" if numbers["training_seconds"] is None else f"{numbers['training_seconds']:.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _percent(value: float | None) -> str:
    return "" if value is None else f"{100 * value:.1f}"


def _number(value: Any) -> Any:
    return None if isinstance(value, float) and math.isnan(value) else value
