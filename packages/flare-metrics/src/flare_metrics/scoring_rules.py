"""Whether scores of several methods come from the same rules."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from flare_metrics.score_table import ScoreTable

__all__ = ["notes_on_rules"]


def notes_on_rules(tables: Sequence[ScoreTable], *, mixed: bool = False) -> list[str]:
    """Make sure that tables hold scores of the same rules, as far as these are known.

    Parameters
    ----------
    tables : sequence of ScoreTable
    mixed : bool
        Say what differs instead of raising.

    Returns
    -------
    list of str
        Which rules are unknown, and what differs.

    Raises
    ------
    ValueError
        If protocol, settings, or the tolerance of a common label differ.
    """
    notes = []
    unknown = [table.name for table in tables if table.rules is None]
    if unknown:
        notes.append(f"rules of scoring unknown, so not compared: {', '.join(unknown)}")
    known = [(table.name, table.rules) for table in tables if table.rules is not None]
    for name, rules in known[1:]:
        unlike = _unlike(known[0][1], rules)
        if unlike and not mixed:
            raise ValueError(
                f"{known[0][0]} and {name} must be scored by the same rules, got {unlike}; "
                "score again, or take them all the same by --mixed-rules"
            )
        if unlike:
            notes.append(f"{known[0][0]} and {name} are scored differently: {unlike}")
    return notes


def _unlike(first: dict[str, Any], second: dict[str, Any]) -> str:
    """Return what two scorings differ in; empty where nothing."""
    if first["protocol"] != second["protocol"]:
        return f"protocol {first['protocol']} and {second['protocol']}"
    settings = first["settings"] or {}, second["settings"] or {}
    changed = [
        f"{name} {settings[0].get(name)} and {settings[1].get(name)}"
        for name in dict.fromkeys([*settings[0], *settings[1]])
        if settings[0].get(name) != settings[1].get(name)
    ]
    tolerances = first["tolerances"], second["tolerances"]
    changed += [
        f"tolerance of {label} {tolerances[0][label]:g} mm and {tolerances[1][label]:g} mm"
        for label in tolerances[0]
        if label in tolerances[1] and tolerances[0][label] != tolerances[1][label]
    ]
    return ", ".join(changed)
