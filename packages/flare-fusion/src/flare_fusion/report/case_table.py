"""All cases, one row each, which a click sorts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flare_fusion.report.markup import Html, element

if TYPE_CHECKING:
    from flare_fusion.results import CaseFusion, DatasetFusion

__all__ = ["cases_section"]

_COLUMNS = ("Case", "Conflict, ml", "Share of labels", "Kappa", "Mean DSC", "Labels, ml", "Rule",
            "Sources", "State")  # fmt: skip


def cases_section(result: DatasetFusion) -> Html:
    """Return the table of all cases, those with most conflict first."""
    cases = sorted(result.cases, key=_conflict_ml, reverse=True)
    heads = [
        element("th", name, scope="col", aria_sort="descending" if name == _COLUMNS[1] else None)
        for name in _COLUMNS
    ]
    table = element(
        "table",
        element("thead", element("tr", *heads)),
        element("tbody", *map(_row, cases)),
        class_="sortable cases",
    )
    search = element(
        "p",
        element("label", "Show cases named ", for_="filter"),
        element("input", id="filter", type="search"),
        element("output"),
        class_="filter",
        hidden=True,
    )
    about = (
        "Mean DSC is over pairs of sources and the classes that both looked for. A heading sorts "
        "by its column."
    )
    return element(
        "section",
        element("h2", "All cases"),
        element("p", about),
        search,
        element("div", table, class_="scroll", tabindex=0),
        id="cases",
    )


def _row(case: CaseFusion) -> Html:
    figures = case.agreement or {}
    labeled = sum(case.volumes_ml.values())
    return element(
        "tr",
        element("th", element("bdi", case.case), scope="row"),
        _number(figures.get("conflict_ml"), 1),
        _percent(figures.get("conflict_ml"), labeled),
        _number(figures.get("kappa"), 3),
        _number(figures.get("mean_dice"), 3),
        _number(labeled if case.volumes_ml else None, 0),
        element("td", element("bdi", case.rule)),
        element("td", element("bdi", ", ".join(case.sources)), class_="wide"),
        element("td", case.status, class_="bad" if case.status == "failed" else None),
    )


def _conflict_ml(case: CaseFusion) -> float:
    return float((case.agreement or {}).get("conflict_ml", -1.0))


def _number(value: float | None, digits: int) -> Html:
    if value is None:
        return element("td")
    # Adding 0 turns -0.000 into 0.000.
    text = f"{round(value, digits) + 0.0:.{digits}f}"
    return element("td", text, data_value=repr(float(value)))


def _percent(part: float | None, whole: float) -> Html:
    if part is None or not whole:
        return element("td")
    return element("td", f"{100 * part / whole:.1f} %", data_value=repr(part / whole))
