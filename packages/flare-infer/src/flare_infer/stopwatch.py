"""Seconds by step, where steps ask one another for their data."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["Stopwatch"]

Item = TypeVar("Item")


class Stopwatch:
    """Adds up the seconds of steps; a step that runs inside another counts for itself alone.

    Parameters
    ----------
    spent : dict
        From step to seconds; filled at the end of each step.

    Examples
    --------
    >>> watch = Stopwatch({})
    >>> with watch.step("read"):
    ...     rows = list(watch.over("decode", range(3)))
    >>> sorted(watch.spent), rows
    (['decode', 'read'], [0, 1, 2])
    """

    def __init__(self, spent: dict[str, float]) -> None:
        self.spent = spent
        self._running: list[str] = []
        self._since = 0.0

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Count what runs inside for a step."""
        self._charge()
        self._running.append(name)
        self.spent.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._charge()
            self._running.pop()

    def over(self, name: str, items: Iterable[Item]) -> Iterator[Item]:
        """Yield the same items; making each one counts for a step."""
        iterator = iter(items)
        while True:
            with self.step(name):
                try:
                    item = next(iterator)
                except StopIteration:
                    return
            yield item

    def _charge(self) -> None:
        now = time.perf_counter()
        if self._running:
            step = self._running[-1]
            self.spent[step] = round(self.spent[step] + now - self._since, 6)
        self._since = now
