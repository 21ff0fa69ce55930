"""Many graphs of stages as one, in which what is equal is done once."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from flare_train.stages.graph import Stage, stage_keys
from flare_train.stages.kinds import read_settings, stage_inputs
from flare_train.stages.settings import PrepareSettings

__all__ = ["shared_graph"]

K = TypeVar("K")


def shared_graph(
    graphs: Mapping[K, Sequence[Stage]],
) -> tuple[tuple[Stage, ...], dict[K, dict[str, str]]]:
    """Return one graph for several, and where the stages of each are in it.

    Parameters
    ----------
    graphs : mapping to sequences of Stage
        Each in running order. Stages of one name, settings and inputs are one stage.

    Returns
    -------
    stages : tuple of Stage
        ``NAME-xxxxxxxx``, the letters from what decides the result, so that a stage keeps its name
        whatever other graphs there are.
    names : dict of dict of str to str
        By graph, the new name of each of its stages.

    Examples
    --------
    >>> data = Stage(
    ...     name="data", kind="phantom", settings={"preset": "unit", "cases": 1, "test_cases": 1}
    ... )
    >>> stages, names = shared_graph({"a": [data], "b": [data]})
    >>> len(stages), names["a"] == names["b"]
    (1, True)
    """
    stages: dict[str, Stage] = {}
    places: dict[K, dict[str, str]] = {}
    for graph, members in graphs.items():
        keys = stage_keys(members)
        names = {name: f"{name}-{key[:8]}" for name, key in keys.items()}
        for stage in members:
            stages.setdefault(names[stage.name], _renamed(stage, names))
        places[graph] = names
    return tuple(stages.values()), places


def _renamed(stage: Stage, names: Mapping[str, str]) -> Stage:
    settings = read_settings(stage.kind, stage.settings, name=stage.name)
    plain: dict[str, Any] = dict(stage.settings)
    for entry in dataclasses.fields(settings):
        value = getattr(settings, entry.name)
        if entry.name == "labels" and isinstance(settings, PrepareSettings):
            plain["labels"] = [
                {
                    **dataclasses.asdict(source),
                    "source": names[source.source],
                    "cases": names.get(source.cases, source.cases),
                }
                for source in settings.labels
            ]
        elif entry.metadata.get("stage"):
            plain[entry.name] = _with_names(value, names)
    return Stage(
        name=names[stage.name],
        kind=stage.kind,
        settings=plain,
        inputs=stage_inputs(read_settings(stage.kind, plain, name=stage.name)),
    )


def _with_names(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, Mapping):
        return {key: names[name] for key, name in value.items()}
    if isinstance(value, tuple):
        return [names[name] for name in value]
    # Words such as "test" stand for groups of cases, "" for none.
    return names.get(value, value)
