"""The shortcuts of fast mode: each has a name, can be switched, and its cost is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from flare_infer.spec import Mode, ModelSpec

__all__ = ["SAME_WINDOWS", "FastSettings"]

_SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(frozen=True, kw_only=True)
class FastSettings:
    """Which shortcuts fast mode takes. ``benchmarks/infer_fast.py`` measures what each costs.

    Parameters
    ----------
    step : float, optional
        Distance of neighboring windows as a share of the window, in (0, 1]. None: the model's own.
    body : bool
        Windows lie where the body is, for models of CT: their grid is laid over the body's box, and
        those that hold no body are left out. Background is written elsewhere.
    body_margin_mm : float
        How far beyond the body that reaches.
    constant : bool
        Windows in which every voxel has the same value are predicted once. Exact.
    coarse : float, optional
        The net looks at the whole case once with voxels so many times as long, above 1; windows lie
        only where it found something. Background is written elsewhere; a case in which it found
        nothing is looked at whole. None: no such pass.
    coarse_margin_mm : float
        How far beyond what it found that reaches.
    draft : bool
        Labels are decided on the network's grid and go to the original one by the nearest voxel.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Notes
    -----
    Models with the layout ``flare22`` choose their windows themselves: ``step``, ``body`` and
    ``coarse`` do nothing to them.

    Examples
    --------
    >>> FastSettings.from_texts(["step=0.75", "body=off"])
    FastSettings(step=0.75, body=False, ...)
    """

    step: float | None = None
    body: bool = True
    body_margin_mm: float = 20.0
    constant: bool = True
    coarse: float | None = None
    coarse_margin_mm: float = 40.0
    draft: bool = False

    def __post_init__(self) -> None:
        if self.step is not None and not 0 < self.step <= 1:
            raise ValueError(f"step must be in (0, 1], got {self.step}")
        if self.coarse is not None and not self.coarse > 1:
            raise ValueError(f"coarse must be above 1, or none, got {self.coarse}")
        for name in ("body_margin_mm", "coarse_margin_mm"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, got {getattr(self, name)}")

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> FastSettings:
        """Return the settings of texts ``NAME=VALUE``; later ones win.

        Raises
        ------
        ValueError
            If a name is unknown or a value is of another kind.
        """
        return cls(**dict(_setting(text) for text in texts))

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; ``FastSettings(**it)`` is the way back."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    def applied_to(self, spec: ModelSpec) -> ModelSpec:
        """Return the description of a model that takes ``step`` and ``draft``."""
        if self.step is not None and spec.windows.layout == "grid":
            spec = replace(spec, windows=replace(spec.windows, step=self.step))
        return replace(spec, order="decide-resample") if self.draft else spec

    def in_mode(self, spec: ModelSpec, mode: Mode) -> ModelSpec:
        """Return the description of a model as it is run in a mode: exact takes no shortcut."""
        return self.applied_to(spec) if mode == "fast" else spec


SAME_WINDOWS = FastSettings(body=False)
"""The model's own windows, all of them."""


def _setting(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    defaults = {each.name: each.default for each in fields(FastSettings)}
    if not equals or name not in defaults:
        raise ValueError(
            f"--set must be NAME=VALUE with a name of {', '.join(defaults)}, got {text!r}"
        )
    if isinstance(defaults[name], bool):
        if value.lower() not in _SWITCHES:
            raise ValueError(f"{name} must be on or off, got {value!r}")
        return name, _SWITCHES[value.lower()]
    if value.lower() == "none" and defaults[name] is None:
        return name, None
    try:
        return name, float(value)
    except ValueError:
        raise ValueError(f"{name} must be a number, got {value!r}") from None
