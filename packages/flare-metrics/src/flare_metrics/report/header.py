"""The head of the page: what was scored, by which rules, and what went wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from flare_metrics.report.markup import Html, element
from flare_metrics.report.rules import rules_in_words

if TYPE_CHECKING:
    from flare_metrics.folder import FolderScore
    from flare_metrics.protocols import Protocol

__all__ = ["faults_section", "header", "rules_section"]

_DEFINITIONS = {
    "dsc": ("DSC", "twice the common volume over the sum of both volumes; 1 is best."),
    "nsd": (
        "NSD",
        "surface Dice (Nikolov et al.): the share of both surfaces, by area, that lies within the "
        "label's tolerance of the other one; 1 is best.",
    ),
    "hd95_mm": (
        "HD95",
        "the distance that 95 % of the surface, by area, stays within; the larger of both "
        "directions; mm, 0 is best.",
    ),
    "assd_mm": (
        "ASSD",
        "the mean distance of both surfaces from each other, by area; mm, 0 is best.",
    ),
}
_MEANINGS = {
    "no prediction": "there is no file of this name among the predictions",
    "prediction refused": "the prediction cannot be used",
    "script stops": "the official script ends in this case",
    "failed": "the case could not be scored",
    "no reference": "there is no file of this name among the references",
}


def header(result: FolderScore, summary: Mapping[str, Any]) -> Html:
    """Return title, protocol, and how many cases of which status there are."""
    rules = result.protocol
    organs = summary["organs"]
    means = [
        element("div", element("dt", f"mean organ {name}"), element("dd", f"{value:.4f}"))
        for name, value in (("DSC", organs["mean_dsc"]), ("NSD", organs["mean_nsd"]))
        if value is not None
    ]
    counts = [
        element(
            "div",
            element("dt", status),
            element("dd", count),
            class_=None if status == "scored" else "bad",
        )
        for status, count in summary["cases"].items()
    ]
    number = len(result.cases)
    return element(
        "header",
        element("p", "flare-metrics", class_="brand"),
        element("h1", f"Scores of {number} {'case' if number == 1 else 'cases'}"),
        element("p", "Protocol ", element("b", rules.title or rules.name)),
        element("dl", *means, *counts, class_="tiles"),
        _definitions(summary["definitions"]),
        *_quirks(rules),
    )


def faults_section(result: FolderScore) -> Html | None:
    """Return the list of cases that are anything but plainly scored; None if there are none."""
    rows = [
        element(
            "tr",
            element("th", element("bdi", case.case), scope="row"),
            element("td", case.status, class_="nowrap"),
            element("td", case.reason or _MEANINGS.get(case.status, "")),
        )
        for case in result.cases
        if case.status != "scored" or case.note
    ]
    if not rows:
        return None
    faulty = len(result.faulty)
    worst = result.protocol.missing_prediction == "worst"
    consequence = (
        "Cases whose prediction is missing or refused score 0 for every label of their reference "
        "and are part of all means; cases without scores are in no mean."
        if worst
        else "They have no scores and are part of no mean."
    )
    noted = len(rows) - faulty
    return element(
        "section",
        element("h2", "Cases with faults"),
        element(
            "p", f"{faulty} of {len(result.cases)} cases are not scored as usual. {consequence}"
        )
        if faulty
        else None,
        element("p", f"{noted} scored cases carry a note.") if noted else None,
        element(
            "div",
            element(
                "table",
                element("caption", "Faulty and noted cases", class_="unseen"),
                element("thead", _head("Case", "Status", "Reason")),
                element("tbody", *rows),
                class_="sortable plain",
            ),
            class_="scroll",
            tabindex="0",
            role="region",
            aria_label="Cases with faults",
        ),
        id="faults",
    )


def rules_section(result: FolderScore) -> Html:
    """Return every rule of the protocol."""
    items = [
        element("li", words, class_="quirk" if departs else None)
        for words, departs in rules_in_words(result.protocol)
    ]
    return element(
        "section",
        element("h2", "How this was scored"),
        element("p", "Every rule of the protocol. Marked: it departs from sound scoring."),
        element("ul", *items, class_="rules"),
        element("p", _tolerances(result.protocol), class_="small"),
        id="rules",
    )


def _definitions(known: Mapping[str, str]) -> Html:
    lines = [
        element("li", element("b", name), ": ", words)
        for metric, (name, words) in _DEFINITIONS.items()
        if metric in known
    ]
    return element("ul", *lines, class_="definitions")


def _quirks(rules: Protocol) -> list[Html]:
    """Return what a reader must know before comparing these numbers with others."""
    quirks = [words for words, departs in rules_in_words(rules) if departs]
    if not quirks:
        return []
    return [
        element("h2", "Quirks of this protocol"),
        element("p", "Where it departs from sound scoring:"),
        element("ul", *(element("li", words, class_="quirk") for words in quirks), class_="rules"),
    ]


def _tolerances(rules: Protocol) -> str:
    listed = ", ".join(f"{label.name} {label.tolerance_mm:g}" for label in rules.labels)
    return f"Tolerances of NSD in mm: {listed}."


def _head(*names: str) -> Html:
    return element("tr", *(element("th", name, scope="col") for name in names))
