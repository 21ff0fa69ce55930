"""Every case with every score, the numbers of ``cases.csv``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flare_metrics.report.markup import Html, element
from flare_metrics.report.tabulation import head_row, number_cell, scrolled_table
from flare_metrics.tables import COLUMN_ENDS, case_table

if TYPE_CHECKING:
    from flare_metrics.folder import FolderScore

__all__ = ["cases_section"]

_NAMES = {"DSC": "DSC", "NSD": "NSD", "HD95_area_mm": "HD95 in mm", "ASSD_area_mm": "ASSD in mm"}
# More would not fit on paper.
_MOST_COLUMNS = 15


def cases_section(result: FolderScore) -> Html:
    """Return the section with a table for each metric.

    Cells keep the text of ``cases.csv`` in ``data-value`` where they show it rounded, and heads
    its column names in ``data-name``. A protocol with many labels gets several tables a metric.
    """
    head, *rows = case_table(result)
    tables = []
    for ending in COLUMN_ENDS.values():
        places = [place for place, name in enumerate(head) if name.endswith(f"_{ending}")]
        # Labels may be named so that a reason column or another metric would match.
        places = [place for place in places if 0 < place < len(head) - 2]
        for begin in range(0, len(places), _MOST_COLUMNS):
            part = places[begin : begin + _MOST_COLUMNS]
            caption = f"{_NAMES[ending]} by case"
            if len(places) > _MOST_COLUMNS:
                caption += f", labels {begin + 1} to {begin + len(part)} of {len(places)}"
            tables.append(_table(caption, part, ending, head, rows))
    return element(
        "section",
        element("h2", "All cases"),
        element(
            "p",
            "The numbers of cases.csv, shown with few decimals. A head sorts its table, empty "
            "cells last.",
        ),
        _filter(),
        *tables,
        _outcomes(head, rows),
        id="cases",
    )


def _table(
    caption: str, places: list[int], ending: str, head: list[str], rows: list[list[str]]
) -> Html:
    digits = 4 if ending in ("DSC", "NSD") else 2
    names = ["Case", *(head[place].removesuffix(f"_{ending}") for place in places)]
    columns = [head[0], *(head[place] for place in places)]
    body = (
        element(
            "tr",
            _name(row[0]),
            *(number_cell(row[place], digits=digits) for place in places),
        )
        for row in rows
    )
    return scrolled_table(caption, head_row(names, columns=columns), body, kind="cases", shown=True)


def _outcomes(head: list[str], rows: list[list[str]]) -> Html:
    """Return the table of what became of the cases."""
    body = (
        element("tr", _name(row[0]), element("td", row[-2]), element("td", row[-1])) for row in rows
    )
    columns = [head[0], head[-2], head[-1]]
    return scrolled_table(
        "What became of each case",
        head_row(["Case", "Status", "Reason"], columns=columns),
        body,
        kind="cases plain",
        shown=True,
    )


def _name(name: str) -> Html:
    return element("th", element("bdi", name), scope="row")


def _filter() -> Html:
    # The script shows it; without a script it would do nothing.
    return element(
        "p",
        element("label", "Show cases whose name holds ", for_="filter"),
        element("input", type="search", id="filter", autocomplete="off", spellcheck="false"),
        element("output", for_="filter", aria_live="polite"),
        class_="filter",
        hidden=True,
    )
