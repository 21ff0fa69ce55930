"""Whether a row of a rule says something that the rule's sources and options can mean."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from flare_fusion.spelling import did_you_mean

if TYPE_CHECKING:
    from flare_fusion.rules import Row, Rule

__all__ = ["check_row"]

_PATTERN = re.compile(r"(?P<label>0|tumor|[a-z])(?P<asks> annotated| unannotated)?")


def check_row(rule: Rule, row: Row) -> None:
    """Raise ValueError that names the rule, the row and what is wrong with it."""
    where = f"rule {rule.name}, row {row.number or rule.rows.index(row) + 1}"
    letters = set()
    for source, pattern in row.when:
        if source not in rule.source_names:
            raise ValueError(
                f"{where}: no source {source!r}{did_you_mean(source, rule.source_names)}"
            )
        match = _PATTERN.fullmatch(pattern)
        if match is None or (match["label"] == "0" and match["asks"]):
            raise ValueError(
                f"{where}: {pattern!r} is no pattern; use 0, tumor or a letter, the latter two "
                "also with annotated or unannotated behind"
            )
        letters.add(match["label"])
    if row.take not in letters | {"0", "tumor"}:
        raise ValueError(
            f"{where}: take must be 0, tumor or a letter of its patterns, got {row.take!r}"
        )
    known = {option.name: option.choices for option in rule.options}
    for name, value in row.condition:
        if value not in known.get(name, ()):
            near = "" if name in known else did_you_mean(name, known)
            raise ValueError(f"{where}: no option {name} = {value}{near}")
