"""How teams are ranked, as data: which quantities, their weights, tolerances, and ties.

The built-in schemes are TOML files of this package, which say what of them is official and what
is derived; another one is such a file of your own.
"""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from importlib import resources
from pathlib import Path
from typing import Any, Literal

from flare_metrics._settings import did_you_mean

__all__ = [
    "ACCURACY",
    "EFFICIENCY",
    "Quantity",
    "RankingScheme",
    "ranking_scheme",
    "ranking_scheme_names",
]

ACCURACY = ("dsc", "nsd", "organ_dsc", "organ_nsd", "lesion_dsc", "lesion_nsd")
"""Means over all labels, the organs, or the lesions of a case; larger is better."""

EFFICIENCY = {
    "time_s": ("Time",),
    "max_gpu_mib": ("MaxGPU_Mem", "GPU_Mem"),
    "area_gpu_mib_s": ("AUC_GPU_Time",),
    "max_cpu_percent": ("MaxCPU_Utilization", "CPU_Utilization"),
    "area_cpu_percent_s": ("AUC_CPU_Time",),
    "max_ram_mib": ("MaxRAM", "RAM"),
    "area_ram_mib_s": ("AUC_RAM_Time",),
}
"""Quantities of ``*_Efficiency.csv`` by their columns since 2023 and before; smaller is better."""


@dataclass(frozen=True, kw_only=True)
class Quantity:
    """One ranked quantity.

    Parameters
    ----------
    source : str
        One of `ACCURACY` or `EFFICIENCY`.
    weight : float
        Of its ranks in the mean, > 0.
    tolerance : float or None
        A case in which ``tolerance_of`` is at most that is perfect: all such share the best rank.
    tolerance_of : str
        The efficiency quantity that is held against the tolerance; ``source`` by default.
    """

    source: str
    weight: float = 1.0
    tolerance: float | None = None
    tolerance_of: str = ""

    def __post_init__(self) -> None:
        if not self.tolerance_of:
            object.__setattr__(self, "tolerance_of", self.source)
        for name in (self.source, self.tolerance_of):
            if name not in (*ACCURACY, *EFFICIENCY):
                hint = did_you_mean(name, (*ACCURACY, *EFFICIENCY))
                raise ValueError(f"unknown quantity {name!r}{hint}")
        if not (math.isfinite(self.weight) and self.weight > 0):
            raise ValueError(f"weight of {self.source} must be > 0, got {self.weight!r}")
        if self.tolerance is None:
            return
        if self.tolerance_of in ACCURACY:
            raise ValueError(f"tolerance of {self.source} must be of a cost, not of a score")
        if not (math.isfinite(self.tolerance) and self.tolerance >= 0):
            raise ValueError(f"tolerance of {self.source} must be >= 0, got {self.tolerance!r}")

    @property
    def larger_is_better(self) -> bool:
        """Whether it is a score and no cost."""
        return self.source in ACCURACY


@dataclass(frozen=True, kw_only=True)
class RankingScheme:
    """How teams are ranked.

    Parameters
    ----------
    name, title : str
        Short name and one line of explanation.
    quantities : tuple of Quantity
        Each source once.
    ties : {"min", "average"}
        Equal values share the best of their ranks, or the mean of them.
    """

    name: str
    quantities: tuple[Quantity, ...]
    title: str = ""
    ties: Literal["min", "average"] = "min"

    def __post_init__(self) -> None:
        sources = [quantity.source for quantity in self.quantities]
        if not sources or len(set(sources)) < len(sources):
            raise ValueError(f"quantities must be at least one, each once, got {sources}")
        if self.ties not in ("min", "average"):
            raise ValueError(f"ties must be min or average, got {self.ties!r}")

    @property
    def sources(self) -> tuple[str, ...]:
        """Every quantity that is needed, those of tolerances included."""
        needed = [quantity.source for quantity in self.quantities]
        needed += [each.tolerance_of for each in self.quantities if each.tolerance is not None]
        return tuple(dict.fromkeys(needed))

    def with_changes(
        self,
        *,
        only: Sequence[str] = (),
        weights: Mapping[str, float] | None = None,
        tolerances: Mapping[str, float | None] | None = None,
        ties: Literal["min", "average"] | None = None,
    ) -> RankingScheme:
        """Return the scheme with other quantities, weights or tolerances.

        Parameters
        ----------
        only : sequence of str
            The quantities to rank, in place of the scheme's; those that it has keep their weight
            and tolerance.
        weights, tolerances : dict, optional
            By source; a tolerance of None is none.
        ties : {"min", "average"}, optional

        Raises
        ------
        ValueError
            If a source is unknown or not ranked.

        Examples
        --------
        >>> fast = ranking_scheme("flare23").with_changes(only=["time_s"], tolerances={"time_s": 5})
        >>> fast.name, fast.quantities[0].tolerance
        ('flare23, changed', 5)
        """
        own = {quantity.source: quantity for quantity in self.quantities}
        if only:
            own = {source: own.get(source) or Quantity(source=source) for source in only}
        for source in (*(weights or {}), *(tolerances or {})):
            if source not in own:
                raise ValueError(f"{source!r} is not ranked{did_you_mean(source, own)}")
        for source, weight in (weights or {}).items():
            own[source] = replace(own[source], weight=weight)
        for source, tolerance in (tolerances or {}).items():
            own[source] = replace(own[source], tolerance=tolerance)
        changed = replace(self, quantities=tuple(own.values()), ties=ties or self.ties)
        return self if changed == self else replace(changed, name=f"{self.name}, changed", title="")


def ranking_scheme(name: str | os.PathLike[str]) -> RankingScheme:
    """Return a built-in scheme by name, or one of your own from a TOML file.

    Parameters
    ----------
    name : str or path
        ``"flare21"``, ``"flare22"``, ``"flare23"``, ``"flare24-task1"``, or a path that ends in
        ``.toml``.

    Raises
    ------
    ValueError
        If there is no such scheme, or the file says something that no scheme has.

    Examples
    --------
    >>> [quantity.weight for quantity in ranking_scheme("flare22").quantities]
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """
    text = os.fspath(name)
    if text.endswith(".toml"):
        return _from_toml(Path(text).read_bytes(), Path(text).stem, text)
    known = ranking_scheme_names()
    if text not in known:
        hint = did_you_mean(text, known, listed=False)
        raise ValueError(f"scheme must be {', '.join(known)} or a .toml file, got {text!r}{hint}")
    return _from_toml((_folder() / f"{text}.toml").read_bytes(), text, f"scheme {text}")


def ranking_scheme_names() -> tuple[str, ...]:
    """Return the names of the built-in schemes.

    Examples
    --------
    >>> ranking_scheme_names()
    ('flare21', 'flare22', 'flare23', 'flare24-task1')
    """
    return tuple(sorted(entry.name[:-5] for entry in _folder().iterdir()))


def _folder() -> Any:
    return resources.files("flare_metrics") / "data" / "ranking"


def _from_toml(data: bytes, name: str, source: str) -> RankingScheme:
    try:
        record = tomllib.loads(data.decode())
        rows = record.pop("quantities", [])
        quantities = tuple(Quantity(**_known(row, Quantity)) for row in rows)
        options = {"name": name, **_known(record, RankingScheme)}
        return RankingScheme(**options, quantities=quantities)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{source}: not a ranking scheme: {error}") from error


def _known(record: dict[str, Any], kind: type) -> dict[str, Any]:
    names = [field.name for field in fields(kind)]
    for key in record:
        if key not in names:
            raise ValueError(f"unknown key {key!r}{did_you_mean(key, names)}")
    return record
