"""Two or more methods on the same cases: by how much they differ, and whether that is chance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics.bootstrap import mean_intervals
from flare_metrics.comparison import ALPHA, Comparison, Difference
from flare_metrics.paired_tests import (
    PairedTest,
    holm,
    rank_biserial,
    sign_flip_tests,
    signed_rank_test,
    smallest_p,
)
from flare_metrics.score_table import ScoreTable, distinct_names
from flare_metrics.scoring_rules import notes_on_rules
from flare_metrics.tables import COLUMN_ENDS

__all__ = ["ORGANS", "compare_scores"]

ORGANS = "organs"
"""The row of the mean over the scored organs of a case."""

# Scores have 4 to 16 decimals; sizes that differ only in float noise are ties.
_DECIMALS = 12

_Floats = NDArray[np.float64]


def compare_scores(
    tables: Sequence[ScoreTable],
    *,
    metrics: Sequence[str] = ("dsc", "nsd"),
    labels: Sequence[str] = (),
    test: PairedTest = "signed-rank",
    mixed_rules: bool = False,
) -> Comparison:
    """Compare every two methods on the cases that both have, label by label.

    Parameters
    ----------
    tables : sequence of ScoreTable
        At least two.
    metrics : sequence of str
        Of ``dsc``, ``nsd``, ``hd95_mm``, ``assd_mm``.
    labels : sequence of str
        Only these, ``"organs"`` for the mean over them; all by default. Each one more costs the
        others power, as p-values are adjusted for their number.
    test : {"signed-rank", "sign-flip"}
        Wilcoxon's signed-rank test with zeros after Pratt, which takes infinite distances as the
        largest (two infinite ones are equal); or the permutation test of the mean difference,
        which leaves pairs with an infinite distance out.
    mixed_rules : bool
        Compare scores of different protocols, settings or tolerances too.

    Returns
    -------
    Comparison
        Scores count as the tables have them: a missing prediction that scored 0 is a 0. p-values
        are adjusted over all labels, pairs of methods and metrics together.

    Raises
    ------
    ValueError
        If there are fewer than two tables, one is given twice, a metric is in none of them, or
        two have no case or label in common, or the rules differ and ``mixed_rules`` is not set.
    """
    if len(tables) < 2:
        raise ValueError(f"at least two methods must be given, got {len(tables)}")
    for metric in metrics:
        if metric not in COLUMN_ENDS or not all(metric in table.values for table in tables):
            known = [name for name in COLUMN_ENDS if all(name in each.values for each in tables)]
            raise ValueError(
                f"metric must be one that all tables have, {', '.join(known)}, got {metric!r}"
            )
    if test not in ("signed-rank", "sign-flip"):
        raise ValueError(f"test must be signed-rank or sign-flip, got {test!r}")
    named = distinct_names(list(tables))
    notes = [*notes_on_rules(named, mixed=mixed_rules), *_notes_on_labels(named)]
    differences = [
        difference
        for first, second in combinations(named, 2)
        for metric in metrics
        for difference in _differences(first, second, metric, test)
        if not labels or difference.label in labels
    ]
    unknown = sorted(set(labels) - {difference.label for difference in differences})
    if unknown:
        raise ValueError(f"labels must be columns of all tables, or organs, got {unknown}")
    adjusted = holm([difference.p for difference in differences])
    common = set.intersection(*(set(table.cases) for table in named))
    return Comparison(
        methods=tuple(table.name for table in named),
        test=test,
        cases=tuple(sorted(common)),
        elsewhere={table.name: tuple(sorted(set(table.cases) - common)) for table in named},
        differences=tuple(
            replace(difference, p_holm=float(p), better=_better(difference, float(p), test))
            for difference, p in zip(differences, adjusted, strict=True)
        ),
        notes=(*notes, *_notes_on_power(differences)),
    )


def _differences(
    first: ScoreTable, second: ScoreTable, metric: str, test: PairedTest
) -> list[Difference]:
    """Return the differences of one metric, the organs of a case together last."""
    cases = sorted(set(first.cases) & set(second.cases))
    labels = [label for label in first.labels if label in second.labels]
    if not cases or not labels:
        raise ValueError(
            f"methods must share cases and labels, got {first.name} and {second.name} with "
            f"{len(cases)} common cases and {len(labels)} common labels"
        )
    organs = tuple(label for label in labels if label in first.organs)
    rows = labels + [ORGANS] * bool(organs)
    scores = []
    for table in (first, second):
        place = {case: row for row, case in enumerate(table.cases)}
        columns = [table.column(metric, label) for label in labels]
        columns += [table.case_means(metric, organs)] if organs else []
        scores.append(np.stack(columns, axis=1)[[place[case] for case in cases]])
    with np.errstate(invalid="ignore"):
        change = np.round(scores[1] - scores[0], _DECIMALS)
    # Two infinite distances are equal.
    change[np.isinf(scores[0]) & np.isinf(scores[1])] = 0.0
    finite = np.isfinite(scores[0]) & np.isfinite(scores[1])
    finite_change = np.where(finite, change, np.nan)
    intervals = mean_intervals(finite_change)
    tested = change if test == "signed-rank" else finite_change
    if test == "signed-rank":
        p_values = [signed_rank_test(column) for column in tested.T]
    else:
        p_values = sign_flip_tests(tested)
    counts = [_counts(scores[0][:, column], scores[1][:, column]) for column in range(len(rows))]
    return [
        Difference(
            first=first.name,
            second=second.name,
            metric=metric,
            label=label,
            **counts[column],
            mean_difference=_mean(finite_change[:, column]),
            ci95=intervals[column],
            p=p_values[column],
            rank_biserial=rank_biserial(tested[:, column]),
            smallest_p=smallest_p(tested[:, column]) if counts[column]["pairs"] else math.nan,
            note=_note(tested[:, column]),
        )
        for column, label in enumerate(rows)
    ]


def _better(difference: Difference, p_holm: float, test: PairedTest) -> str:
    """Return the method that a significant test favors, by what that test looks at."""
    by_ranks = test == "signed-rank"
    direction = difference.rank_biserial if by_ranks else difference.mean_difference
    if not p_holm < ALPHA or not abs(direction) > 0:
        return ""
    larger_is_better = difference.metric in ("dsc", "nsd")
    return difference.second if (direction > 0) == larger_is_better else difference.first


def _counts(first: _Floats, second: _Floats) -> dict[str, Any]:
    """Return what a difference says about the two columns apart from their difference."""
    known = ~np.isnan(first), ~np.isnan(second)
    both = known[0] & known[1]
    return {
        "pairs": int(both.sum()),
        "only_first": int((known[0] & ~known[1]).sum()),
        "only_second": int((known[1] & ~known[0]).sum()),
        "first_mean": _mean(first[both]),
        "second_mean": _mean(second[both]),
        "infinite": int((both & (np.isinf(first) | np.isinf(second))).sum()),
    }


def _mean(values: _Floats) -> float:
    """Return the mean of what is no NaN; NaN of nothing, and where a value is infinite."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) and np.isfinite(values).all() else math.nan


def _note(differences: _Floats) -> str:
    known = differences[~np.isnan(differences)]
    if not len(known):
        return "no case has this score in both"
    if smallest_p(known) < ALPHA:
        return ""
    few = f"n = {len(known)}"
    if len(known) > (changed := int(np.count_nonzero(known))):
        few += f", of which {changed} differ"
    return f"{few}: no test can be significant below 6 differing cases"


def _notes_on_power(differences: Sequence[Difference]) -> list[str]:
    """Say where so many tests are made of so few cases that none can be significant."""
    tested = [each for each in differences if not math.isnan(each.p)]
    if not tested:
        return []
    best = min(each.smallest_p for each in tested)
    if best * len(tested) < ALPHA:
        return []
    return [
        f"no difference can be significant: the smallest p that these cases can give is "
        f"{best:.2g}, and {len(tested)} tests need {ALPHA / len(tested):.2g}; compare more cases, "
        "or fewer labels and metrics"
    ]


def _notes_on_labels(tables: Sequence[ScoreTable]) -> list[str]:
    notes = []
    for table in tables:
        missing = [label for other in tables for label in other.labels if label not in table.labels]
        if missing:
            notes.append(f"{table.name} lacks {', '.join(dict.fromkeys(missing))}")
    return notes
