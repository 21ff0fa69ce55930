"""What the page says first and last: the run in numbers, its faults, and how it was made."""

from __future__ import annotations

import json
from collections import Counter
from statistics import median
from typing import TYPE_CHECKING

from flare_fusion.report.markup import Html, element
from flare_fusion.results import fault_of_case

if TYPE_CHECKING:
    from flare_fusion.results import DatasetFusion

__all__ = ["faults_section", "header", "making_section"]


def header(result: DatasetFusion) -> Html:
    """Return title and the run in a few numbers."""
    kept = sum(case.status == "kept" for case in result.cases)
    moved = sum(bool(case.notes) for case in result.cases)
    conflicts = [case.agreement["conflict_ml"] for case in result.fused if case.agreement]
    middle = median(conflicts) if conflicts else None
    tiles = [
        ("cases fused", f"{len(result.fused)} of {len(result.cases)}", False),
        ("of these from an earlier run", str(kept), False) if kept else None,
        ("failed", str(len(result.failed)), True) if result.failed else None,
        ("with a source brought over", str(moved), False) if moved else None,
        ("conflict per case, median", f"{middle:.1f} ml", False) if middle is not None else None,
    ]
    cells = [
        element("div", element("dt", name), element("dd", value), class_="bad" if bad else None)
        for name, value, bad in filter(None, tiles)
    ]
    return element(
        "header",
        element("p", "flare-fusion", class_="brand"),
        element("h1", "Labels fused by ", element("bdi", result.settings.get("rule", ""))),
        element("p", "Dataset ", element("bdi", result.settings.get("dataset", ""))),
        element("dl", *cells, class_="tiles"),
    )


def faults_section(result: DatasetFusion) -> Html | None:
    """Return the cases that could not be fused; None if there are none."""
    if not result.failed:
        return None
    rows = [
        element(
            "tr",
            element("th", element("bdi", case.case), scope="row"),
            element("td", (case.error or {}).get("kind", "")),
            element("td", element("bdi", fault_of_case(case.case, case.error))),
        )
        for case in result.failed
    ]
    head = element("tr", *(element("th", each, scope="col") for each in ("Case", "Kind", "Fault")))
    return element(
        "section",
        element("h2", "Faults"),
        element("p", "These cases have no fused label map, not even one of an earlier run."),
        _scroll(element("table", element("thead", head), element("tbody", *rows), class_="plain")),
        id="faults",
    )


def making_section(result: DatasetFusion) -> Html:
    """Return settings, where the fused voxels came from, and what was done to the sources."""
    settings = [
        element("div", element("dt", name.replace("_", " ")), element("dd", _text(value)))
        for name, value in result.settings.items()
        if name != "cases_asked_for"
    ]
    chosen = result.settings.get("cases_asked_for")
    if chosen is not None:
        text = f"{len(chosen)} from a list"
        settings.append(element("div", element("dt", "cases"), element("dd", text)))
    notes = [
        element("li", element("bdi", case.case), ": ", element("bdi", note))
        for case in result.fused
        for note in case.notes
    ]
    presence = result.settings.get("k_source") == "presence"
    warning = (
        "K was taken from the labels that each file holds, as the published systems do. Where an "
        "annotated organ is truly absent, a pseudo-label for it was kept."
    )
    return element(
        "section",
        element("h2", "How this was made"),
        element("dl", *settings, class_="settings"),
        element("p", warning, class_="remark") if presence else None,
        _origins(result),
        element("h3", "Brought over from another grid") if notes else None,
        element("ul", *notes) if notes else None,
        id="making",
    )


def _origins(result: DatasetFusion) -> Html | None:
    """Return the labeled voxels by rule and origin."""
    totals: dict[str, Counter[str]] = {}
    for case in result.fused:
        totals.setdefault(case.rule, Counter()).update(case.origins)
    names = list(dict.fromkeys(name for total in totals.values() for name in total))
    names = [name for name in names if name != "background"]
    if not names:
        return None
    rows = []
    for rule, total in totals.items():
        labeled = sum(total[name] for name in names)
        shares = (
            element("td", f"{100 * total[name] / labeled:.1f} %" if total[name] else "")
            for name in names
        )
        rows.append(element("tr", element("th", element("bdi", rule), scope="row"), *shares))
    head = [element("th", name.replace("_", " "), scope="col") for name in names]
    return element(
        "div",
        element("h3", "Where the voxels came from"),
        element("p", "Shares of all voxels that the rule did not call background outright.",
                class_="small"),
        _scroll(
            element(
                "table",
                element("thead", element("tr", element("th", "Rule", scope="col"), *head)),
                element("tbody", *rows),
            )
        ),
    )  # fmt: skip


def _scroll(table: Html) -> Html:
    return element("div", table, class_="scroll", tabindex=0)


def _text(value: object) -> Html:
    if isinstance(value, dict) and not value:
        return Html("none given")
    if isinstance(value, bool):
        return Html("yes" if value else "no")
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return element("bdi", text)
