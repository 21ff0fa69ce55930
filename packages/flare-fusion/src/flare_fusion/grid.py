"""A compiled table as text: every cell to print and diff, or the patterns behind them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from itertools import product

from flare_fusion.rules import Origin
from flare_fusion.tables import FusionTable

__all__ = ["grid_digest", "grid_lines", "pattern_rows"]

_LETTERS = "jkmnpqrst"


def grid_lines(table: FusionTable) -> Iterator[str]:
    r"""Yield a table whole: a line for each combination of all sources but the last.

    The columns are the classes of the last source. Two tables differ in a line where the rules
    differ in a cell, so that ``diff`` shows what an option does.

    Examples
    --------
    >>> from flare_fusion.general import compile_general
    >>> print(*grid_lines(compile_general("union", "AB", {"labels": "0-2"})), sep="\n")
    union
    A   |        B=   0   1   2
    0   |             0   1   2
    1   |             1   1   0
    2   |             2   0   2
    """
    *rows, last = table.sources
    yield table.name
    width = max(4, *(len(source.name) + 1 for source in table.sources))
    lead = "".join(f"{source.name:<{width}}" for source in rows)
    digits = 1 + len(str(max(int(table.labels.max()), *last.classes)))
    yield f"{lead}|{last.name + '=':>10}" + _cells(last.classes, max(4, digits))
    for cell in product(*(range(len(source.classes)) for source in rows)):
        held = "".join(
            f"{source.classes[number]:<{width}}" for source, number in zip(rows, cell, strict=True)
        )
        yield f"{held}|{'':10}" + _cells(table.labels[cell].tolist(), max(4, digits))


def grid_digest(table: FusionTable) -> str:
    """Return the SHA-256 of a table's axes, labels and origins, as hexadecimal digits."""
    digest = hashlib.sha256()
    for source in table.sources:
        digest.update(f"{source.name} {source.classes};".encode())
    for values in (table.labels, table.origins):
        digest.update(values.astype("<u2").tobytes())
    return digest.hexdigest()


def pattern_rows(table: FusionTable) -> tuple[tuple[tuple[str, ...], str, Origin], ...]:
    """Return what a table of equal sources does with each pattern of equal and different labels.

    Parameters
    ----------
    table : FusionTable
        Of sources that hold the same labels, and that treats all labels but 0 alike.

    Returns
    -------
    tuple of (patterns, label, origin)
        Letters stand for any label but 0, different letters for different ones.

    Examples
    --------
    >>> from flare_fusion.general import compile_general
    >>> for patterns, label, origin in pattern_rows(compile_general("majority", "AB", {})):
    ...     print(*patterns, "->", label, origin.name)
    0 0 -> 0 BACKGROUND
    0 j -> 0 TIE
    j 0 -> 0 TIE
    j j -> j AGREEMENT
    j k -> 0 TIE
    """
    count = len(table.sources)
    classes = table.sources[0].classes
    names = dict(zip(classes, ("0", *_LETTERS), strict=False))
    found = []
    for cell in product(range(min(count + 1, len(classes))), repeat=count):
        # Letters come in the order of their first use.
        if [number for number in dict.fromkeys(cell) if number] != list(range(1, max(cell) + 1)):
            continue
        label = int(table.labels[cell])
        held = [classes[number] for number in cell]
        shown = names[label] if label in held or label == 0 else str(label)
        patterns = tuple(names[each] for each in held)
        found.append((patterns, shown, Origin(int(table.origins[cell]))))
    return tuple(found)


def _cells(values: tuple[int, ...] | list[int], width: int) -> str:
    return "".join(f"{value:>{width}}" for value in values)
