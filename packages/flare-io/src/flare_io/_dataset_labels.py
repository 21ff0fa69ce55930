"""The classes that a ``dataset.json`` names, of nnU-Net v1 or v2: ids, regions, an ignore label."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flare_io._dataset_layout import Layout
from flare_io.errors import DatasetError, LabelError
from flare_io.labels import LabelTable, label_table

__all__ = ["DatasetLabels", "read_labels"]


@dataclass(frozen=True)
class DatasetLabels:
    """Classes, regions and the ignore label."""

    table: LabelTable
    regions: Mapping[str, tuple[int, ...]]
    ignore: int | None


def read_labels(layout: Layout) -> DatasetLabels:
    """Return the classes of a dataset, FLARE 2023's without ``dataset.json``.

    Raises
    ------
    DatasetError
        If ``labels`` is missing or is not a mapping between names and ids.
    """
    if layout.manifest is None:
        return DatasetLabels(label_table("flare23"), {}, None)
    source = layout.root / "dataset.json"
    stated = layout.manifest.get("labels")
    if not isinstance(stated, Mapping) or not stated:
        raise DatasetError(
            source,
            "labels must map names to ids",
            found=repr(stated)[:60],
            remedy='for example {"background": 0, "liver": 1}',
            kind="labels",
        )
    try:
        groups = {name: _ids(value) for name, value in _by_name(stated).items()}
        ignore = groups.pop("ignore", (None,))[0]
        singles = {ids[0]: name for name, ids in groups.items() if len(ids) == 1}
        everything = sorted({k for ids in groups.values() for k in ids} - {0})
        # An id that occurs in regions only has no name of its own.
        names = {singles.get(k, f"label {k}"): k for k in everything}
        table = LabelTable.from_names(str(layout.manifest.get("name", layout.root.name)), names)
    except (TypeError, ValueError, LabelError) as error:
        raise DatasetError(
            source, "labels must map names to ids", found=str(error), kind="labels"
        ) from error
    has_regions = any(len(ids) > 1 for ids in groups.values())
    regions = {name: ids for name, ids in groups.items() if ids != (0,)} if has_regions else {}
    return DatasetLabels(table, regions, ignore)


def _by_name(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Names to ids; nnU-Net v1 wrote ids as keys and names as values."""
    if all(str(key).isdigit() and isinstance(value, str) for key, value in stated.items()):
        return {str(value): int(key) for key, value in stated.items()}
    return dict(stated)


def _ids(value: Any) -> tuple[int, ...]:
    values = value if isinstance(value, list | tuple) else [value]
    ids = tuple(int(k) for k in values)
    if not ids or any(k < 0 or int(k) != float(k) for k in values):
        raise ValueError(f"ids must be whole numbers >= 0, got {value!r}")
    return ids
