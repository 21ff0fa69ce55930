"""The page as one file that loads nothing and runs nothing but its own few lines."""

from __future__ import annotations

import base64
import hashlib
import os
from importlib import resources
from typing import TYPE_CHECKING, Any

from flare_fusion.report.agreement import agreement_section
from flare_fusion.report.case_table import cases_section
from flare_fusion.report.header import faults_section, header, making_section
from flare_fusion.report.markup import Html, element
from flare_fusion.report.worst import worst_section
from flare_io.atomic import write_text

if TYPE_CHECKING:
    from flare_fusion.results import DatasetFusion

__all__ = ["report_html", "write_report"]

_TITLES = {
    "faults": "Faults",
    "agreement": "Agreement",
    "worst": "Worst cases",
    "cases": "All cases",
    "making": "How this was made",
}


def write_report(
    path: str | os.PathLike[str], result: DatasetFusion, *, jobs: int | None = None
) -> None:
    """Write what became of a dataset as one self-contained page, whole or not at all.

    Parameters
    ----------
    path : path
        ``report.html``; its folder must exist.
    result : DatasetFusion
        Images and label maps of the worst cases are read again; one that is gone is said in its
        place.
    jobs : int, optional
        Worst cases drawn at the same time; None leaves it to ``joblib.parallel_config``.

    Raises
    ------
    OSError
        If the page cannot be written.

    Notes
    -----
    Ten worst cases of 512 x 512 x 200 voxels take two seconds each. The page stays below 5 MB for
    some thousand cases, pictures included.
    """
    write_text(path, report_html(result, jobs=jobs))


def report_html(result: DatasetFusion, *, jobs: int | None = None) -> str:
    """Return the page of `write_report` as text."""
    sections = {
        "faults": faults_section(result),
        "agreement": agreement_section(result),
        "worst": worst_section(result, jobs=jobs),
        "cases": cases_section(result),
        "making": making_section(result),
    }
    shown = {name: section for name, section in sections.items() if section is not None}
    links = [element("a", _TITLES[name], href=f"#{name}") for name in shown]
    style, script = (Html(_data(name)) for name in ("page.css", "page.js"))
    body = element(
        "body",
        header(result),
        element("nav", *links, aria_label="Sections"),
        element("main", *shown.values()),
        element("script", script),
    )
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", http_equiv="Content-Security-Policy", content=_policy(style, script)),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", name="color-scheme", content="light dark"),
        element("meta", name="referrer", content="no-referrer"),
        # Without it a browser asks the place that serves the page for one.
        element("link", rel="icon", href="data:,"),
        element("title", f"{len(result.cases)} cases fused by {result.settings.get('rule', '')}"),
        element("style", style),
    )
    return "<!DOCTYPE html>\n" + element("html", head, body, lang="en") + "\n"


def _policy(style: str, script: str) -> str:
    """Allow this style, this script and pictures within the page; nothing else."""
    return (
        f"default-src 'none'; img-src data:; style-src {_digest(style)}; "
        f"script-src {_digest(script)}; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def _data(name: str) -> str:
    folder: Any = resources.files("flare_fusion.report")
    text: str = (folder / name).read_text(encoding="utf-8")
    return text
