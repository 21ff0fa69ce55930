"""MetaImage and NRRD: the text header, and the voxels' bytes held against it.

SimpleITK reads these formats; whether their data is all there is found out here, since it does not
always tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from isal import igzip_lib

from flare_io._stream import DAMAGED, MAX_TAIL, open_stream, reading
from flare_io.errors import UnreadableVolumeError
from flare_io.policy import ReadPolicy

__all__ = ["Container", "container_format", "read_container", "verify_data"]

_MOST_HEADER_BYTES = 1 << 16
_META_BYTES = {
    "MET_CHAR": 1,
    "MET_UCHAR": 1,
    "MET_SHORT": 2,
    "MET_USHORT": 2,
    "MET_INT": 4,
    "MET_UINT": 4,
    "MET_LONG": 8,
    "MET_ULONG": 8,
    "MET_LONG_LONG": 8,
    "MET_ULONG_LONG": 8,
    "MET_FLOAT": 4,
    "MET_DOUBLE": 8,
}
_NRRD_BYTES = {
    1: "signed char,int8,int8_t,uchar,unsigned char,uint8,uint8_t",
    2: "short,short int,signed short,signed short int,int16,int16_t,ushort,unsigned short,"
    "unsigned short int,uint16,uint16_t",
    4: "int,signed int,int32,int32_t,uint,unsigned int,uint32,uint32_t,float",
    8: "longlong,long long,long long int,signed long long,signed long long int,int64,int64_t,"
    "ulonglong,unsigned long long,unsigned long long int,uint64,uint64_t,double",
}
_NRRD_SIZES = {name: size for size, names in _NRRD_BYTES.items() for name in names.split(",")}
Encoding = Literal["raw", "gzip", "zlib"]


@dataclass(frozen=True)
class Container:
    """What the text header of a MetaImage or NRRD file promises.

    Parameters
    ----------
    path, data_path : Path
        Header's and voxels' file, mostly the same.
    format : str
        ``"NRRD"`` or ``"MetaImage"``.
    sizes : tuple of int
        Along the file's axes, x first.
    voxel_bytes : int
    encoding : {"raw", "gzip", "zlib"}
    data_offset : int
        Bytes in front of the voxels in ``data_path``; -1 to count from its end.
    oriented : bool
        Whether the header says where the axes run.
    spaced : bool
        Whether it says how far apart the voxels are.
    """

    path: Path
    data_path: Path
    format: str
    sizes: tuple[int, ...]
    voxel_bytes: int
    encoding: Encoding
    data_offset: int
    oriented: bool
    spaced: bool

    @property
    def data_bytes(self) -> int:
        """Bytes of all voxels, decompressed."""
        return math.prod(self.sizes) * self.voxel_bytes


def container_format(start: bytes) -> Literal["NRRD", "MetaImage"] | None:
    """Return the format that a file's first bytes show, if it is one of the two."""
    if start.startswith(b"NRRD000"):
        return "NRRD"
    words = start.split(b"=", 1)[0].strip()
    return "MetaImage" if words in (b"ObjectType", b"NDims", b"Comment") else None


def read_container(path: Path, *, policy: ReadPolicy) -> Container:
    """Read and check the header.

    Raises
    ------
    UnreadableVolumeError
        If it is broken, promises too much, or stores voxels in a way that cannot be verified.
    """
    with reading(path):
        with open(path, "rb") as file:
            start = file.read(_MOST_HEADER_BYTES)
        container = _nrrd(path, start) if start.startswith(b"NRRD") else _meta(path, start)
    if len(container.sizes) < 3 or min(container.sizes) < 1:
        raise UnreadableVolumeError(
            path,
            "a volume has three axes with voxels",
            found=f"{container.sizes} (x, y, z)",
            kind="dimensions",
        )
    if math.prod(container.sizes) > policy.max_voxels:
        raise UnreadableVolumeError(
            path,
            f"may hold at most {policy.max_voxels} voxels",
            found=" x ".join(map(str, container.sizes)),
            remedy="raise --max-voxels if that is meant",
            kind="too-large",
        )
    return container


