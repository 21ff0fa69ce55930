"""Scores of one method read back from its table: ``cases.csv`` of ``score``, or an official CSV."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_metrics._case_rows import CaseRows, read_case_rows
from flare_metrics.errors import UnreadableFileError
from flare_metrics.tables import COLUMN_ENDS

__all__ = ["ScoreTable", "distinct_names", "find_scores", "read_scores"]

_TABLE = "cases.csv"
_OFFICIAL = "DSC_NSD"
# Names of lesion labels in official tables, which do not say what kind a label is.
_LESIONS = ("tumor", "tumour", "lesion")

_Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScoreTable:
    """The scores of one method.

    Parameters
    ----------
    name : str
        Of the folder, or the team in the name of an official table.
    path : Path
        The table.
    cases : tuple of str
        Names without suffix, in the table's order.
    labels : tuple of str
        As in the columns.
    values : dict
        By metric (``dsc``, ``nsd``, ``hd95_mm``, ``assd_mm``, as far as the table has them) a
        (cases, labels) float array; NaN where there is no score.
    scored : (cases,) bool array
        Whether prediction and reference were both fine; True throughout where the table does not
        say.
    has_status : bool
        Whether the table says so.
    lesions : tuple of str
        Those labels that are lesions.
    strangers : tuple of str
        Predictions without reference, which are no cases.
    rules : dict or None
        ``protocol``, ``settings`` and the ``tolerances`` of the scoring; None where unknown.
    """

    name: str
    path: Path
    cases: tuple[str, ...]
    labels: tuple[str, ...]
    values: dict[str, _Floats]
    scored: NDArray[np.bool_]
    has_status: bool = False
    lesions: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    rules: dict[str, Any] | None = field(default=None)

    @property
    def organs(self) -> tuple[str, ...]:
        """The labels that are no lesions."""
        return tuple(label for label in self.labels if label not in self.lesions)

    def column(self, metric: str, label: str) -> _Floats:
        """Return the scores of one label, NaN throughout where the table lacks it."""
        if metric not in self.values or label not in self.labels:
            return np.full(len(self.cases), np.nan)
        return self.values[metric][:, self.labels.index(label)]

    def case_means(self, metric: str, labels: tuple[str, ...]) -> _Floats:
        """Return the mean over the scored ones of some labels in every case, NaN of none."""
        table = np.array([self.column(metric, label) for label in labels])
        table = table.reshape(len(labels), len(self.cases))
        known = ~np.isnan(table)
        count = known.sum(axis=0)
        sums = np.where(known, table, 0.0).sum(axis=0)
        return np.where(count > 0, sums / np.maximum(count, 1), np.nan)

    def with_name(self, name: str) -> ScoreTable:
        """Return the same scores under another name."""
        return replace(self, name=name)


def read_scores(path: Path) -> ScoreTable:
    """Read the scores of one method.

    Parameters
    ----------
    path : Path
        A folder that ``score`` wrote, or one with an official ``DSC_NSD_team.csv``, or such a
        table itself.

    Returns
    -------
    ScoreTable

    Raises
    ------
    UnreadableFileError
        If there is no such table, or it is damaged, names a case twice, or holds a DSC or NSD
        outside [0, 1].
    """
    file = find_scores(path)
    rows = read_case_rows(file)
    places = _places(rows)
    if not places:
        raise UnreadableFileError(
            file, "must have columns such as Liver_DSC or Liver_NSD", found=", ".join(rows.columns)
        )
    statuses = {case: row.get("Status", "scored") for case, row in rows.rows.items()}
    cases = tuple(case for case, status in statuses.items() if status != "no reference")
    labels = tuple(dict.fromkeys(label for _, label in places))
    rules, lesions = _scoring(file, labels)
    return ScoreTable(
        name=_name(file),
        path=file,
        cases=cases,
        labels=labels,
        values={
            metric: _values(rows, cases, [places.get((metric, label)) for label in labels], metric)
            for metric in dict.fromkeys(metric for metric, _ in places)
        },
        scored=np.array([statuses[case] == "scored" for case in cases], bool),
        has_status="Status" in rows.columns,
        lesions=lesions,
        strangers=tuple(case for case in statuses if case not in set(cases)),
        rules=rules,
    )


def find_scores(path: Path) -> Path:
    """Return the table of a folder, or the file itself."""
    if not path.is_dir():
        return path
    if (path / _TABLE).is_file():
        return path / _TABLE
    official = sorted(path.glob(f"*{_OFFICIAL}*.csv"))
    if len(official) != 1:
        names = ", ".join(file.name for file in official) or "neither"
        raise UnreadableFileError(
            path,
            f"must hold {_TABLE} or one table {_OFFICIAL}_<team>.csv",
            found=names,
            remedy="name the file itself",
        )
    return official[0]


def distinct_names(tables: list[ScoreTable]) -> list[ScoreTable]:
    """Return the tables, those of the same name under their paths instead.

    Raises
    ------
    ValueError
        If two tables are the same file.
    """
    places = [table.path.resolve() for table in tables]
    for place in places:
        if places.count(place) > 1:
            raise ValueError(f"every table must be given once, got {place} twice")
    names = [table.name for table in tables]
    return [
        table.with_name(str(table.path.parent if table.path.name == _TABLE else table.path))
        if names.count(table.name) > 1
        else table
        for table in tables
    ]


def _places(rows: CaseRows) -> dict[tuple[str, str], str]:
    """Return the columns with scores by metric and label."""
    return {
        (metric, column.removesuffix(f"_{end}")): column
        for column in rows.columns
        for metric, end in COLUMN_ENDS.items()
        if column.endswith(f"_{end}") and column != f"_{end}"
    }


def _values(
    rows: CaseRows, cases: tuple[str, ...], columns: list[str | None], metric: str
) -> _Floats:
    table = np.array(
        [
            [np.nan if column is None else rows.number(case, column) for column in columns]
            for case in cases
        ],
        float,
    ).reshape(len(cases), len(columns))
    top = 1.0 if metric in ("dsc", "nsd") else np.inf
    wrong = np.argwhere((table < 0) | (table > top))
    if len(wrong):
        case, column = cases[wrong[0][0]], columns[wrong[0][1]]
        rule = "in [0, 1], not percent" if top == 1 else ">= 0"
        raise UnreadableFileError(
            rows.path, f"{column} of {case} must be {rule}", found=f"{table[tuple(wrong[0])]:g}"
        )
    return table


def _scoring(file: Path, labels: tuple[str, ...]) -> tuple[dict[str, Any] | None, tuple[str, ...]]:
    """Return the rules of a scoring, as far as they are known, and the lesions among its labels."""
    summary = file.with_name("summary.json")
    by_name = tuple(label for label in labels if label.casefold() in _LESIONS)
    if file.name != _TABLE or not summary.is_file():
        return None, by_name
    try:
        record = json.loads(summary.read_text(encoding="utf-8"))
        known = {
            column: (row["kind"], row["tolerance_mm"]) for column, row in record["labels"].items()
        }
        rules = {
            "protocol": record["protocol"],
            "settings": record.get("settings"),
            "tolerances": {column: tolerance for column, (_, tolerance) in known.items()},
        }
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UnreadableFileError(
            summary, "must be the summary of a scoring", found=f"{type(error).__name__}: {error}"
        ) from error
    lesions = tuple(label for label in labels if known.get(label, ("",))[0] == "lesion")
    return rules, lesions


def _name(file: Path) -> str:
    if file.name == _TABLE:
        return file.resolve().parent.name or "scores"
    return file.stem.removeprefix(_OFFICIAL).strip("_") or file.stem
