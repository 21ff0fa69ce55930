"""The page as one file that loads nothing and runs nothing but its own few lines."""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_metrics.atomic import write_text
from flare_metrics.report.case_table import cases_section
from flare_metrics.report.header import faults_section, header, rules_section
from flare_metrics.report.lesions import lesions_section
from flare_metrics.report.markup import Html, element
from flare_metrics.report.plots import plots_section
from flare_metrics.report.summary_table import summary_section
from flare_metrics.report.worst import worst_section

if TYPE_CHECKING:
    from flare_metrics.folder import FolderScore

__all__ = ["report_html", "write_report"]

_TITLES = {
    "faults": "Faults",
    "labels": "Labels",
    "plots": "Plots",
    "worst": "Worst cases",
    "lesions": "Lesions",
    "efficiency": "Time and memory",
    "cases": "All cases",
    "rules": "How this was scored",
}


def write_report(
    path: str | os.PathLike[str],
    result: FolderScore,
    *,
    images: Path | None = None,
    efficiency: Path | None = None,
) -> None:
    """Write the scores of a folder as one self-contained page, whole or not at all.

    Parameters
    ----------
    path : path
        ``report.html``; its folder must exist.
    result : FolderScore
        The label maps of the worst cases are read again; one that is gone is said in its place.
    images : Path, optional
        Folder of scans ``<case>_0000.nii.gz`` or ``<case>.nii.gz`` to show behind them.
    efficiency : Path, optional
        What ``flare-metrics measure`` wrote: file or folder.

    Raises
    ------
    UnreadableFileError
        If ``efficiency`` holds no measurement.
    OSError
        If the page cannot be written.

    Notes
    -----
    Ten worst cases of 512 x 512 x 200 voxels take a second each, and two with scans. The page
    stays below 5 MB for some hundred cases, pictures included.
    """
    write_text(path, report_html(result, images=images, efficiency=efficiency))


def report_html(
    result: FolderScore, *, images: Path | None = None, efficiency: Path | None = None
) -> str:
    """Return the page of `write_report` as text."""
    cost, curves_style = _efficiency(efficiency)
    summary = result.summary()
    sections = {
        "faults": faults_section(result),
        "labels": summary_section(summary),
        "plots": plots_section(result),
        "worst": worst_section(result, images=images),
        "lesions": lesions_section(result, summary),
        "efficiency": cost,
        "cases": cases_section(result),
        "rules": rules_section(result),
    }
    shown = {name: section for name, section in sections.items() if section is not None}
    links = [element("a", _TITLES[name], href=f"#{name}") for name in shown]
    style, script = (Html(_data(name)) for name in ("page.css", "page.js"))
    body = element(
        "body",
        header(result, summary),
        element("nav", *links, aria_label="Sections"),
        element("main", *shown.values()),
        element("script", script),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element(
            "meta",
            http_equiv="Content-Security-Policy",
            content=_policy([style, *curves_style], script),
        ),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        # Without it a browser asks the place that serves the page for one.
        element("link", rel="icon", href="data:,"),
        element("title", f"{result.protocol.name}: scores of {len(result.cases)} cases"),
        element("style", style),
    )
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def _efficiency(path: Path | None) -> tuple[Html | None, list[str]]:
    """Return the section of costs, and the style that its curves bring along."""
    if path is None:
        return None, []
    from flare_metrics.efficiency.curves import CURVES_STYLE
    from flare_metrics.report.efficiency import efficiency_section
    from flare_metrics.report.measured import read_measured

    return efficiency_section(read_measured(path)), [CURVES_STYLE]


def _policy(styles: Sequence[str], script: str) -> str:
    """Allow these styles, this script and pictures within the page; nothing else."""
    allowed = " ".join(map(_digest, styles))
    return (
        f"default-src 'none'; img-src data:; style-src {allowed}; script-src {_digest(script)}; "
        "base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(name: str) -> str:
    folder: Any = resources.files("flare_metrics.report")
    text: str = (folder / name).read_text(encoding="utf-8")
    return text
