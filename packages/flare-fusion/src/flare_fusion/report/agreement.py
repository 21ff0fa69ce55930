"""How far the sources agree, class by class over all cases."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import TYPE_CHECKING

from flare_fusion.report.markup import Html, element

if TYPE_CHECKING:
    from flare_fusion.results import CaseFusion, DatasetFusion

__all__ = ["agreement_section"]

_Values = dict[str, dict[tuple[str, str], list[float]]]


def agreement_section(result: DatasetFusion) -> Html | None:
    """Return DSC of each pair and Fleiss' kappa by class; None without a case that has them."""
    cases = [case for case in result.fused if case.agreement]
    if not cases:
        return None
    dice, kappa, conflict_ml = _gathered(cases)
    pairs = list(dict.fromkeys(pair for values in dice.values() for pair in values))
    rows = [
        element(
            "tr",
            _row_head(label, result.names),
            *(_cell(dice[label].get(pair, []), _pair_name(pair)) for pair in pairs),
            _cell(kappa[label], "Fleiss' kappa"),
            element("td", f"{conflict_ml[label] / len(cases):.1f}", data_column="conflict, ml"),
        )
        for label in sorted(dice, key=int)
    ]
    overall = [case.agreement["kappa"] for case in cases if case.agreement]
    foot = element(
        "tr",
        element("th", "all classes", scope="row"),
        *(_cell(_of_pair(dice, pair), _pair_name(pair)) for pair in pairs),
        _cell([value for value in overall if value is not None], "Fleiss' kappa"),
        element("td", f"{_total_conflict(cases) / len(cases):.1f}", data_column="conflict, ml"),
    )
    heads = [
        element("th", "Class", scope="col"),
        *(
            element("th", "DSC of ", element("bdi", _pair_name(pair)), scope="col")
            for pair in pairs
        ),
        element("th", "Fleiss' kappa", scope="col"),
        element("th", "Conflict, ml a case", scope="col"),
    ]
    table = element(
        "table",
        element("thead", element("tr", *heads)),
        element("tbody", *rows),
        element("tbody", foot, class_="total"),
        class_="stacked",
    )
    return element(
        "section",
        element("h2", "Agreement"),
        element("p", _ABOUT),
        element("div", table, class_="scroll", tabindex=0),
        id="agreement",
    )


_ABOUT = (
    "Mean over the cases in which at least one source shows the class; small, the lowest case and "
    "the number of cases. A source counts only for classes that it looked for: the partial label "
    "for its K, organ models for organs. Conflict is where two sources differ on a class that both "
    "looked for. Kappa 1 is full agreement, 0 what chance would give."
)


def _gathered(
    cases: Sequence[CaseFusion],
) -> tuple[_Values, dict[str, list[float]], dict[str, float]]:
    dice: _Values = defaultdict(lambda: defaultdict(list))
    kappa: dict[str, list[float]] = defaultdict(list)
    conflict_ml: dict[str, float] = defaultdict(float)
    for case in cases:
        assert case.agreement is not None
        for pair in case.agreement["pairs"]:
            for label, value in pair["dice"].items():
                dice[label][pair["first"], pair["second"]].append(value)
        for label, value in case.agreement["kappa_of"].items():
            kappa[label].append(value)
        for label, value in case.agreement["conflict_ml_of"].items():
            conflict_ml[label] += value
    return dice, kappa, conflict_ml


def _row_head(label: str, names: Mapping[str, str]) -> Html:
    name = names.get(label, "")
    return element("th", element("bdi", name or f"label {label}"), scope="row")


def _cell(values: Sequence[float], column: str) -> Html:
    if not values:
        return element("td", data_column=column)
    # Adding 0 turns -0.0004 into 0.000 and not -0.000.
    few = element("small", f"{round(min(values), 3) + 0.0:.3f}, n {len(values)}")
    return element("td", f"{fmean(values):.3f}", few, data_column=column)


def _of_pair(dice: _Values, pair: tuple[str, str]) -> list[float]:
    return [value for values in dice.values() for value in values.get(pair, [])]


def _pair_name(pair: tuple[str, str]) -> str:
    return f"{pair[0]} and {pair[1]}"


def _total_conflict(cases: Sequence[CaseFusion]) -> float:
    return sum(float(case.agreement["conflict_ml"]) for case in cases if case.agreement)
