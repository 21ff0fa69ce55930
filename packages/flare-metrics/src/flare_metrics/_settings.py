"""Fields of a protocol as text, as the command line has them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any


def did_you_mean(word: str, known: Iterable[str], *, listed: bool = True) -> str:
    """Return the end of a message about an unknown name: the nearest, else all if ``listed``.

    Examples
    --------
    >>> did_you_mean("zcrop", ["z_axis", "z_crop"]), did_you_mean("x", ["z_axis", "z_crop"])
    ('; did you mean z_crop?', '; there are z_axis, z_crop')
    """
    names = list(known)
    near = get_close_matches(word, names, 1)
    if near:
        return f"; did you mean {near[0]}?"
    return f"; there are {', '.join(names)}" if listed else ""


def parsed_setting(name: str, text: str) -> Any:
    """Return the value that a text stands for; choices are checked by the protocol itself.

    Examples
    --------
    >>> parsed_setting("decimals", "none"), parsed_setting("z_crop_labels", "5, 6")
    (None, (5, 6))
    """
    absent = text.lower() == "none"
    try:
        if name == "nsd_threshold":
            return None if absent else float(text)
        if name == "decimals":
            return None if absent else int(text)
        if name == "z_crop_labels":
            return () if absent else tuple(int(part) for part in text.split(","))
    except ValueError:
        kind = "ids separated by commas" if name == "z_crop_labels" else "a number"
        raise ValueError(f"{name} must be none or {kind}, got {text!r}") from None
    return text
