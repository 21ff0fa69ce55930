"""The kinds of stages: their settings from plain values, and the inputs that settings name."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from flare_train.settings import from_plain
from flare_train.stages.net_settings import (
    ModelSettings,
    PredictSettings,
    ScoreSettings,
    TrainSettings,
)
from flare_train.stages.settings import (
    DatasetSettings,
    FuseSettings,
    LabelSource,
    PhantomSettings,
    PrepareSettings,
    SelectSettings,
)

__all__ = ["KINDS", "read_settings", "stage_inputs"]

KINDS: Mapping[str, type] = {
    "dataset": DatasetSettings,
    "phantom": PhantomSettings,
    "select": SelectSettings,
    "fuse": FuseSettings,
    "prepare": PrepareSettings,
    "pretrain": TrainSettings,
    "train": TrainSettings,
    "model": ModelSettings,
    "predict": PredictSettings,
    "score": ScoreSettings,
}
# Tables whose own keys are checked where they are used.
_OPEN = frozenset({"options", "sources", "preprocessing", "config", "changes", "windows"})
_GROUPS = frozenset({"train", "test", "unlabeled"})


def read_settings(kind: str, plain: Mapping[str, Any], *, name: str) -> Any:
    """Return the settings of a stage from plain values.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    plain : mapping
        Values by field.
    name : str
        Of the stage, for messages.

    Raises
    ------
    ValueError
        If the kind or a setting is unknown (the nearest is given) or breaks its rule.

    Examples
    --------
    >>> read_settings("fuse", {"rule": "s1"}, name="fused").rule
    's1'
    """
    if kind not in KINDS:
        near = get_close_matches(kind, KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(KINDS)}"
        raise ValueError(f"stages.{name}.kind: no stage is of kind {kind!r}; {hint}")
    where = f"stages.{name}."
    ready: dict[str, Any] = {}
    rest = dict(plain)
    for field_name in (
        _OPEN & rest.keys() & {entry.name for entry in dataclasses.fields(KINDS[kind])}
    ):
        value = rest.pop(field_name)
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}{field_name} must be a table, got {value!r}")
        ready[field_name] = value
    if kind == "prepare" and "labels" in rest:
        ready["labels"] = _label_sources(rest.pop("labels"), where)
    try:
        return from_plain(KINDS[kind], rest, where, **ready)
    except TypeError as error:
        # A required setting is missing.
        raise ValueError(f"stages.{name}: {error}".replace("__init__() ", "")) from error


def stage_inputs(settings: Any) -> tuple[str, ...]:
    """Return the names of the stages that settings mention, each once.

    Examples
    --------
    >>> stage_inputs(FuseSettings(rule="s1", sources={"T1": "first"}))
    ('data', 'first')
    """
    names: list[str] = []
    for entry in dataclasses.fields(settings):
        value = getattr(settings, entry.name)
        if entry.name == "labels" and isinstance(settings, PrepareSettings):
            names += [each for source in value for each in (source.source, source.cases)]
        elif entry.metadata.get("stage"):
            if isinstance(value, Mapping):
                names += value.values()
            else:
                names += value if isinstance(value, tuple) else [value]
    found = [name for name in dict.fromkeys(names) if name]
    if isinstance(settings, PredictSettings):
        found = [name for name in found if name not in _GROUPS]
    return tuple(found)


def _label_sources(value: Any, where: str) -> tuple[LabelSource, ...]:
    if not isinstance(value, list | tuple):
        raise ValueError(f"{where}labels must be a list of tables, got {value!r}")
    return tuple(
        from_plain(LabelSource, each, f"{where}labels[{number}].")
        for number, each in enumerate(value)
    )