def verify_data(container: Container, *, policy: ReadPolicy) -> tuple[str, ...]:
    """Follow the voxels' bytes to the end and return notes.

    Raises
    ------
    UnreadableVolumeError
        If bytes are missing or a checksum is wrong.
    """
    limit = 0 if policy.strict else MAX_TAIL
    path, expected = container.data_path, container.data_bytes
    if container.encoding == "zlib":
        extra = _follow_zlib(container, limit)
    else:
        offset = container.data_offset
        if offset < 0:
            with reading(path):
                offset = max(0, path.stat().st_size - expected)
        with open_stream(path, offset=offset, gzip=container.encoding == "gzip") as stream:
            if not stream.compressed:
                _require(path, expected, stream.most_left())
                extra = stream.most_left() - expected
            else:
                buffer = memoryview(bytearray(min(expected, 1 << 20)))
                left = expected
                while left:
                    stream.read_into(buffer[: min(left, len(buffer))])
                    left -= min(left, len(buffer))
                extra = stream.finish(limit=limit)
    if not extra:
        return ()
    if policy.strict:
        raise UnreadableVolumeError(
            path,
            "ends with its voxels",
            found=f"{extra} bytes behind them",
            remedy="read without --strict to pass over them",
            kind="too-long",
        )
    return (f"{extra} bytes behind the voxels passed over",)


def _require(path: Path, expected: int, found: int) -> None:
    if found < expected:
        raise UnreadableVolumeError(
            path,
            f"ends early: its voxels need {expected} bytes",
            found=str(max(found, 0)),
            remedy="copy or export it again",
            kind="truncated",
        )


def _follow_zlib(container: Container, limit: int) -> int:
    """Decompress a zlib stream piece by piece; its Adler checksum is compared at the end."""
    path, expected, done = container.data_path, container.data_bytes, 0
    member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_ZLIB)
    with reading(path), open(path, "rb") as file:
        file.seek(container.data_offset)
        while not member.eof:
            piece = file.read(1 << 18) if member.needs_input else b""
            if member.needs_input and not piece:
                _require(path, expected, min(done, expected - 1))
            try:
                done += len(member.decompress(piece, 1 << 20))
            except DAMAGED as error:
                raise UnreadableVolumeError(
                    path,
                    "compressed data is damaged",
                    found=f"{error} behind {done} decompressed bytes",
                    remedy="copy or export it again",
                    kind="corrupt",
                ) from error
            if done > expected + limit:
                raise UnreadableVolumeError(
                    path,
                    "holds more data than its header promises",
                    found=f"more than {expected} decompressed bytes",
                    remedy="copy or export it again",
                    kind="too-long",
                )
        extra = len(member.unused_data) + len(file.read(limit + 1))
    _require(path, expected, done)
    return done - expected + extra


def _meta(path: Path, start: bytes) -> Container:
    fields: dict[str, str] = {}
    offset = 0
    for line in start.splitlines(keepends=True):
        offset += len(line)
        key, separator, value = line.decode("latin-1").partition("=")
        if not separator or not line.endswith(b"\n"):
            break
        fields[key.strip()] = value.strip()
        # The standard has it last; what follows is data.
        if key.strip() == "ElementDataFile":
            break
    target = fields.get("ElementDataFile", "")
    if fields.get("ElementType", "") not in _META_BYTES or not target:
        raise _broken(path, "ElementType and ElementDataFile", fields)
    compressed = fields.get("CompressedData", "False").lower() == "true"
    channels = int(_numbers(path, fields.get("ElementNumberOfChannels", "1"))[0])
    if channels != 1:
        raise _not_one_number(path, f"{channels} channels")
    local = target.upper() == "LOCAL"
    header_size = int(_numbers(path, fields.get("HeaderSize", "0"))[0])
    return Container(
        path=path,
        data_path=path if local else _beside(path, target),
        format="MetaImage",
        sizes=_numbers(path, fields.get("DimSize", "")),
        voxel_bytes=_META_BYTES[fields["ElementType"]],
        encoding="zlib" if compressed else "raw",
        data_offset=offset if local else header_size,
        oriented=any(name in fields for name in ("TransformMatrix", "Orientation", "Rotation")),
        spaced=any(name in fields for name in ("ElementSpacing", "ElementSize")),
    )


