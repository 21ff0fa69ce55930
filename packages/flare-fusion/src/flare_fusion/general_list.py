"""The rules that take sources of any names and number, with what their options may be."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["GENERAL_RULES", "GeneralRule"]


@dataclass(frozen=True, kw_only=True)
class GeneralRule:
    """A rule that takes two or more sources of any names.

    Parameters
    ----------
    name, title : str
    options : dict of str to str
        What each option may be, its default, and what it does.
    """

    name: str
    title: str
    options: dict[str, str]


_LABELS = "labels that sources may hold, as numbers, 0-14 or 0,1,5 (default 0-14)"
_TIE = "background | first | a label: where labels are level; first: the leading label that the "
_TIE += "first source holds (default background)"
GENERAL_RULES: Mapping[str, GeneralRule] = {
    rule.name: rule
    for rule in (
        GeneralRule(
            name="majority",
            title="the label that most sources hold",
            options={"tie": _TIE, "labels": _LABELS},
        ),
        GeneralRule(
            name="weighted",
            title="the label with the largest sum of weights of the sources that hold it",
            options={
                "weights": "a number for each source, or one for each label of it where those not "
                "named weigh 1; as text A:2,B:1 or A:2,B/14:3 (no default)",
                "tie": _TIE,
                "labels": _LABELS,
            },
        ),
        GeneralRule(
            name="union",
            title="an organ wherever a source sees one, the one that most see; background where "
            "none sees any",
            options={"tie": _TIE, "labels": _LABELS},
        ),
        GeneralRule(
            name="intersection",
            title="a label where all sources hold it, background elsewhere",
            options={"labels": _LABELS},
        ),
        GeneralRule(
            name="agreement",
            title="a label where all sources hold it, elsewhere a label to ignore",
            options={
                "otherwise": "the label where they differ, such as 255 (default 0)",
                "labels": _LABELS,
            },
        ),
        GeneralRule(
            name="staple",
            title="STAPLE by SimpleITK, an estimate of the truth and of each rater's performance",
            options={
                "undecided": "the label where labels are equally likely (default 0)",
                "per_label": "true | false: one label after the other (default false)",
                "max_iterations": "at most (default 100)",
                "labels": _LABELS,
            },
        ),
    )
}
