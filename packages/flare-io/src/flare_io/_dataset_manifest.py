"""``dataset.json``: read, held to its form, and never trusted with a path outside its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flare_io.errors import DatasetError

__all__ = ["channel_names", "check_flare", "inside", "read_manifest"]


def read_manifest(root: Path) -> dict[str, Any] | None:
    path = root / "dataset.json"
    if not path.exists():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DatasetError(path, "must be JSON", found=str(error), kind="manifest") from error
    if not isinstance(manifest, dict):
        raise DatasetError(
            path, "must be a JSON object", found=type(manifest).__name__, kind="manifest"
        )
    return manifest


def check_flare(root: Path, manifest: Mapping[str, Any] | None) -> None:
    """Refuse a ``flare`` part whose form is wrong, so that nobody reads it as an empty one."""
    source = root / "dataset.json"
    stated = (manifest or {}).get("flare", {})
    rows = stated.get("cases", {}) if isinstance(stated, Mapping) else None
    sets = stated.get("pseudo_label_sets", {}) if isinstance(stated, Mapping) else None
    if not isinstance(rows, Mapping) or not isinstance(sets, Mapping):
        raise DatasetError(
            source,
            "flare, flare.cases and flare.pseudo_label_sets must be objects",
            kind="manifest",
        )
    for case, row in rows.items():
        stated_k = row.get("K") if isinstance(row, Mapping) else 0
        if stated_k is not None and not (
            isinstance(stated_k, list) and all(isinstance(k, int) for k in stated_k)
        ):
            raise DatasetError(
                source,
                f"flare.cases[{case!r}] must be an object, its K a list of ids or null",
                found=repr(row)[:80],
                kind="manifest",
            )


def inside(root: Path, text: str, *, source: Path) -> Path:
    """Return the path that a manifest names, refusing what points outside the folder.

    Links are not followed: a folder of links to a data store is legitimate, ``../`` in a downloaded
    ``dataset.json`` is not.
    """
    path = Path(os.path.normpath(root / text))
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):
        raise DatasetError(
            source,
            "paths must lie inside the dataset folder",
            found=text,
            remedy="move or link the file into the folder",
            kind="outside",
        )
    return path


def channel_names(manifest: Mapping[str, Any] | None) -> tuple[str, ...]:
    """Return the channels in order, from ``channel_names`` (v2) or ``modality`` (v1)."""
    table = (manifest or {}).get("channel_names", (manifest or {}).get("modality", {}))
    if not isinstance(table, Mapping) or not all(str(key).isdigit() for key in table):
        return ()
    return tuple(str(table[key]) for key in sorted(table, key=int))
