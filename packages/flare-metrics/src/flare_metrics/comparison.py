"""What a comparison of methods found, and its forms as JSON and CSV."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from flare_metrics.case_statistics import json_interval, json_number
from flare_metrics.paired_tests import PairedTest

__all__ = ["ALPHA", "Comparison", "Difference"]

ALPHA = 0.05
"""Family-wise error at which a method is called better."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One metric of one label, the second method minus the first.

    Parameters
    ----------
    first, second : str
        Names of the methods.
    metric, label : str
        ``label`` is ``"organs"`` for the mean over the scored organs of each case.
    pairs : int
        Cases that have the score in both.
    only_first, only_second : int
        Common cases that have the score in one of both: not part of any number here.
    first_mean, second_mean : float
        Over the pairs; NaN of nothing and where a distance is infinite.
    mean_difference : float
        Over the pairs that are finite in both.
    ci95 : (low, high) or None
        Bootstrap interval of it.
    infinite : int
        Pairs with an infinite distance in one or both: outside the mean, inside the test.
    p, p_holm : float
        Of the test, and adjusted for all differences of the comparison; NaN where there is none.
    smallest_p : float
        The smallest that the test can give on these pairs.
    rank_biserial : float
        Rank sum of the pairs where the second is larger minus that of the others, over both
        (Kerby 2014): -1 to 1; NaN where no pair differs.
    better : str
        The method that the test favors where ``p_holm`` is below 5 %; else empty.
    note : str
        Why this test cannot find anything; empty where it can.
    """

    first: str
    second: str
    metric: str
    label: str
    pairs: int
    only_first: int
    only_second: int
    first_mean: float
    second_mean: float
    mean_difference: float
    ci95: tuple[float, float] | None
    infinite: int
    p: float
    smallest_p: float
    rank_biserial: float
    p_holm: float = math.nan
    better: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All differences of some methods.

    Parameters
    ----------
    methods : tuple of str
    test : {"signed-rank", "sign-flip"}
    cases : tuple of str
        Common to all methods, sorted.
    elsewhere : dict
        By method the cases that some other method lacks, sorted. A pair of methods is compared on
        all cases that these two share.
    differences : tuple of Difference
    notes : tuple of str
        What a reader must know before the numbers.
    """

    methods: tuple[str, ...]
    test: PairedTest
    cases: tuple[str, ...]
    elsewhere: dict[str, tuple[str, ...]]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything as a JSON-ready dict; None for NaN, ``"Infinity"`` for infinity."""
        rows = []
        for difference in self.differences:
            row = {
                name: json_number(value) if isinstance(value, float) else value
                for name, value in asdict(difference).items()
            }
            rows.append({**row, "ci95": json_interval(difference.ci95)})
        return {
            "methods": list(self.methods),
            "difference": "second minus first",
            "test": self.test,
            "adjusted": f"Holm, over {sum(not math.isnan(d.p) for d in self.differences)} tests",
            "cases": list(self.cases),
            "not_in_all": {name: list(cases) for name, cases in self.elsewhere.items()},
            "notes": list(self.notes),
            "differences": rows,
        }

    def to_rows(self) -> list[list[str]]:
        """Return the differences as the rows of a CSV, the header first."""
        names = [name for name in Difference.__dataclass_fields__ if name != "ci95"]
        rows = [[*names, "ci95_low", "ci95_high"]]
        for difference in self.differences:
            ends = difference.ci95 or (math.nan, math.nan)
            values = [*(getattr(difference, name) for name in names), *ends]
            rows.append([_cell(value) for value in values])
        return rows


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else repr(value)
    return str(value)
