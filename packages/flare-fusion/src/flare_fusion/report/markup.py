"""Markup in which no text of others can become anything but text.

Names of cases, reasons of faults and names of labels come from outside. Whatever is not `Html` is
escaped on its way into an element, and characters that would be invisible or turn the line around
are spelled out.
"""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

__all__ = ["Html", "element", "joined", "visible"]

_VOID = frozenset({"col", "img", "input", "link", "meta"})


class Html(str):
    """A string that is markup already."""

    __slots__ = ()


def element(tag: str, *content: object, **attributes: object) -> Html:
    """Return an element.

    Parameters
    ----------
    tag : str
    *content : object
        `Html` goes in as it is, None not at all, everything else as text.
    **attributes : object
        None and False leave one out, True gives it no value. ``_`` stands for ``-``, and one at
        the end is dropped (``class_``).

    Examples
    --------
    >>> element("td", "<b>", class_="name", data_value='"')
    '<td class="name" data-value="&quot;">&lt;b&gt;</td>'
    >>> element("img", alt="")
    '<img alt="">'
    """
    start = tag
    for name, value in attributes.items():
        if value is None or value is False:
            continue
        start += " " + name.rstrip("_").replace("_", "-")
        if value is not True:
            start += f'="{escape(visible(str(value)))}"'
    if tag in _VOID:
        return Html(f"<{start}>")
    return Html(f"<{start}>{joined(content)}</{tag}>")


def joined(parts: Iterable[object]) -> Html:
    """Return parts one after the other, escaped where they are no markup.

    Examples
    --------
    >>> joined(["a & ", None, element("b", 1)])
    'a &amp; <b>1</b>'
    """
    return Html(
        "".join(
            part if isinstance(part, Html) else escape(visible(str(part)))
            for part in parts
            if part is not None
        )
    )


def visible(text: str) -> str:
    r"""Spell out what is not printable: line ends, controls, marks of direction, broken bytes.

    Examples
    --------
    >>> print(visible("a\nb\u202ec"))
    a\nb\u202ec
    """
    if text.isprintable():
        return text
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode()
        for letter in text
    )
