"""A final file name always holds a complete file.

Content goes to a temporary file in the same folder, is flushed to the disk, and takes its name
in one step. A run that is killed or meets a full disk leaves the old file or none.
"""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["refuse_unwritable", "write_json", "write_text"]


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a text file as UTF-8, whole or not at all; what is no text as escapes.

    Parameters
    ----------
    path : path
        Its folder must exist; an existing file is replaced.
    text : str

    Raises
    ------
    OSError
        If the disk is full or the folder forbids it; no temporary file is left.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        _io("create")
        with temporary.open("xb") as file:
            _io("write")
            # A file name that is no text must not cost the table of all the others.
            file.write(text.encode(errors="backslashreplace"))
            _io("flush")
            file.flush()
            _io("fsync")
            os.fsync(file.fileno())
        _io("replace")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def write_json(path: str | os.PathLike[str], record: Any) -> None:
    """Write a value as indented JSON, NaN refused, whole or not at all."""
    write_text(path, json.dumps(record, indent=2, allow_nan=False) + "\n")


def refuse_unwritable(folder: str | os.PathLike[str]) -> None:
    """Make a folder if need be, and raise if no file can be made in it.

    Parameters
    ----------
    folder : path

    Raises
    ------
    OSError
        If the folder cannot be made or written to.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    probe = folder / f".{secrets.token_hex(4)}.part"
    try:
        probe.touch(exist_ok=False)
    finally:
        probe.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    _io("fsync folder")
    # Windows opens no folders; there the rename is all there is.
    if os.name == "posix":
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _no_failure(step: str) -> None:
    """Let every step pass; tests put a failure here."""


_io: Callable[[str], None] = _no_failure
