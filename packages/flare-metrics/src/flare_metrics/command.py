"""How the command ends: one line on stderr and an exit code that scripts can use."""

from __future__ import annotations

import argparse
import errno
import json
import os
import sys
import traceback
from collections.abc import Callable
from enum import IntEnum
from typing import Any

__all__ = ["ExitCode", "error_record", "exit_code_of", "run_command"]


class ExitCode(IntEnum):
    """Exit codes, the same in every flare command."""

    DONE = 0
    BUG = 1
    USAGE = 2
    REFUSED = 3
    SOME_FAILED = 4
    RESOURCES = 5
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

    Examples
    --------
    >>> exit_code_of(ValueError("jobs must be > 0")), exit_code_of(MemoryError())
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
    if isinstance(error, ValueError | TypeError | ImportError):
        return ExitCode.USAGE
    return ExitCode.BUG


def error_record(error: BaseException) -> dict[str, Any]:
    """Return an exception as a JSON-ready dict with a short ``kind`` word."""
    record = getattr(error, "record", None)
    if callable(record):
        return dict(record())
    kind = exit_code_of(error).name.lower()
    if isinstance(error, OSError) and error.filename and error.strerror:
        return {"kind": kind, "source": str(error.filename), "rule": error.strerror}
    return {
        "kind": kind,
        "source": "",
        "rule": " ".join(str(error).split()) or type(error).__name__,
    }


def run_command(
    program: str, command: Callable[[argparse.Namespace], int], arguments: argparse.Namespace
) -> int:
    """Run one subcommand and turn whatever it raises into one line and an exit code.

    Parameters
    ----------
    program : str
        Name in front of the error line.
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
        code = int(command(arguments))
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader of our output went away, as in `| head`; Python must not complain again at
        # its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return int(ExitCode.DONE)
    except (Exception, KeyboardInterrupt) as error:
        code = exit_code_of(error)
        if getattr(arguments, "debug", False):
            traceback.print_exc()
        message = " ".join(str(error).split()) or type(error).__name__
        if isinstance(error, KeyboardInterrupt) and not str(error):
            message = "interrupted"
        if isinstance(error, OSError) and error.filename and error.strerror:
            message = f"{error.filename}: {error.strerror}"
        if code is ExitCode.BUG:
            message = (
                f"bug: {type(error).__name__}: {message}; "
                "please report it with the output of the same command under --debug"
            )
        if getattr(arguments, "json", False):
            print(json.dumps({"error": error_record(error)}))
        print(f"{program}: {message}", file=sys.stderr)
        return int(code)
