"""A weights file is what its model says, and its index of tensors is honest."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_infer.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["read_members", "verify_weights"]

_MAX_HEADER_BYTES = 100_000_000
_DTYPE_BYTES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1}


def verify_weights(path: Path, sha256: str) -> None:
    """Refuse a weights file that is not the expected one, or whose tensor index is crafted.

    Parameters
    ----------
    path : Path
        A safetensors file.
    sha256 : str
        What its bytes must hash to.

    Raises
    ------
    ModelError
        If the file cannot be read, its index is too long, overlaps, leaves holes or outruns the
        file, or the hash differs.

    Notes
    -----
    The index is checked by the format's own rules: a length of 8 bytes, a JSON object, tensors end
    to end up to the end of the file. Nothing is loaded. Cost: one pass over the file.
    """
    try:
        with open(path, "rb") as stream:
            _check_index(path, stream.read(8), stream)
            stream.seek(0)
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise ModelError(path, f"cannot be read: {error.strerror}") from error
    if found != sha256:
        raise ModelError(
            path,
            f"SHA-256 must be {sha256[:16]}... as model.json says",
            found=f"{found[:16]}...",
            remedy="copy the whole model folder again",
            kind="checksum",
        )


def read_members(path: Path, members: int) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield the tensors of each member of an ensemble by name, without torch.

    Parameters
    ----------
    path : Path
        A safetensors file that `verify_weights` has seen, with tensors ``member{i}/{name}``.
    members : int

    Raises
    ------
    ModelError
        If it cannot be read, or holds bfloat16, which NumPy does not have.

    Notes
    -----
    One member is held at a time; numbers are float32, whatever they were stored as.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            names = list(file.keys())
            for number in range(members):
                prefix = f"member{number}/"
                mine = [name for name in names if name.startswith(prefix)]
                yield {name.removeprefix(prefix): _single(file.get_tensor(name)) for name in mine}
    except (OSError, SafetensorError, TypeError) as error:
        raise ModelError(path, f"cannot be loaded: {error}") from error


def _single(tensor: NDArray[Any]) -> NDArray[Any]:
    return tensor.astype("float32", copy=False) if tensor.dtype.kind == "f" else tensor


def _check_index(path: Path, start: bytes, stream: Any) -> None:
    """Refuse a tensor index that is too long, overlaps, leaves holes or outruns the file."""
    size = os.fstat(stream.fileno()).st_size
    length = struct.unpack("<Q", start)[0] if len(start) == 8 else size
    if length > min(_MAX_HEADER_BYTES, size - 8):
        limit = f"{min(_MAX_HEADER_BYTES, max(size - 8, 0))} bytes"
        raise ModelError(path, f"index of tensors must fit {limit}", found=f"{length} bytes")
    try:
        index = json.loads(stream.read(length))
        spans = []
        for name, entry in index.items():
            if name == "__metadata__":
                continue
            first, last = entry["data_offsets"]
            count = _DTYPE_BYTES[entry["dtype"]]
            for side in entry["shape"]:
                count *= int(side)
            if last - first != count:
                raise ModelError(path, f"tensor {name} must take {count} bytes", found=str(last))
            spans.append((first, last))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        if isinstance(error, ModelError):
            raise
        raise ModelError(path, f"index of tensors is broken: {error!r}") from error
    position = 0
    for first, last in sorted(spans):
        if first != position:
            raise ModelError(path, "tensors must lie end to end, without overlap or hole")
        position = last
    if position != size - 8 - length:
        raise ModelError(
            path, f"tensors must end with the file at byte {size - 8 - length}", found=str(position)
        )
