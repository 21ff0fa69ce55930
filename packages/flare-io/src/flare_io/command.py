"""How every flare command ends: one line on stderr and an exit code that scripts can use."""

from __future__ import annotations

import argparse
import errno
import json
import sys
import traceback
from collections.abc import Callable, Mapping
from enum import IntEnum
from typing import Any

__all__ = ["ExitCode", "describe_record", "error_record", "exit_code_of", "run_command"]


class ExitCode(IntEnum):
    """Exit codes, the same in every package."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REFUSED = 3
    SOME_FAILED = 4
    RESOURCES = 5
    MODEL_REFUSED = 6
    STOPPED = 75
    INTERRUPTED = 130


_RESOURCE_ERRNOS = {
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOMEM,
}


def exit_code_of(error: BaseException) -> ExitCode:
    """Return the exit code that an exception stands for.

    A class may name its own as ``exit_code``. Other ``ValueError`` and ``TypeError`` are wrong
    arguments; an ``OSError`` of disk, memory or permission is a lack of resources; all else is a
    bug.

    Examples
    --------
    >>> exit_code_of(ValueError("step must be > 0")), exit_code_of(MemoryError())
    (<ExitCode.USAGE: 2>, <ExitCode.RESOURCES: 5>)
    """
    own = getattr(error, "exit_code", None)
    if isinstance(own, int):
        return ExitCode(own)
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, MemoryError):
        return ExitCode.RESOURCES
    if isinstance(error, OSError):
        return ExitCode.RESOURCES if error.errno in _RESOURCE_ERRNOS else ExitCode.REFUSED
    if isinstance(error, ValueError | TypeError):
        return ExitCode.USAGE
    return ExitCode.BUG


def error_record(error: BaseException) -> dict[str, Any]:
    """Return an exception as a JSON-ready dict with a short ``kind`` word."""
    record = getattr(error, "record", None)
    if callable(record):
        return dict(record())
    kind = "bug" if exit_code_of(error) is ExitCode.BUG else exit_code_of(error).name.lower()
    if isinstance(error, OSError) and error.filename and error.strerror:
        return {"kind": kind, "source": str(error.filename), "rule": error.strerror}
    return {"kind": kind, "source": "", "rule": " ".join(str(error).split())}


def describe_record(record: Mapping[str, Any]) -> str:
    """Return a record as one line: ``SOURCE: rule, found ...; way out``.

    Examples
    --------
    >>> describe_record({"kind": "data", "source": "a.nii", "rule": "is empty", "remedy": "copy"})
    'a.nii: is empty; copy'
    """
    text = f"{record['source']}: " if record.get("source") else ""
    text += str(record.get("rule", ""))
    text += f", found {record['found']}" if record.get("found") else ""
    text += f"; {record['remedy']}" if record.get("remedy") else ""
    return " ".join(text.split())


def run_command(
    program: str, command: Callable[[argparse.Namespace], int], arguments: argparse.Namespace
) -> int:
    """Run one subcommand and turn whatever it raises into one line and an exit code.

    Parameters
    ----------
    program : str
        Name in front of the error line, such as ``"flare-io"``.
    command : callable
        Takes the parsed arguments and returns an exit code.
    arguments : argparse.Namespace
        ``debug`` shows the traceback, ``json`` prints the error as a record on stdout as well.

    Returns
    -------
    int
        The exit code.
    """
    try:
        return int(command(arguments))
    except BrokenPipeError:
        # The reader of our output went away, as in `| head`; the work itself is unharmed.
        sys.stderr.close()
        return int(ExitCode.DONE)
    except (Exception, KeyboardInterrupt) as error:
        code = exit_code_of(error)
        if getattr(arguments, "debug", False):
            traceback.print_exc()
        message = describe_record(error_record(error)) or type(error).__name__
        if code is ExitCode.BUG:
            message = (
                f"bug: {type(error).__name__}: {message}; "
                "please report it with the output of the same command under --debug"
            )
        if getattr(arguments, "json", False):
            print(json.dumps({"error": error_record(error)}))
        print(f"{program}: {message}", file=sys.stderr)
        return int(code)
