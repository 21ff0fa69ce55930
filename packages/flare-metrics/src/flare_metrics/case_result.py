"""What became of one case of a folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from flare_metrics.scores import CaseScore

__all__ = ["CaseResult", "Status"]

Status = Literal[
    "scored", "no prediction", "prediction refused", "script stops", "failed", "no reference"
]


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What became of one case.

    Parameters
    ----------
    case : str
        Name of the files without suffix.
    status : str
        ``"scored"``; ``"no prediction"`` and ``"prediction refused"`` carry the scores that the
        protocol gives them; ``"script stops"`` (an official script ends in this case) carries
        labels without score; ``"failed"`` (the reference, or the machine) and ``"no reference"``
        carry none.
    score : CaseScore or None
    error : dict or None
        The fault as a record with ``kind``, ``source``, ``rule``, ``found``, ``remedy``.
    file : str
        Name of the reference file.
    prediction, reference : str
        Paths of the files, empty where there is none.
    note : str
        What was done to a case that is scored.
    """

    case: str
    status: Status
    score: CaseScore | None = None
    error: dict[str, Any] | None = None
    file: str = ""
    prediction: str = ""
    reference: str = ""
    note: str = ""

    @property
    def reason(self) -> str:
        """The fault on one line, or the note; empty where there is neither."""
        if self.error is None:
            return self.note
        found, remedy = self.error.get("found"), self.error.get("remedy")
        text = f"{self.error['rule']}" + (f", found {found}" if found else "")
        return text + (f"; {remedy}" if remedy else "")
