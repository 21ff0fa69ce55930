"""The data of a recipe: a dataset folder from outside, or phantoms drawn here."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flare_io.atomic import write_json
from flare_io.dataset import Dataset, read_dataset
from flare_train.stages.work import StageWork

__all__ = ["dataset_key", "run"]

logger = logging.getLogger(__name__)


def run(work: StageWork) -> dict[str, Any]:
    """Return where the dataset lies and what it holds; draw it first if it is a phantom."""
    settings = work.settings
    if work.stage.kind == "phantom":
        from flare_io.phantom import write_phantom_dataset

        write_phantom_dataset(
            work.folder / "dataset",
            preset=settings.preset,
            cases=settings.cases,
            test_cases=settings.test_cases,
            seed=settings.seed,
            jobs=work.jobs,
        )
        # Relative, so that the folder of the run can be moved.
        root = Path("dataset")
    else:
        root = Path(settings.path).resolve()
    dataset = read_dataset(work.folder / root, k_source=settings.k_source)
    for note in dataset.notes:
        logger.warning("%s", note)
    return {
        "root": str(root),
        "k_source": settings.k_source,
        "name": dataset.name,
        "classes": list(dataset.table.ids),
        "train_cases": len(dataset.train),
        "labeled": sum(case.label is not None for case in dataset.train),
        "test_cases": len(dataset.test),
    }


def dataset_key(settings: Mapping[str, Any], folder: Path) -> str:
    """Return the key of a dataset folder, made from the SHA-256 of all its files.

    Parameters
    ----------
    settings : mapping
        Of a stage of kind ``dataset``.
    folder : Path
        Keeps ``files.json``: a file is read again only when its size or time has changed.
    """
    dataset = read_dataset(settings["path"])
    memory = folder / "files.json"
    try:
        known = json.loads(memory.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    digests: dict[str, list[Any]] = {}
    for path in sorted(_files(dataset)):
        name = (
            str(path.relative_to(dataset.root)) if path.is_relative_to(dataset.root) else str(path)
        )
        status = path.stat()
        mark = [status.st_size, status.st_mtime_ns]
        before = known.get(name)
        if before is not None and before[:2] == mark:
            digests[name] = before
            continue
        with open(path, "rb") as file:
            digests[name] = [*mark, hashlib.file_digest(file, "sha256").hexdigest()]
    folder.mkdir(parents=True, exist_ok=True)
    write_json(memory, digests)
    about = [settings.get("k_source", "manifest"), {name: row[2] for name, row in digests.items()}]
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()


def _files(dataset: Dataset) -> set[Path]:
    manifest = dataset.root / "dataset.json"
    files = {manifest} if manifest.is_file() else set()
    for case in dataset.cases:
        files.update(case.image)
        files.update(case.pseudo_labels.values())
        files.update(path for path in (case.label, case.reference) if path is not None)
    return files
