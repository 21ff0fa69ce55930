"""Tables of the page: cells that show a rounded number and keep the whole one."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from flare_metrics.report.markup import Html, element

__all__ = ["head_row", "number_cell", "rounded", "scrolled_table"]


def rounded(value: float | str | None, digits: int = 4) -> str:
    """Return a number with some decimals; nothing for None and NaN, a dash for no mean.

    Examples
    --------
    >>> rounded(0.93333), rounded(None), rounded(math.inf), rounded("Infinity", 1)
    ('0.9333', '', 'inf', 'inf')
    """
    if value is None or value == "":
        return ""
    number = float(value)
    if math.isnan(number):
        return ""
    return f"{number:.{digits}f}" if math.isfinite(number) else f"{number:g}"


def number_cell(value: float | str | None, *, digits: int = 4, column: str = "") -> Html:
    """Return a cell that shows a number rounded, with the whole number in ``data-value``.

    Parameters
    ----------
    value : float, str or None
        A text is a number as a table has it, which is kept to the letter.
    digits : int
    column : str
        Head of the column, which narrow screens write before the number.

    Examples
    --------
    >>> number_cell("0.12345678")
    '<td data-value="0.12345678">0.1235</td>'
    """
    shown = rounded(value, digits)
    exact = value if isinstance(value, str) else "" if value is None else repr(value)
    return element(
        "td",
        shown,
        data_value=exact if shown and exact != shown else None,
        data_column=column or None,
    )


def head_row(names: Iterable[str], *, columns: Sequence[str] = ()) -> Html:
    """Return the head of a table; ``columns`` are the names in the files, where they differ."""
    cells = [
        element("th", name, scope="col", data_name=columns[place] if columns else None)
        for place, name in enumerate(names)
    ]
    return element("tr", *cells)


def scrolled_table(
    caption: str, head: Html, rows: Iterable[Html], *, kind: str = "", shown: bool = False
) -> Html:
    """Return a sortable table that scrolls in a box of its own.

    Parameters
    ----------
    caption : str
    head : Html
        A row.
    rows : iterable of Html
    kind : str
        Further classes of the table.
    shown : bool
        Whether the caption is seen, or read out only.
    """
    return element(
        "div",
        element(
            "table",
            element("caption", caption, class_=None if shown else "unseen"),
            element("thead", head),
            element("tbody", *rows),
            class_=f"sortable {kind}".strip(),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label=caption,
    )
