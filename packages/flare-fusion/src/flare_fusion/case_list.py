"""Lists of cases as files: what a selection writes and a fusion reads."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flare_io.atomic import write_json, write_text
from flare_io.errors import DatasetError

__all__ = ["read_case_list", "write_case_list"]


def read_case_list(path: str | os.PathLike[str]) -> tuple[str, ...]:
    """Return the ids that a file lists.

    Parameters
    ----------
    path : path
        JSON as `write_case_list` writes it, a JSON list, or text with one id a line; empty lines
        and those that begin with ``#`` do not count.

    Raises
    ------
    DatasetError
        If the file lists no cases, or one twice.
    OSError
        If it cannot be read.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
        found = json.loads(text) if text.lstrip()[:1] in ("{", "[") else _lines(text)
    except ValueError as error:
        raise DatasetError(
            path, "must be a list of cases", found=str(error), kind="list"
        ) from error
    cases = found.get("cases") if isinstance(found, dict) else found
    if not isinstance(cases, list) or not all(isinstance(case, str) for case in cases):
        raise DatasetError(
            path,
            "must be a list of cases",
            found="no list of names under 'cases'",
            remedy="write one with flare-fusion select, or one id a line",
            kind="list",
        )
    if not cases:
        raise DatasetError(path, "lists no case", kind="empty")
    twice = sorted({case for case in cases if cases.count(case) > 1})
    if twice:
        raise DatasetError(path, f"lists case {twice[0]!r} more than once", kind="list")
    return tuple(cases)


def write_case_list(
    path: str | os.PathLike[str], cases: Sequence[str], *, about: Mapping[str, Any] | None = None
) -> None:
    """Write a list of cases, whole or not at all.

    Parameters
    ----------
    path : path
        One id a line if it ends in ``.txt``, else JSON. Its folder must exist.
    cases : sequence of str
    about : mapping, optional
        How the list came to be; for JSON only.
    """
    if os.fspath(path).lower().endswith(".txt"):
        write_text(path, "".join(f"{case}\n" for case in cases))
    else:
        write_json(path, {**(about or {}), "cases": list(cases)})


def _lines(text: str) -> list[str]:
    stripped = (line.strip() for line in text.splitlines())
    return [line for line in stripped if line and not line.startswith("#")]
