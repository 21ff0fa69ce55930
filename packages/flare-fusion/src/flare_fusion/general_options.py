"""Values of the general rules' options, from Python or as text of a command line."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from flare_fusion.rules import Source
from flare_fusion.spelling import did_you_mean

__all__ = [
    "named_sources",
    "read_flag",
    "read_ignore_label",
    "read_labels",
    "read_tie",
    "read_weights",
]

_HIGHEST = (1 << 16) - 1


def read_labels(value: Any) -> tuple[int, ...]:
    """Return the labels that sources may hold, 0 included, in ascending order.

    Examples
    --------
    >>> read_labels("0-3,9"), read_labels([2, 1]), read_labels(1)
    ((0, 1, 2, 3, 9), (0, 1, 2), (0, 1))
    """
    try:
        if isinstance(value, str):
            found = [label for part in value.split(",") for label in _range(part)]
        elif isinstance(value, Iterable):
            found = [_whole(label) for label in value]
        else:
            found = [_whole(value)]
    except ValueError as error:
        raise ValueError(
            f"option labels must be whole numbers 0 to {_HIGHEST}, such as 0-14 or 0,1,5, "
            f"got {value!r}"
        ) from error
    if not any(found):
        raise ValueError(f"option labels must name a label beside 0, got {value!r}")
    return tuple(sorted({0, *found}))


def read_tie(value: Any, labels: tuple[int, ...]) -> dict[str, Any]:
    """Return what a vote does where labels are level.

    Examples
    --------
    >>> read_tie("first", (0, 1)), read_tie(255, (0, 1))
    ({'prefer_first': True}, {'undecided': 255})
    """
    words = ("background", "first")
    if value in words:
        return {"prefer_first": True} if value == "first" else {}
    if isinstance(value, str):
        raise ValueError(
            f"option tie must be background, first or a label, got {value!r}"
            + did_you_mean(value, words)
        )
    return {"undecided": read_ignore_label("tie", value, labels)}


def read_ignore_label(name: str, value: Any, labels: tuple[int, ...]) -> int:
    """Return a label that says "undecided": 0, or one that no source may hold."""
    try:
        label = _whole(value)
    except ValueError as error:
        raise ValueError(f"option {name} must be a label 0 to {_HIGHEST}, got {value!r}") from error
    if label and label in labels:
        raise ValueError(
            f"option {name} must be 0 or a label that no source may hold, got {label}; "
            f"take {max(255, labels[-1] + 1)}"
        )
    return label


def read_flag(name: str, value: Any) -> bool:
    """Return a truth value."""
    if not isinstance(value, bool):
        raise ValueError(f"option {name} must be true or false, got {value!r}")
    return value


def read_weights(value: Any, sources: tuple[Source, ...]) -> tuple[tuple[float, ...], ...]:
    """Return the weight of each source's vote by class number.

    Parameters
    ----------
    value : mapping of str to (number or mapping of int to number), or str
        A number for each source, or numbers by label, where labels that are not named weigh 1. As
        text ``A:2,B:1``; ``B/14:3`` gives a label of a source a weight of its own.
    sources : tuple of Source

    Raises
    ------
    ValueError
        If a source lacks a weight or is unknown, a weight is negative or no finite number, or a
        label weighs nothing in every source, so that none could vote for it.

    Examples
    --------
    >>> sources = tuple(Source(name=name, labels=(0, 1, 2)) for name in "AB")
    >>> read_weights("A:2,B:1,B/2:3", sources)
    ((2.0, 2.0, 2.0), (1.0, 1.0, 3.0))
    >>> read_weights({"A": 0.5, "B": {1: 2}}, sources)
    ((0.5, 0.5, 0.5), (1.0, 2.0, 1.0))
    """
    given = _parsed(value) if isinstance(value, str) else value
    if not isinstance(given, Mapping):
        raise ValueError(f"option weights must name a weight for each source, got {value!r}")
    names = [source.name for source in sources]
    for name in given:
        if name not in names:
            raise ValueError(
                f"option weights names {name!r}; the sources are {', '.join(names)}"
                + did_you_mean(name, names)
            )
    for name in names:
        if name not in given:
            raise ValueError(f"option weights lacks source {name}; it names {', '.join(given)}")
    weights = tuple(_of_source(source, given[source.name]) for source in sources)
    for number, label in enumerate(sources[0].labels):
        if not any(of_source[number] for of_source in weights):
            raise ValueError(
                f"option weights: some source must have a weight > 0 for label {label}"
            )
    return weights


def named_sources(weights: Any) -> tuple[str, ...]:
    """Return the sources that weights name, in their order; none where they are no weights."""
    given = _parsed(weights) if isinstance(weights, str) else weights
    return tuple(given) if isinstance(given, Mapping) else ()


def _of_source(source: Source, value: Any) -> tuple[float, ...]:
    if not isinstance(value, Mapping):
        return (_weight(source.name, value),) * len(source.labels)
    by_label = {_key(source, label): weight for label, weight in value.items()}
    rest = by_label.pop(None, 1.0)
    return tuple(_weight(source.name, by_label.get(label, rest)) for label in source.labels)


def _key(source: Source, label: Any) -> int | None:
    if label is not None and label not in source.labels:
        raise ValueError(
            f"option weights: source {source.name} holds no label {label!r}, only "
            f"{', '.join(map(str, source.labels))}"
        )
    return label  # type: ignore[no-any-return]  # compared with whole numbers above


def _weight(name: str, value: Any) -> float:
    try:
        weight = float(value)
    except (TypeError, ValueError):
        weight = math.nan
    if not (math.isfinite(weight) and weight >= 0):
        raise ValueError(
            f"option weights: the weight of source {name} must be a number >= 0, got {value!r}"
        )
    return weight


def _parsed(text: str) -> dict[str, dict[int | None, str]]:
    """Return weights by source and label; None stands for all other labels."""
    found: dict[str, dict[int | None, str]] = {}
    for part in text.split(","):
        key, separator, weight = part.rpartition(":")
        name, slash, label = key.partition("/")
        if not (separator and name and weight) or (slash and not label.isdecimal()):
            raise ValueError(f"option weights must be like A:2,B:1 or A:2,B:1,B/14:3, got {text!r}")
        found.setdefault(name, {})[int(label) if slash else None] = weight
    return found


def _range(text: str) -> range:
    first, dash, last = text.partition("-")
    return range(_whole(int(first)), _whole(int(last if dash else first)) + 1)


def _whole(value: Any) -> int:
    """Return a label; NumPy's integers too, no fractions and no truth values."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise ValueError(value)
    label = int(value)
    if not 0 <= label <= _HIGHEST:
        raise ValueError(value)
    return label
