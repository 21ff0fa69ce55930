"""What can be wrong with data, as three classes; wrong arguments raise built-in errors."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["GridError", "LabelError", "UnreadableFileError"]


class _DataError(Exception):
    """A fault in data: where, which rule, what was found, and the way out.

    Parameters
    ----------
    source : path or str
        The file or folder at fault.
    rule : str
        What was expected, or what is wrong.
    found : str, optional
        The values that came.
    remedy : str, optional
        What the user can do about it.
    kind : str, optional
        A short word for programs.
    """

    exit_code = 3

    def __init__(
        self,
        source: os.PathLike[str] | str,
        rule: str,
        *,
        found: str = "",
        remedy: str = "",
        kind: str = "data",
    ) -> None:
        self.source = os.fspath(source)
        self.rule = rule
        self.found = found
        self.remedy = remedy
        self.kind = kind
        super().__init__(f"{self.source}: {rule}")

    # Errors come back from worker processes.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.record())

    def __str__(self) -> str:
        found = f", found {self.found}" if self.found else ""
        remedy = f"; {self.remedy}" if self.remedy else ""
        # Names come from outside: a newline in one would break the one-line promise.
        return " ".join(f"{self.source}: {self.rule}{found}{remedy}".split())

    def record(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready dict."""
        names = ("kind", "source", "rule", "found", "remedy")
        return {name: getattr(self, name) for name in names}


class UnreadableFileError(_DataError, OSError):
    """A file that cannot be read whole and verified."""


class GridError(_DataError, ValueError):
    """A prediction and a reference on different grids, or a grid that makes no sense."""


class LabelError(_DataError, ValueError):
    """Values that are no labels, or not those of the protocol."""


def _rebuilt(kind: type[_DataError], record: dict[str, Any]) -> _DataError:
    source, rule = record.pop("source"), record.pop("rule")
    return kind(source, rule, **record)
