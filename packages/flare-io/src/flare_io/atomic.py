"""Files that are old or new, never torn.

Everything that flare writes under a final name goes through here: a temporary file in the same
folder, written, flushed to the disk, verified, renamed, and the folder flushed. A kill or a full
disk at any point leaves the old file (or none) and at most one temporary, which the next write of
the same name removes.
"""

from __future__ import annotations

import errno
import json
import os
import platform
import threading
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

__all__ = ["replacing", "write_file", "write_json", "write_text"]


_HOST = f"{zlib.crc32(platform.node().encode()):08x}"


def _no_fault(operation: str) -> None:
    """Stand where the tests make the operations of one write fail, one after the other."""


# Called before each operation: create, write (each time), flush, verify, rename, flush-folder.
failpoint: Callable[[str], None] = _no_fault


@contextmanager
def replacing(
    path: str | os.PathLike[str], *, verify: Callable[[Path], None] | None = None
) -> Iterator[Path]:
    """Give a temporary path to write to; when the block ends well, it becomes ``path``.

    Parameters
    ----------
    path : path
        The final name. Its folder must exist.
    verify : callable, optional
        Called with the temporary path after the flush; whatever it raises stops the replacement.

    Yields
    ------
    Path
        In the same folder and with the same suffixes, for writers that choose the format by name.

    Raises
    ------
    OSError
        Whatever the disk says; the temporary is removed and ``path`` is as it was.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "note.txt"
    >>> with replacing(target) as temporary:
    ...     _ = temporary.write_text("whole")
    >>> target.read_text(), len(list(target.parent.iterdir()))
    ('whole', 1)
    """
    final = Path(path)
    # Named by its owner, so that two writers never share one and the next writer knows a stale one.
    owner = f"{os.getpid()}-{threading.get_ident()}-{_HOST}"
    temporary = final.with_name(f".{owner}.partial.{final.name}")
    if not final.parent.is_dir():
        message = "No such file or directory: make its folder first"
        raise FileNotFoundError(errno.ENOENT, message, str(final))
    _remove_stale(final)
    try:
        failpoint("create")
        yield temporary
        _flush(temporary)
        if verify is not None:
            failpoint("verify")
            verify(temporary)
        failpoint("rename")
        os.replace(temporary, final)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    failpoint("flush-folder")
    _flush_folder(final.parent)


def write_file(
    path: str | os.PathLike[str],
    write: Callable[[BinaryIO], None],
    *,
    verify: Callable[[Path], None] | None = None,
) -> None:
    """Write a file by a function that takes the open stream; all or nothing.

    Parameters
    ----------
    path : path
        The final name. Its folder must exist.
    write : callable
        Called with a binary stream.
    verify : callable, optional
        As for :func:`replacing`.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.bin"
    >>> write_file(target, lambda stream: [None, stream.write(b"abc")][0])
    >>> target.read_bytes()
    b'abc'
    """
    with replacing(path, verify=verify) as temporary, open(temporary, "wb", buffering=0) as raw:
        write(cast(BinaryIO, _Watched(raw)))


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write a UTF-8 text file, all or nothing."""
    data = text.encode()

    def write(stream: BinaryIO) -> None:
        stream.write(data)

    write_file(path, write)


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON, indented, keys in the given order, all or nothing.

    Raises
    ------
    ValueError
        For NaN and infinity, which JSON does not have.
    """
    write_text(path, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


class _Watched(BufferedIOBase):
    """A stream whose every write passes the failpoint and is complete when it returns."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        return int(self._raw.seek(offset, whence))

    def tell(self) -> int:
        return int(self._raw.tell())

    def write(self, data: Any, /) -> int:
        failpoint("write")
        view = memoryview(data).cast("B")
        written = 0
        # An unbuffered stream may take less than it is given, for example near a quota.
        while written < len(view):
            written += int(self._raw.write(view[written:]))
        return written


def _flush(path: Path) -> None:
    failpoint("flush")
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _flush_folder(folder: Path) -> None:
    if os.name == "nt":  # Windows cannot open a folder for this.
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_stale(final: Path) -> None:
    """Remove temporaries of the same name whose process on this machine is gone."""
    for left in final.parent.glob(f".*.partial.{_escaped(final.name)}"):
        process, _, host = left.name.split(".")[1].partition("-")
        # Another machine's processes cannot be asked.
        if not process.isdigit() or not host.endswith(f"-{_HOST}"):
            continue
        if int(process) != os.getpid() and not _is_alive(int(process)):
            left.unlink(missing_ok=True)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _is_alive(process: int) -> bool:
    if os.name == "nt":  # There, signal 0 would end the process instead of asking for it.
        return True
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
