"""Models on top of a model: each paints some of its labels over what lies below."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from flare_infer._json import read_object
from flare_infer.model import (
    FORMAT_VERSION,
    MODEL_FILE,
    OVERLAYS_FOLDER,
    WEIGHTS_FILE,
    Model,
    Overlay,
    read_model,
)

__all__ = ["add_overlay"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def add_overlay(
    folder: os.PathLike[str] | str,
    name: str,
    source_folder: os.PathLike[str] | str,
    labels: Iterable[int],
) -> Model:
    """Copy a model into another one's folder, to be run with it and painted over its labels.

    Parameters
    ----------
    folder : path
        The model below.
    name : str
        Of the copy, under ``overlays``: letters, digits, ``.``, ``_`` and ``-``. An overlay of that
        name is replaced; a new one comes on top.
    source_folder : path
        The model to copy; it stays as it is and is not needed any more.
    labels : iterable of int
        Which of its labels are painted. They may be new to the model below.

    Returns
    -------
    Model
        The whole, read back.

    Raises
    ------
    ModelError
        If a folder is not a whole model.
    LabelError
        If a label means something else in the model below.
    ValueError
        If the name, a label or the number of input channels does not fit, or the source has
        overlays itself.

    Notes
    -----
    Cost: a copy of the source's weights. Each layer runs on its own grid, with its own windows,
    head and components.
    """
    root = Path(folder)
    if not _NAME.fullmatch(name):
        raise ValueError(f"name must be letters, digits, '.', '_', '-', got {name!r}")
    below, source = read_model(root), read_model(source_folder)
    channels = below.spec.net.in_channels
    if source.spec.net.in_channels != channels:
        raise ValueError(
            f"an overlay must take the {channels} channels of the model below, "
            f"{source.folder} takes {source.spec.net.in_channels}"
        )
    description = (source.folder / MODEL_FILE).read_bytes()
    added = Overlay(
        name=name,
        labels=tuple(int(label) for label in labels),
        sha256=hashlib.sha256(description).hexdigest(),
        model=source,
    )
    kept = tuple(each for each in below.overlays if each.name != name)
    # Checked as a whole before the first byte is written.
    combined = replace(below, overlays=(*kept, added))
    _copy(source, description, root / OVERLAYS_FOLDER / name)
    _register(root, combined)
    return read_model(root)


def _copy(source: Model, description: bytes, target: Path) -> None:
    from flare_io.atomic import write_file

    target.mkdir(parents=True, exist_ok=True)

    def copy_weights(stream: Any) -> None:
        with open(source.weights_file, "rb") as weights:
            shutil.copyfileobj(weights, stream)

    def copy_description(stream: Any) -> None:
        stream.write(description)

    # A kill on the way leaves files that no description below knows, or a pair of files whose
    # checksums differ.
    write_file(target / WEIGHTS_FILE, copy_weights)
    write_file(target / MODEL_FILE, copy_description)


def _register(root: Path, combined: Model) -> None:
    from flare_io.atomic import write_json

    fields = read_object(root / MODEL_FILE, remedy="")
    entries = [overlay.to_dict() for overlay in combined.overlays]
    # An older reader would leave the overlays out: the version makes it refuse.
    fields.update(flare_model=FORMAT_VERSION, overlays=entries)
    write_json(root / MODEL_FILE, fields)
