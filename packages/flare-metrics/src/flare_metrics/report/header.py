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
        element("p", "Protocol ", element("b", rules.name), f" - {rules.title or 'custom'}"),
        element("dl", *means, *counts, class_="tiles"),
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


def rules_section(result: FolderScore, summary: Mapping[str, Any]) -> Html:
    """Return the definitions of the numbers and every rule of the protocol."""
    known = summary["definitions"]
    definitions = [
        part
        for metric, (name, words) in _DEFINITIONS.items()
        if metric in known
        for part in (element("dt", name), element("dd", words))
    ]
    sentences = rules_in_words(result.protocol)
    quirks = [element("li", words) for words, departs in sentences if departs]
    rest = [element("li", words) for words, departs in sentences if not departs]
    return element(
        "section",
        element("h2", "How this was scored"),
        element("dl", *definitions, class_="definitions"),
        element("h3", "Quirks: where the protocol departs from sound scoring") if quirks else None,
        element("ul", *quirks, class_="quirks") if quirks else None,
        element("h3", "Rules" if not quirks else "Other rules"),
        element("ul", *rest),
        element("p", _tolerances(result.protocol), class_="small"),
        id="rules",
    )


def _tolerances(rules: Protocol) -> str:
    listed = ", ".join(f"{label.name} {label.tolerance_mm:g}" for label in rules.labels)
    return f"Tolerances of NSD in mm: {listed}."


def _head(*names: str) -> Html:
    return element("tr", *(element("th", name, scope="col") for name in names))
