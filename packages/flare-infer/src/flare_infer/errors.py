"""What can be wrong with a model, as one named class."""

from __future__ import annotations

import os
from typing import Any

__all__ = ["ModelError"]


class ModelError(ValueError):
    """A model folder or nnU-Net folder that is refused; nothing in it has been run.

    Parameters
    ----------
    source : path
        The file or folder at fault.
    rule : str
        What was expected, or what is wrong.
    found, remedy : str, optional
        What came, and the way out.
    kind : str, optional
        A short word for programs.

    Examples
    --------
    >>> str(ModelError("m/model.json", "must be JSON", remedy="write the model again"))
    'm/model.json: must be JSON; write the model again'
    """

    exit_code = 6

    def __init__(
        self,
        source: os.PathLike[str] | str,
        rule: str,
        *,
        found: str = "",
        remedy: str = "",
        kind: str = "model",
    ) -> None:
        self.source = os.fspath(source)
        self.rule = rule
        self.found = found
        self.remedy = remedy
        self.kind = kind
        text = f"{self.source}: {rule}"
        text += f", found {found}" if found else ""
        text += f"; {remedy}" if remedy else ""
        super().__init__(" ".join(text.split()))

    def record(self) -> dict[str, Any]:
        """Return the fields as a JSON-ready dict."""
        names = ("kind", "source", "rule", "found", "remedy")
        return {name: getattr(self, name) for name in names}
