"""Tables with one row a case, as this package and the official scripts write them."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from flare_metrics.errors import UnreadableFileError
from flare_metrics.files import case_name

__all__ = ["CaseRows", "read_case_rows"]

_NAME = "Name"


@dataclass(frozen=True)
class CaseRows:
    """The cells of a table by case.

    Parameters
    ----------
    path : Path
    columns : tuple of str
        Without the one that names the case.
    rows : dict
        By case, in the order of the file.
    """

    path: Path
    columns: tuple[str, ...]
    rows: dict[str, dict[str, str]]

    def number(self, case: str, column: str) -> float:
        """Return a cell as a number, NaN where it is empty."""
        cell = self.rows[case][column].strip()
        try:
            return float(cell) if cell else math.nan
        except ValueError:
            raise UnreadableFileError(
                self.path, f"{column} of {case} must be a number or empty", found=repr(cell)
            ) from None


def read_case_rows(path: Path, *, name_ending: str = "") -> CaseRows:
    """Read a table.

    Parameters
    ----------
    path : Path
        CSV with a header and a column ``Name``; a byte order mark is skipped.
    name_ending : str
        Taken off names, after the suffix of a label map.

    Returns
    -------
    CaseRows

    Raises
    ------
    UnreadableFileError
        If it is not such a table, is cut in the middle of a row, names a case twice, or holds
        none.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error) as error:
        raise UnreadableFileError(
            path, "must be a table of comma-separated values", found=str(error)
        ) from error
    lines = [line for line in lines if line]
    header = lines[0] if lines else []
    repeated = sorted({column for column in header if header.count(column) > 1})
    if _NAME not in header or repeated:
        raise UnreadableFileError(
            path,
            "must have one header, with each column once and one column Name",
            found=f"{repeated[0]} repeated" if repeated else ", ".join(header[:6]) or "nothing",
        )
    rows: dict[str, dict[str, str]] = {}
    for number, line in enumerate(lines[1:], 2):
        if len(line) != len(header):
            raise UnreadableFileError(
                path,
                f"row {number} must have {len(header)} cells",
                found=str(len(line)),
                remedy="the file may be cut; write it again",
            )
        row = dict(zip(header, line, strict=True))
        name = row.pop(_NAME)
        case = (case_name(name) or name).removesuffix(name_ending)
        if case in rows or not case:
            raise UnreadableFileError(
                path, f"row {number} must name a case of its own", found=repr(name)
            )
        rows[case] = row
    if not rows:
        raise UnreadableFileError(path, "must hold cases", found="none", kind="empty")
    return CaseRows(path, tuple(column for column in header if column != _NAME), rows)
