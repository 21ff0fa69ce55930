"""Progress of many cases: a bar on a terminal, plain lines in a log."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar


class _Named(Protocol):
    @property
    def case(self) -> str: ...
    @property
    def status(self) -> str: ...


_Result = TypeVar("_Result", bound=_Named)


def shown(results: Iterable[_Result], *, total: int, active: bool) -> Iterator[_Result]:
    """Pass results on and show on stderr how far they are."""
    if active and sys.stderr.isatty():
        from tqdm import tqdm

        yield from tqdm(results, total=total, unit="case", leave=False)
        return
    for number, result in enumerate(results, 1):
        if active:
            # Names come from outside: a newline in one would look like another case.
            name = " ".join(result.case.split())
            sys.stderr.write(f"case {number}/{total} {name}: {result.status}\n")
        yield result
