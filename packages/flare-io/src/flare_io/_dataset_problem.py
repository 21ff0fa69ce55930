"""One thing wrong, or only remarkable, in a dataset folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from flare_io.errors import DatasetError

__all__ = ["Problem"]


@dataclass(frozen=True)
class Problem:
    """Something wrong, or only remarkable, in a dataset folder.

    Parameters
    ----------
    severity : {"error", "note"}
        Notes do not keep a dataset from being used.
    kind : str
        A short word for programs, such as ``"missing-image"``.
    source : str
        File or folder.
    rule, found, remedy : str
        What is expected, what came, the way out.
    """

    severity: Literal["error", "note"]
    kind: str
    source: str
    rule: str
    found: str = ""
    remedy: str = ""

    def describe(self) -> str:
        """Return ``SOURCE: rule, found; way out`` on one line."""
        return self.as_error().describe()

    def as_error(self) -> DatasetError:
        """Return the exception that says the same."""
        return DatasetError(
            self.source, self.rule, found=self.found, remedy=self.remedy, kind=self.kind
        )

    def record(self) -> dict[str, str]:
        """Return the fields as a JSON-ready dict."""
        return {"severity": self.severity, **self.as_error().record()}
