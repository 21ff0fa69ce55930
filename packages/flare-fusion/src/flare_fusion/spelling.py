"""What a mistyped name may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

__all__ = ["did_you_mean"]


def did_you_mean(name: object, known: Iterable[object]) -> str:
    """Return the end of an error message that offers the nearest known name, or nothing.

    Examples
    --------
    >>> did_you_mean("tei", ["tie", "trust_partial"]), did_you_mean("b", ["A", "B"])
    ('; did you mean tie?', '; did you mean B?')
    >>> did_you_mean("colour", ["tie"])
    ''
    """
    folded = {str(each).casefold(): str(each) for each in known}
    near = get_close_matches(str(name).casefold(), folded, 1)
    return f"; did you mean {folded[near[0]]}?" if near else ""
