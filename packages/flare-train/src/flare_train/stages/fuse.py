"""Labels of several sources fused into one label map per case."""

from __future__ import annotations

import logging
from typing import Any

from flare_fusion.dataset import fuse_dataset
from flare_fusion.plan import FusionSettings
from flare_io.command import describe_record
from flare_train.errors import TrainingDataError
from flare_train.stages.predict import LABELS
from flare_train.stages.settings import FuseSettings
from flare_train.stages.work import StageWork

__all__ = ["run"]

logger = logging.getLogger(__name__)


def run(work: StageWork) -> dict[str, Any]:
    """Write a dataset folder of fused labels; a case that cannot be fused is left out.

    Raises
    ------
    TrainingDataError
        If no case could be fused.
    """
    settings: FuseSettings = work.settings
    dataset = work.dataset()
    cases = work.selected(settings.cases)
    fusion = fuse_dataset(
        dataset,
        work.folder / "fused",
        rule=settings.rule,
        options=settings.options,
        sources={
            name: work.inputs[stage].folder / LABELS for name, stage in settings.sources.items()
        },
        settings=FusionSettings(
            k_source=work.inputs[settings.data].values["k_source"],
            provenance=settings.provenance,
            cases=None if cases is None else sorted(cases),
        ),
        jobs=work.jobs,
    )
    failed = {case.case: describe_record(case.error or {}) for case in fusion.failed}
    for case, reason in failed.items():
        logger.warning("case %s could not be fused: %s", case, reason)
    if not fusion.fused:
        case, reason = next(iter(failed.items()))
        raise TrainingDataError(f"no case could be fused, first {case}: {reason}")
    return {"root": "fused", "cases": [case.case for case in fusion.fused], "failed": failed}
