"""What can be wrong with data, as four named classes and what they share.

Wrong arguments raise the built-in errors. These four are for the world outside: files, grids,
labels and dataset folders. Each carries its parts as fields, so that a command prints one line and
``--json`` one record.
"""

from __future__ import annotations

import os
from typing import Any

__all__ = ["DataError", "DatasetError", "GeometryError", "LabelError", "UnreadableVolumeError"]


class DataError(Exception):
    """A fault in data: where, which rule, what was found, and the way out.

    Parameters
    ----------
    source : path or str
        The file, folder or named array at fault.
    rule : str
        What was expected, or what is wrong.
    found : str, optional
        The values that came.
    remedy : str, optional
        What the user can do about it.
    kind : str, optional
        A short word for programs, such as ``"truncated"``.
    """

    exit_code = 3
    default_kind = "data"

    def __init__(
        self,
        source: os.PathLike[str] | str,
        rule: str,
        *,
        found: str = "",
        remedy: str = "",
        kind: str = "",
    ) -> None:
        self.source = os.fspath(source)
        self.rule = rule
        self.found = found
        self.remedy = remedy
        self.kind = kind or self.default_kind
        super().__init__(self.describe())

    def describe(self) -> str:
        """Return ``SOURCE: rule, found; way out`` on one line.

        Examples
        --------
        >>> GeometryError(
        ...     "a.nii", "spacing must be > 0", found="0.0", remedy="repair it"
        ... ).describe()
        'a.nii: spacing must be > 0, found 0.0; repair it'
        """
        text = f"{self.source}: {self.rule}"
        if self.found:
            text += f", found {self.found}"
        if self.remedy:
            text += f"; {self.remedy}"
        # Names come from outside: a newline in one would break the one-line promise.
        return " ".join(text.split())

    def __str__(self) -> str:
        return self.describe()

    # Errors come back from worker processes, and the default would pass the message alone.
    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuilt, (type(self), self.record())

    def record(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready dict."""
        names = ("kind", "source", "rule", "found", "remedy")
        return {name: getattr(self, name) for name in names}


class UnreadableVolumeError(DataError, OSError):
    """A file that cannot be read whole and verified."""


class GeometryError(DataError, ValueError):
    """A grid that no rule accepts, or two grids that ought to be one."""


class LabelError(DataError, ValueError):
    """Label values or names outside their table."""


class DatasetError(DataError, ValueError):
    """A dataset folder or manifest that contradicts itself."""


def _rebuilt(error_class: type[DataError], record: dict[str, Any]) -> DataError:
    return error_class(record.pop("source"), record.pop("rule"), **record)
