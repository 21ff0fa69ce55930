"""The rule by which islands of a label are kept."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["Components"]


@dataclass(frozen=True, kw_only=True)
class Components:
    """Which connected components of a label are kept: the large ones, by either measure.

    Parameters
    ----------
    min_share : float
        Keep a component of at least this share of its label's largest one, in [0, 1].
    min_mm3 : float
        Keep a component of at least this volume. Infinity: the share alone counts.

    Examples
    --------
    >>> Components.from_dict({"min_share": 0.1})
    Components(min_share=0.1, min_mm3=50.0)
    """

    min_share: float = 0.05
    min_mm3: float = 50.0

    def __post_init__(self) -> None:
        if not 0 <= self.min_share <= 1:
            raise ValueError(f"min_share must lie in 0 to 1, got {self.min_share}")
        if not self.min_mm3 >= 0:
            raise ValueError(f"min_mm3 must be at least 0, got {self.min_mm3}")

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` is the way back."""
        # JSON knows no infinity.
        volume = self.min_mm3 if math.isfinite(self.min_mm3) else None
        return {**asdict(self), "min_mm3": volume}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Components:
        """Return the rule of a dict; an unknown field is an error, ``min_mm3`` None is infinity."""
        unknown = sorted(set(fields) - set(cls.__dataclass_fields__))
        if unknown:
            raise ValueError(f"components has unknown fields {unknown}, only min_share and min_mm3")
        known = {name: math.inf if value is None else value for name, value in fields.items()}
        return cls(**known)