def _nrrd(path: Path, start: bytes) -> Container:
    head, separator, _ = start.partition(b"\n\n")
    ending = 2
    if b"\r\n\r\n" in start and (not separator or start.index(b"\r\n\r\n") < len(head)):
        head, ending = start.split(b"\r\n\r\n", 1)[0], 4
    fields = {}
    for line in head.decode("latin-1").splitlines()[1:]:
        key, found, value = line.partition(":")
        if found and not line.startswith("#") and not value.startswith("="):
            fields[key.strip().lower()] = value.strip()
    kind = fields.get("type", "")
    if kind not in _NRRD_SIZES or "sizes" not in fields or "encoding" not in fields:
        raise _broken(path, "type, sizes and encoding", fields)
    encoding = {"raw": "raw", "gzip": "gzip", "gz": "gzip"}.get(fields["encoding"].lower())
    if encoding is None:
        raise UnreadableVolumeError(
            path,
            "NRRD encoding must be raw or gzip, which can be verified",
            found=fields["encoding"],
            remedy="save it again with one of these",
            kind="format",
        )
    if fields.get("line skip", "0") != "0":
        raise _broken(path, "no skipped lines", {"line skip": fields["line skip"]})
    detached = fields.get("data file", fields.get("datafile"))
    skip = int(fields.get("byte skip", "0"))
    kinds = fields.get("kinds", "").split()
    if any(word in ("vector", "list", "RGB-color", "3-color", "complex") for word in kinds):
        raise _not_one_number(path, f"kinds {' '.join(kinds)}")
    return Container(
        path=path,
        data_path=path if detached is None else _beside(path, detached),
        format="NRRD",
        sizes=_numbers(path, fields["sizes"]),
        voxel_bytes=_NRRD_SIZES[kind],
        encoding="gzip" if encoding == "gzip" else "raw",
        data_offset=skip if skip < 0 or detached is not None else len(head) + ending + skip,
        oriented="space directions" in fields
        and ("space" in fields or "space dimension" in fields),
        spaced="space directions" in fields or "spacings" in fields,
    )


def _beside(path: Path, target: str) -> Path:
    """Return the voxels' file; a header may name one in its own folder only."""
    if target.upper().startswith("LIST") or "%" in target or Path(target).name != target:
        raise UnreadableVolumeError(
            path,
            "voxels must be in one file beside the header",
            found=target[:80],
            remedy="save it as one file",
            kind="format",
        )
    return path.with_name(target)


def _numbers(path: Path, text: str) -> tuple[int, ...]:
    try:
        numbers = tuple(int(word) for word in text.split())
    except ValueError:
        numbers = ()
    if not numbers:
        raise UnreadableVolumeError(
            path, "header needs whole numbers", found=repr(text[:60]), kind="corrupt"
        )
    return numbers


def _not_one_number(path: Path, found: str) -> UnreadableVolumeError:
    return UnreadableVolumeError(
        path,
        "voxels must be real numbers",
        found=found,
        remedy="export one channel",
        kind="dtype",
    )


def _broken(path: Path, needed: str, fields: Mapping[str, str]) -> UnreadableVolumeError:
    shown = ", ".join(f"{key}: {value}" for key, value in list(fields.items())[:8])[:120]
    return UnreadableVolumeError(
        path, f"header needs {needed}", found=shown or "nothing", kind="corrupt"
    )
