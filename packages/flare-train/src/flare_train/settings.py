"""Rules for settings, and their way to and from plain values that JSON and TOML can hold."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

__all__ = ["Range", "from_plain", "require", "require_range", "require_share", "to_plain"]

Range = tuple[float, float]
T = TypeVar("T")


def require(condition: bool, name: str, rule: str, value: object) -> None:
    """Raise ``ValueError`` with the name of a setting, its rule and what came.

    Examples
    --------
    >>> require(False, "batch", "be >= 1", 0)
    Traceback (most recent call last):
    ...
    ValueError: batch must be >= 1, got 0
    """
    if not condition:
        raise ValueError(f"{name} must {rule}, got {value!r}")


def require_range(name: str, value: Range, *, low: float = -math.inf) -> None:
    """Refuse what is not two finite rising numbers from `low` on."""
    require(
        len(value) == 2 and low <= value[0] <= value[1] < math.inf,
        name,
        f"be (low, high) with {low} <= low <= high",
        value,
    )


def require_share(name: str, value: float) -> None:
    """Refuse what does not lie in [0, 1]."""
    require(0 <= value <= 1, name, "lie in [0, 1]", value)


def to_plain(value: Any) -> Any:
    """Return a value with lists in place of tuples, at every depth.

    Examples
    --------
    >>> to_plain({"patch": (1, (2, 3))})
    {'patch': [1, [2, 3]]}
    """
    if isinstance(value, dict):
        return {name: to_plain(item) for name, item in value.items()}
    return [to_plain(item) for item in value] if isinstance(value, tuple | list) else value


def from_plain(kind: type[T], plain: Mapping[str, Any], prefix: str, **ready: Any) -> T:
    """Return a settings dataclass from plain values, each of its declared type.

    Parameters
    ----------
    kind : type
        A dataclass; nested dataclasses are made from nested dicts.
    plain : mapping of str to object
        Values by field; missing ones keep their defaults.
    prefix : str
        Put before names in messages, such as ``"optimizer."``.
    **ready
        Fields that are made already.

    Raises
    ------
    ValueError
        If a name is no field (the nearest is given), or a value is of another type.

    Examples
    --------
    >>> @dataclasses.dataclass
    ... class Size:
    ...     mm: float = 1.0
    >>> from_plain(Size, {"mm": 2}, "size.")
    Size(mm=2.0)
    >>> from_plain(Size, {"mmm": 2}, "size.")
    Traceback (most recent call last):
    ...
    ValueError: unknown setting size.mmm; did you mean size.mm?
    """
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = dict(ready)
    for name, value in plain.items():
        if name not in hints or name in ready:
            near = difflib.get_close_matches(name, hints, n=1)
            hint = f"; did you mean {prefix}{near[0]}?" if near else ""
            raise ValueError(f"unknown setting {prefix}{name}{hint}")
        values[name] = _convert(hints[name], value, f"{prefix}{name}")
    return kind(**values)


def _convert(hint: Any, value: Any, name: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a table of settings, got {value!r}")
        return from_plain(hint, value, f"{name}.")
    origin = typing.get_origin(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{name} must be a list, got {value!r}")
        kinds = typing.get_args(hint)
        element = kinds[0]
        return tuple(_convert(element, item, f"{name}[{i}]") for i, item in enumerate(value))
    if origin is Literal:
        return value
    if origin is types.UnionType:
        return _convert_union(typing.get_args(hint), value, name)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        if not isinstance(value, Mapping):
            raise ValueError(f"{name} must be a table, got {value!r}")
        element = typing.get_args(hint)[1]
        return {str(key): _convert(element, item, f"{name}.{key}") for key, item in value.items()}
    # bool is an int in Python, and TOML writes 1 where 1.0 is meant.
    accepted = (int, float) if hint is float else (hint,)
    if isinstance(value, bool) is not (hint is bool) or not isinstance(value, accepted):
        raise ValueError(f"{name} must be {hint.__name__}, got {value!r}")
    return hint(value)


def _convert_union(hints: tuple[Any, ...], value: Any, name: str) -> Any:
    """Convert to the first kind that fits; with None and one other kind, its message is kept."""
    kinds = [hint for hint in hints if hint is not types.NoneType]
    if value is None and len(kinds) < len(hints):
        return None
    if len(kinds) == 1:
        return _convert(kinds[0], value, name)
    for kind in kinds:
        try:
            return _convert(kind, value, name)
        except ValueError:
            continue
    raise ValueError(f"{name} must be one of {', '.join(map(str, kinds))}, got {value!r}")
