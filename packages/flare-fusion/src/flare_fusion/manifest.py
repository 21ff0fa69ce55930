"""The fused labels as a dataset folder: links to the images, ``dataset.json``, ``report.json``."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flare_fusion.case_fusion import ENDINGS, PROVENANCE
from flare_fusion.results import DatasetFusion
from flare_fusion.rules import Origin
from flare_io.atomic import replacing, write_json
from flare_io.dataset import Case, Dataset, write_dataset_json
from flare_io.errors import DatasetError

__all__ = ["link_images", "remove_summary", "volume_ending", "write_summary"]

_IMAGES = "imagesTr"
_SUMMARY = ("dataset.json", "report.json", "report.html")


def volume_ending(dataset: Dataset) -> str:
    """Return the ending of a dataset's images, which its fused labels take too.

    Raises
    ------
    DatasetError
        If the training images have different endings, which ``dataset.json`` cannot say, or one
        that stands for several files.
    """
    names = [path.name for case in dataset.train for path in case.image]
    found = {next((e for e in ENDINGS if name.lower().endswith(e)), "other") for name in names}
    if len(found) > 1 or "other" in found:
        raise DatasetError(
            dataset.root,
            f"training images must share one of the endings {', '.join(ENDINGS)}",
            found=", ".join(sorted(found)),
            remedy="convert them with flare-io",
            kind="ending",
        )
    return found.pop() if found else ENDINGS[0]


def remove_summary(folder: Path) -> None:
    """Remove what an earlier run said about the folder, before this one changes it."""
    for name in _SUMMARY:
        (folder / name).unlink(missing_ok=True)


def link_images(dataset: Dataset, result: DatasetFusion) -> None:
    """Put a link to each fused case's images into ``imagesTr``; remove other links there.

    Where the disk knows no symbolic links it is a hard link, else a copy.
    """
    folder = result.folder / _IMAGES
    folder.mkdir(exist_ok=True)
    wanted: dict[str, Path] = {}
    for row in result.fused:
        case = _train_case(dataset, row.case)
        for channel, path in enumerate(case.image):
            ending = next(e for e in ENDINGS if path.name.lower().endswith(e))
            wanted[f"{case.id}_{channel:04d}{ending}"] = path.resolve()
    for path in folder.iterdir():
        if path.name not in wanted and path.is_symlink():
            path.unlink()
    for name, target in wanted.items():
        _link(folder / name, target)


def write_summary(dataset: Dataset, result: DatasetFusion, *, ending: str) -> None:
    """Write ``dataset.json`` for training and ``report.json`` for everybody else."""
    write_json(result.folder / "report.json", _report(result))
    rows = {row.case: _row(dataset, row.case, result) for row in result.fused}
    if not rows:
        return
    codes = {str(origin.value): origin.name.lower() for origin in Origin}
    with_origins = any(row.provenance for row in result.fused)
    write_dataset_json(
        result.folder,
        name=f"{dataset.name}, labels fused",
        table=dataset.table,
        cases=rows,
        channels=dataset.channels,
        file_ending=ending,
        flare={
            "fusion": result.settings,
            **({"provenance_folder": PROVENANCE, "origins": codes} if with_origins else {}),
        },
    )


def _row(dataset: Dataset, case: str, result: DatasetFusion) -> dict[str, Any]:
    fused = next(row for row in result.fused if row.case == case)
    stated = dataset.manifest.get("flare", {}).get("cases", {}).get(case, {})
    return {
        **stated,
        "split": "train",
        "source": _train_case(dataset, case).source,
        "K": fused.annotated,
        "K_partial": fused.partial_annotated,
        "fusion_rule": fused.rule,
    }


def _report(result: DatasetFusion) -> dict[str, Any]:
    statuses = [case.status for case in result.cases]
    return {
        **result.settings,
        "names": result.names,
        "cases": {status: statuses.count(status) for status in ("done", "kept", "failed")},
        "results": [asdict(case) for case in result.cases],
    }


def _train_case(dataset: Dataset, case: str) -> Case:
    return next(each for each in dataset.train if each.id == case)


def _link(link: Path, target: Path) -> None:
    if link.exists() and link.samefile(target):
        return
    # Hidden, so that no reader takes it for a volume.
    temporary = link.with_name(f".{os.getpid()}.{link.name}")
    # Relative, so that both folders can move together.
    relative = os.path.relpath(target, link.parent.resolve())
    try:
        os.symlink(relative, temporary)
    except OSError:
        # Windows asks for a privilege, some shares know no links at all.
        with suppress(OSError):
            os.link(target, temporary)
        if not temporary.exists():
            with replacing(link) as copy:
                shutil.copyfile(target, copy)
            return
    os.replace(temporary, link)
