"""Cases shown with the labels that a model gives them: a picture and a record of each."""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flare_infer.predictor import Predictor
from flare_io.atomic import write_json
from flare_io.files import read_label_map, read_volume, write_label_map
from flare_io.labels import LabelTable
from flare_io.montage import write_montage
from flare_io.volume import Volume

__all__ = ["CaseInput", "PredictedCase", "show_cases"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class CaseInput:
    """A case to show.

    Parameters
    ----------
    id : str
    image : Path
        Volume file or DICOM folder.
    reference : Path or None
        Its true label map, if there is one.
    prediction : Path or None
        Its predicted label map; None: it is predicted now.
    """

    id: str
    image: Path
    reference: Path | None = None
    prediction: Path | None = None


@dataclass(frozen=True, kw_only=True)
class PredictedCase:
    """What became of one case.

    Parameters
    ----------
    id : str
    label_map, montage : str
        Files relative to the demo's folder; empty if the case failed.
    seconds : float
        From the file to the label map in memory, model warm; 0 if it was predicted before.
    volumes_ml : dict of str to float
        By label id, what was found.
    error : str
        Why there is no prediction; empty if there is one.
    """

    id: str
    label_map: str = ""
    montage: str = ""
    seconds: float = 0.0
    volumes_ml: dict[str, float] = field(default_factory=dict)
    error: str = ""


def show_cases(
    cases: Sequence[CaseInput], model: Path, folder: Path, *, group: str, device: str = "cpu"
) -> tuple[PredictedCase, ...]:
    """Predict and draw cases, one bad case costing one case, and keep what is done already.

    Parameters
    ----------
    cases : sequence of CaseInput
        Ids unique.
    model : path
        Model folder.
    folder : path
        New label maps go to ``predictions/<group>``, pictures to ``pictures/<group>``, one record
        per case to ``records/<group>``.
    group : str
    device : str, optional

    Returns
    -------
    tuple of PredictedCase
        In the order of `cases`.
    """
    for kind in ("pictures", "records"):
        (folder / kind / group).mkdir(parents=True, exist_ok=True)
    model_key = _digest(sorted(path for path in model.iterdir() if path.is_file()))
    results = []
    predictor: Predictor | None = None
    for number, case in enumerate(cases, 1):
        record = folder / "records" / group / f"{case.id}.json"
        key = f"{model_key} {_digest(_files(case))}"
        kept = _kept(record, key, folder)
        result = kept
        if result is None:
            if predictor is None:
                predictor = Predictor.load(model, device=device)
            result = _show(case, predictor, folder, group)
            write_json(record, {"key": key, "result": asdict(result)})
        results.append(result)
        text = result.error or (f"{result.seconds:.2f} s" if kept is None else "kept")
        logger.info("case %d/%d %s: %s", number, len(cases), case.id, text)
    return tuple(results)


def _show(case: CaseInput, predictor: Predictor, folder: Path, group: str) -> PredictedCase:
    path = case.prediction or folder / "predictions" / group / f"{case.id}.nii.gz"
    picture = Path("pictures", group, f"{case.id}.png")
    try:
        started = time.perf_counter()
        image = read_volume(case.image)
        if case.prediction is None:
            labels = predictor.predict(image)
            seconds = time.perf_counter() - started
            path.parent.mkdir(parents=True, exist_ok=True)
            write_label_map(labels, path)
        else:
            labels, seconds = read_label_map(path), 0.0
        _draw(case, image, labels, predictor.model.labels, folder / picture)
    except (OSError, ValueError, MemoryError) as error:
        return PredictedCase(id=case.id, error=" ".join(str(error).split()) or "out of memory")
    ids, counts = np.unique(labels.array, return_counts=True)
    voxel_ml = labels.geometry.voxel_volume_mm3 / 1000
    return PredictedCase(
        id=case.id,
        label_map=path.relative_to(folder).as_posix(),
        montage=picture.as_posix(),
        seconds=round(seconds, 3),
        volumes_ml={
            str(id): round(int(count) * voxel_ml, 1)
            for id, count in zip(ids.tolist(), counts.tolist(), strict=True)
            if id
        },
    )


def _draw(case: CaseInput, image: Volume, labels: Volume, table: LabelTable, path: Path) -> None:
    reference = None if case.reference is None else read_label_map(case.reference)
    if reference is None:
        title = f"{case.id}: prediction of a net that has seen phantoms only, no patient"
    else:
        title = f"{case.id}: prediction (solid) and truth (dashed)"
    write_montage(path, image, labels, table=table, reference=reference, title=title)


def _files(case: CaseInput) -> Iterator[Path]:
    if case.image.is_dir():
        yield from sorted(path for path in case.image.iterdir() if path.is_file())
    else:
        yield case.image
    yield from (path for path in (case.reference, case.prediction) if path is not None)


def _digest(files: Any) -> str:
    digest = hashlib.sha256()
    for path in files:
        with open(path, "rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def _kept(record: Path, key: str, folder: Path) -> PredictedCase | None:
    """Return the result of an earlier run if it is of the same key and its files are there."""
    try:
        content = json.loads(record.read_text(encoding="utf-8"))
        result = PredictedCase(**content["result"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    there = all((folder / name).is_file() for name in (result.label_map, result.montage) if name)
    # A case that failed is tried again: the reason may be gone.
    return result if content["key"] == key and there and not result.error else None
