"""What a stage is, in which order stages can run, and the key that tells whether one is done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

__all__ = ["Stage", "in_order", "stage_keys", "wanted_for"]

# Raised whenever equal settings and inputs give another result.
FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One piece of work.

    Parameters
    ----------
    name : str
        Unique in its graph; also a folder name.
    kind : str
        Which work, one of `flare_train.stages.kinds.KINDS`.
    settings : mapping of str to object
        Plain values that JSON can hold; all that decides the result beside the inputs.
    inputs : tuple of str
        Names of the stages whose results it reads.
    """

    name: str
    kind: str
    settings: Mapping[str, Any]
    inputs: tuple[str, ...] = ()


def in_order(stages: Sequence[Stage]) -> tuple[Stage, ...]:
    """Return stages so that every one comes after its inputs, else in the given order.

    Raises
    ------
    ValueError
        If a name occurs twice, an input is no stage, or stages wait for each other in a ring.

    Examples
    --------
    >>> first = Stage(name="data", kind="phantom", settings={})
    >>> second = Stage(name="fused", kind="fuse", settings={}, inputs=("data",))
    >>> [stage.name for stage in in_order([second, first])]
    ['data', 'fused']
    """
    known: dict[str, Stage] = {}
    for stage in stages:
        if stage.name in known:
            raise ValueError(f"stage {stage.name!r} is named twice; give one another name")
        known[stage.name] = stage
    for stage in stages:
        for name in stage.inputs:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"; did you mean {near[0]!r}?" if near else ""
                raise ValueError(f"stage {stage.name!r} reads {name!r}, which is no stage{hint}")
    done: dict[str, Stage] = {}
    waiting = list(stages)
    while waiting:
        ready = [stage for stage in waiting if all(name in done for name in stage.inputs)]
        if not ready:
            names = ", ".join(stage.name for stage in waiting)
            raise ValueError(f"stages wait for each other in a ring: {names}")
        done |= {stage.name: stage for stage in ready}
        waiting = [stage for stage in waiting if stage.name not in done]
    return tuple(done.values())


def stage_keys(
    stages: Sequence[Stage], *, contents: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Return the key of every stage: the SHA-256 of its kind, settings and inputs' keys.

    Parameters
    ----------
    stages : sequence of Stage
    contents : mapping of str to str, optional
        Keys of stages that stand for files from outside, made from what the files hold.

    Returns
    -------
    dict of str to str
        By name. Two stages of one key have one result, whatever their names.

    Examples
    --------
    >>> one = Stage(name="a", kind="fuse", settings={"rule": "s1"})
    >>> two = Stage(name="b", kind="fuse", settings={"rule": "s1"})
    >>> keys = stage_keys([one, two])
    >>> keys["a"] == keys["b"]
    True
    """
    keys: dict[str, str] = {}
    for stage in in_order(stages):
        given = (contents or {}).get(stage.name)
        about = [
            FORMAT,
            stage.kind,
            dict(stage.settings) if given is None else given,
            {name: keys[name] for name in stage.inputs},
        ]
        text = json.dumps(about, sort_keys=True)
        keys[stage.name] = hashlib.sha256(text.encode()).hexdigest()
    return keys


def wanted_for(stages: Sequence[Stage], names: Iterable[str]) -> tuple[Stage, ...]:
    """Return the stages of some names and all that they read, in running order."""
    ordered = in_order(stages)
    wanted = set(names)
    unknown = sorted(wanted - {stage.name for stage in ordered})
    if unknown:
        known = ", ".join(stage.name for stage in ordered)
        raise ValueError(f"there is no stage {unknown[0]!r}; stages are {known}")
    for stage in reversed(ordered):
        if stage.name in wanted:
            wanted.update(stage.inputs)
    return tuple(stage for stage in ordered if stage.name in wanted)
