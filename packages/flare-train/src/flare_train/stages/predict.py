"""Label maps of cases by a model; a bad case costs one case."""

from __future__ import annotations

import json
import logging
import time
from pathlib import Path
from typing import Any

from flare_infer.predictor import Predictor
from flare_io.atomic import write_json
from flare_io.dataset import Case
from flare_io.files import write_label_map
from flare_train.errors import TrainingDataError
from flare_train.stages.net_settings import PredictSettings
from flare_train.stages.work import StageResult, StageWork

__all__ = ["LABELS", "model_folder", "run"]

logger = logging.getLogger(__name__)

LABELS = "labels"
_RECORDS = "records"


def run(work: StageWork) -> dict[str, Any]:
    """Write ``labels/CASE.nii.gz`` of every case that can be predicted.

    Raises
    ------
    TrainingDataError
        If there is no case, or none could be predicted.
    """
    settings: PredictSettings = work.settings
    cases = _cases(work, settings.cases)
    if not cases:
        return {"cases": [], "failed": {}, "seconds_per_case": None}
    for name in (LABELS, _RECORDS):
        (work.folder / name).mkdir(parents=True, exist_ok=True)
    model = model_folder(work.inputs[settings.model], snapshot=settings.snapshot)
    # Labels that do not depend on what this processor can do: stages go by what went in.
    predictor = Predictor.load(model, device=work.device, precision="float32")
    failed: dict[str, str] = {}
    seconds: list[float] = []
    for number, case in enumerate(cases, 1):
        path = work.folder / LABELS / f"{case.id}.nii.gz"
        if path.is_file():
            continue
        started = time.perf_counter()
        reason = _predict(case, predictor, settings, path)
        if reason:
            failed[case.id] = reason
            logger.warning("case %s: %s", case.id, reason)
        else:
            seconds.append(time.perf_counter() - started)
            write_json(work.folder / _RECORDS / f"{case.id}.json", {"seconds": seconds[-1]})
        if number == len(cases) or number % 25 == 0:
            logger.info("predicted %d of %d cases", number, len(cases))
    if len(failed) == len(cases):
        id, reason = next(iter(failed.items()))
        raise TrainingDataError(f"no case could be predicted, first {id}: {reason}")
    return {
        "cases": [case.id for case in cases if case.id not in failed],
        "failed": failed,
        "seconds_per_case": _mean_seconds(work.folder / _RECORDS),
    }


def model_folder(result: StageResult, *, snapshot: int = 0) -> Path:
    """Return the model folder of a training or model stage.

    Parameters
    ----------
    result : StageResult
    snapshot : int, optional
        0: the net at its end; 1: its newest kept snapshot, and so on.

    Raises
    ------
    ValueError
        If the stage kept fewer snapshots.
    """
    if not snapshot:
        return result.folder / "model"
    kept = result.values.get("snapshots", [])
    if snapshot > len(kept):
        raise ValueError(
            f"snapshot must be one of the {len(kept)} that stage {result.name} kept, got "
            f"{snapshot}; raise config.keep_snapshots"
        )
    return result.folder / str(kept[snapshot - 1])


def _cases(work: StageWork, which: str) -> list[Case]:
    dataset = work.dataset()
    if which == "test":
        return list(dataset.test)
    if which == "train":
        return list(dataset.train)
    if which == "unlabeled":
        return [case for case in dataset.train if case.label is None]
    chosen = work.selected(which) or frozenset()
    return [case for case in dataset.train if case.id in chosen]


def _predict(case: Case, predictor: Predictor, settings: PredictSettings, path: Path) -> str:
    try:
        image = case.image[0] if len(case.image) == 1 else list(case.image)
        labels = predictor.predict(image, mode=settings.mode, tta=settings.tta)
        write_label_map(labels, path)
    except (OSError, ValueError, MemoryError) as error:
        return " ".join(str(error).split()) or "out of memory"
    return ""


def _mean_seconds(folder: Path) -> float | None:
    seconds = [
        float(json.loads(path.read_text(encoding="utf-8"))["seconds"])
        for path in sorted(folder.glob("*.json"))
    ]
    return round(sum(seconds) / len(seconds), 4) if seconds else None
