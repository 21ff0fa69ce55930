"""Rules for sources of any names and number: votes, union, intersection, agreement, STAPLE."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from flare_fusion.general_list import GENERAL_RULES, GeneralRule
from flare_fusion.general_options import (
    named_sources,
    read_flag,
    read_ignore_label,
    read_labels,
    read_tie,
    read_weights,
)
from flare_fusion.rules import Origin, Source
from flare_fusion.spelling import did_you_mean
from flare_fusion.staple import StapleRule
from flare_fusion.tables import FusionTable
from flare_fusion.votes import VoteRule, vote_table

__all__ = [
    "GENERAL_RULES",
    "GeneralRule",
    "check_general_options",
    "compile_general",
    "majority_table",
]

_MAX_CELLS = 1 << 20
_LONE = {
    "A": Origin.A_ONLY,
    "B": Origin.B_ONLY,
    "T1": Origin.T1_ONLY,
    "pseudo": Origin.PSEUDO_ONLY,
}


def compile_general(
    name: str, sources: Sequence[str], options: Mapping[str, Any]
) -> FusionTable | VoteRule | StapleRule:
    """Return a rule for these sources.

    Parameters
    ----------
    name : str
        One of `GENERAL_RULES`.
    sources : sequence of str
        Two or more names, in order of precedence for ``tie="first"``.
    options : mapping

    Returns
    -------
    FusionTable, VoteRule or StapleRule
        A table where it has at most 2**20 cells (5 sources of 15 labels); else a rule that the
        engine evaluates block by block. STAPLE works on whole label maps.

    Raises
    ------
    ValueError
        If an option is unknown or wrong, or there are less than two sources.

    Examples
    --------
    >>> table = compile_general("weighted", "ABC", {"weights": {"A": 0.3, "B": 0.1, "C": 0.2}})
    >>> table[1, 2, 2], table[1, 0, 1], table[0, 5, 0]
    (0, 1, 0)
    >>> compile_general("agreement", "AB", {"otherwise": 255})[3, 4]
    255
    """
    rule = GENERAL_RULES[name]
    for option in options:
        if option not in rule.options:
            raise ValueError(
                f"rule {name} has no option {option!r}; its options are: "
                f"{', '.join(rule.options)}{did_you_mean(option, rule.options)}"
            )
    if len(sources) < 2 or len(set(sources)) != len(sources):
        raise ValueError(
            f"rule {name} needs two or more sources of different names, "
            f"got {', '.join(sources) or 'none'}"
        )
    labels = read_labels(options.get("labels", range(15)))
    known = tuple(Source(name=each, labels=labels) for each in sources)
    if name == "staple":
        return _staple(known, options)
    vote = _VOTES[name](name, known, options)
    return vote_table(vote) if len(labels) ** len(known) <= _MAX_CELLS else vote


def check_general_options(name: str, options: Mapping[str, Any]) -> None:
    """Refuse wrong options of a general rule before its sources are known.

    Raises
    ------
    ValueError
        As `compile_general` does; sources that weights name are taken to be there.
    """
    weights = options.get("weights")
    named = named_sources(weights) if name == "weighted" and weights is not None else ()
    compile_general(name, named if len(named) > 1 else ("A", "B"), options)


def majority_table(
    names: Sequence[str], *, labels: Iterable[int], tie: str | int = "background"
) -> FusionTable:
    """Return the table of a plain majority vote: the label that most sources hold.

    Parameters
    ----------
    names : sequence of str
        The sources, in order of precedence for ``tie="first"``.
    labels : iterable of int
        What they may hold; 0 in any case.
    tie : {"background", "first"} or int
        Where no label has more votes than every other: 0, or among the leading labels the first
        source's choice, or this label.

    Raises
    ------
    ValueError
        If there are so many sources that the table would not fit (5 with 15 labels fit); `fuse`
        takes them all the same.

    Examples
    --------
    >>> table = majority_table("ABC", labels=range(4))
    >>> table[1, 2, 2], table[1, 2, 3]
    (2, 0)
    """
    found = compile_general("majority", tuple(names), {"labels": labels, "tie": tie})
    if not isinstance(found, FusionTable):
        raise ValueError(
            f"a majority table needs 2 to 5 sources of 15 labels, got {len(names)} of "
            f"{len(found.sources[0].labels)}"
        )
    return found


def _majority(name: str, sources: tuple[Source, ...], options: Mapping[str, Any]) -> VoteRule:
    weights = ((1.0,) * len(sources[0].labels),) * len(sources)
    return VoteRule(name=name, sources=sources, weights=weights, **_tie(sources, options))


def _weighted(name: str, sources: tuple[Source, ...], options: Mapping[str, Any]) -> VoteRule:
    if "weights" not in options:
        raise ValueError("rule weighted needs the option weights, a number for each source")
    weights = read_weights(options["weights"], sources)
    return VoteRule(name=name, sources=sources, weights=weights, **_tie(sources, options))


def _union(name: str, sources: tuple[Source, ...], options: Mapping[str, Any]) -> VoteRule:
    weights = ((0.0, *(1.0,) * (len(sources[0].labels) - 1)),) * len(sources)
    lone = tuple(_LONE.get(source.name, Origin.ONE_ONLY) for source in sources)
    tie = _tie(sources, options)
    return VoteRule(name=name, sources=sources, weights=weights, lone_origins=lone, **tie)


def _unanimous(name: str, sources: tuple[Source, ...], options: Mapping[str, Any]) -> VoteRule:
    weights = ((1.0,) * len(sources[0].labels),) * len(sources)
    otherwise = read_ignore_label("otherwise", options.get("otherwise", 0), sources[0].labels)
    return VoteRule(
        name=name, sources=sources, weights=weights, unanimous=True, undecided=otherwise
    )


_VOTES: Mapping[str, Callable[[str, tuple[Source, ...], Mapping[str, Any]], VoteRule]] = {
    "majority": _majority,
    "weighted": _weighted,
    "union": _union,
    "intersection": _unanimous,
    "agreement": _unanimous,
}


def _tie(sources: tuple[Source, ...], options: Mapping[str, Any]) -> dict[str, Any]:
    return read_tie(options.get("tie", "background"), sources[0].labels)


def _staple(sources: tuple[Source, ...], options: Mapping[str, Any]) -> StapleRule:
    labels = sources[0].labels
    iterations = options.get("max_iterations", 100)
    if not isinstance(iterations, int) or isinstance(iterations, bool) or iterations < 1:
        raise ValueError(f"option max_iterations must be a whole number > 0, got {iterations!r}")
    return StapleRule(
        sources=sources,
        undecided=read_ignore_label("undecided", options.get("undecided", 0), labels),
        per_label=read_flag("per_label", options.get("per_label", False)),
        max_iterations=iterations,
    )
