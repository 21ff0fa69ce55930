"""Which cases a run admits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flare_train.config import TrainConfig
from flare_train.errors import TrainingDataError
from flare_train.store import StoredCase

__all__ = ["check_cases"]


def check_cases(cases: Sequence[StoredCase], config: TrainConfig) -> None:
    """Refuse cases that the settings cannot be trained on, each named with its fault.

    Raises
    ------
    TrainingDataError
        If there is no case, a name occurs twice, channels or spacings differ, a label is no class
        of the net, a class occurs in no case, or a case does not annotate all classes although
        ``loss.partial`` is ``refuse``. Labels do not matter to the task ``restore``.
    """
    if not cases:
        raise TrainingDataError("there must be at least one training case, got none")
    known = set(config.classes)
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise TrainingDataError(f"{case.id}: this case was given twice; give it once")
        seen.add(case.id)
        if case.image.shape[0] != config.net.in_channels:
            raise TrainingDataError(
                f"{case.id}: the net takes {config.net.in_channels} image channel(s), found "
                f"{case.image.shape[0]}; set net.in_channels or prepare the case with them"
            )
        if not np.allclose(case.spacing_mm, cases[0].spacing_mm, rtol=0.05):
            raise TrainingDataError(
                f"{case.id}: all cases must have one spacing, found {case.spacing_mm} mm here and "
                f"{cases[0].spacing_mm} mm in {cases[0].id}; prepare all to one spacing"
            )
        if config.task == "restore":
            continue
        foreign = sorted(case.present - known)
        if foreign:
            raise TrainingDataError(
                f"{case.id}: label ids must be among the classes {sorted(known)}, found {foreign}; "
                "add them to classes or remove them from the label map"
            )
        lacking = sorted(known - {0} - case.annotated)
        if lacking and config.loss.partial == "refuse":
            raise TrainingDataError(
                f"{case.id}: does not annotate the classes {lacking}; complete its labels (fuse "
                "them with pseudo-labels), or set loss.partial = 'naive' to call them background"
            )
    if config.task == "restore":
        return
    never = sorted(known - {0} - frozenset().union(*(case.present for case in cases)))
    if never:
        raise TrainingDataError(
            f"the classes {never} occur in none of the {len(cases)} training cases; "
            "leave them out of classes or add cases that show them"
        )
