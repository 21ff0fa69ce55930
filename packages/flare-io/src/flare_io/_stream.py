"""A file's bytes in order, decompressed on the way, never more of them than were asked for.

A gzip stream is followed to its end, so that its checksum and length are compared, and never
decompressed further than the caller expects: a small file cannot fill the memory.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from isal import igzip_lib

from flare_io.errors import UnreadableVolumeError

__all__ = ["DAMAGED", "GZIP_MAGIC", "LARGEST_RATIO", "MAX_TAIL", "Stream", "open_stream", "reading"]

GZIP_MAGIC = b"\x1f\x8b"
LARGEST_RATIO = 1032
"""Bytes that one compressed byte can stand for at most, by deflate's longest match."""
MAX_TAIL = 4096
"""Bytes behind the data that are passed over with a note; more are refused."""
_COMPRESSED_PIECE = 1 << 18
_PIECE = 1 << 20
# Its type information declares an instance.
DAMAGED = cast("type[Exception]", igzip_lib.error)
_REMEDY = "copy or export it again"


class Stream(Protocol):
    """A source of bytes that is read once, forward."""

    path: Path
    compressed: bool

    def read(self, size: int) -> bytes:
        """Return the next bytes, fewer only at the end."""

    def read_into(self, target: memoryview) -> None:
        """Fill the target, or raise `UnreadableVolumeError`."""

    def finish(self, *, limit: int = MAX_TAIL) -> int:
        """Verify what is left and return how many bytes nobody asked for."""

    def most_left(self) -> int:
        """Return how many bytes the rest of the file can hold at most."""


@contextmanager
def open_stream(path: Path, *, offset: int = 0, gzip: bool | None = None) -> Iterator[Stream]:
    """Open a file, compressed or not by its first bytes, and say every failure by its name.

    Parameters
    ----------
    path : Path
        The file.
    offset : int
        Bytes of the file to pass over first.
    gzip : bool, optional
        Whether it is compressed, where the caller knows.
    """
    with reading(path), open(path, "rb", buffering=0) as file:
        file.seek(offset)
        if gzip is None:
            gzip = file.read(2) == GZIP_MAGIC
            file.seek(offset)
        yield _GzipStream(path, file) if gzip else _PlainStream(path, file)


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn an operating system's error in the block into `UnreadableVolumeError`."""
    try:
        yield
    except UnreadableVolumeError:
        raise
    except FileNotFoundError as error:
        raise UnreadableVolumeError(path, "does not exist", kind="missing") from error
    except IsADirectoryError as error:
        raise UnreadableVolumeError(path, "is a folder", kind="folder") from error
    except OSError as error:
        raise UnreadableVolumeError(
            path, f"cannot be read: {error.strerror or error}", kind="unreadable"
        ) from error


class _PlainStream:
    compressed = False

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file

    def read(self, size: int) -> bytes:
        return self._file.read(size)

    def read_into(self, target: memoryview) -> None:
        done = 0
        while done < len(target):
            count = self._file.readinto(target[done:])  # type: ignore[attr-defined]  # raw file
            if not count:
                total = self._file.tell() + len(target) - done
                raise _truncated(self.path, f"{self._file.tell()} of {total} bytes")
            done += count

    def finish(self, *, limit: int = MAX_TAIL) -> int:
        return self.most_left()

    def most_left(self) -> int:
        return os.fstat(self._file.fileno()).st_size - self._file.tell()


class _GzipStream:
    compressed = True

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self.path = path
        self._file = file
        self._size = os.fstat(file.fileno()).st_size
        self._produced = 0
        self._tail = 0
        self._member = _decompressor()
        # Input that the open member has not seen yet.
        self._ahead = b""

    def read(self, size: int) -> bytes:
        result = b""
        while len(result) < size and (piece := self._next(size - len(result))):
            result += piece
        return result

    def read_into(self, target: memoryview) -> None:
        done = 0
        while done < len(target):
            piece = self._next(min(_PIECE, len(target) - done))
            if not piece:
                expected = self._produced + len(target) - done
                raise _truncated(self.path, f"{self._produced} of {expected} decompressed bytes")
            target[done : done + len(piece)] = piece
            done += len(piece)

    def finish(self, *, limit: int = MAX_TAIL) -> int:
        extra = 0
        while piece := self._next(limit + 1):
            extra += len(piece)
            if extra > limit:
                raise UnreadableVolumeError(
                    self.path,
                    "holds more data than its header promises",
                    found=f"more than {self._produced - extra} decompressed bytes",
                    remedy=_REMEDY,
                    kind="too-long",
                )
        return extra + self._tail

    def most_left(self) -> int:
        return (self._size - self._file.tell() + len(self._ahead)) * LARGEST_RATIO + _PIECE

    def _next(self, limit: int) -> bytes:
        """Return up to ``limit`` > 0 bytes; nothing only at the end, all checksums compared."""
        while True:
            if self._member.eof and not self._open_next_member():
                return b""
            if self._member.needs_input and not self._ahead:
                self._ahead = self._file.read(_COMPRESSED_PIECE)
                if not self._ahead:
                    at = f"{self._file.tell()} compressed and {self._produced} decompressed bytes"
                    raise _truncated(self.path, at)
            try:
                piece: bytes = self._member.decompress(self._ahead, limit)
            except DAMAGED as error:
                raise UnreadableVolumeError(
                    self.path,
                    "gzip data is damaged",
                    found=f"{error} behind {self._produced} decompressed bytes",
                    remedy=_REMEDY,
                    kind="corrupt",
                ) from error
            self._ahead = b""
            if piece:
                self._produced += len(piece)
                return piece

    def _open_next_member(self) -> bool:
        rest = self._member.unused_data + self._ahead
        if len(rest) < 2:
            rest += self._file.read(_COMPRESSED_PIECE)
        if rest[:2] != GZIP_MAGIC:
            self._tail = len(rest) + self._size - self._file.tell()
            return False
        self._member, self._ahead = _decompressor(), rest
        return True


def _decompressor() -> igzip_lib.IgzipDecompressor:
    return igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)


def _truncated(path: Path, found: str) -> UnreadableVolumeError:
    return UnreadableVolumeError(path, "ends early", found=found, remedy=_REMEDY, kind="truncated")
