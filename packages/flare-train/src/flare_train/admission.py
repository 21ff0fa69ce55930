"""Which cases a run admits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from flare_train.config import TrainConfig
from flare_train.errors import TrainingDataError
from flare_train.stored_case import StoredCase

__all__ = ["check_cases"]


def check_cases(cases: Sequence[StoredCase], config: TrainConfig) -> None:
    """Refuse cases that the settings cannot be trained on, each named with its fault.

    Raises
    ------
    TrainingDataError
        If there is no case, a name occurs twice, or channels or spacings differ. For the task
        ``segment`` also if a label is no class of the net, a class occurs in no case, a case lacks
        a class that ``loss.partial`` does not allow it to lack or has no part in the loss at all,
        a label map is empty although several classes were looked for
        (``sampling.allow_empty`` admits it), or has voxels without statement although
        ``loss.ignore_label`` is false, or no case has the origins that ``loss.origin_weights``
        asks for.
    """
    if not cases:
        raise TrainingDataError("there must be at least one training case, got none")
    seen: set[str] = set()
    for case in cases:
        if case.id in seen:
            raise TrainingDataError(f"{case.id}: this case was given twice; give it once")
        seen.add(case.id)
        _check_image(case, cases[0], config)
        if config.task == "segment":
            _check_labels(case, config)
    if config.task == "segment":
        _check_classes(cases, config)


def _check_image(case: StoredCase, first: StoredCase, config: TrainConfig) -> None:
    if case.image.shape[0] != config.net.in_channels:
        raise TrainingDataError(
            f"{case.id}: the net takes {config.net.in_channels} image channel(s), found "
            f"{case.image.shape[0]}; set net.in_channels or prepare the case with them"
        )
    if not np.allclose(case.spacing_mm, first.spacing_mm, rtol=0.05):
        raise TrainingDataError(
            f"{case.id}: all cases must have one spacing, found {case.spacing_mm} mm here and "
            f"{first.spacing_mm} mm in {first.id}; prepare all to one spacing"
        )


def _check_labels(case: StoredCase, config: TrainConfig) -> None:
    known = set(config.classes)
    foreign = sorted(case.present - known)
    if foreign:
        raise TrainingDataError(
            f"{case.id}: label ids must be among the classes {sorted(known)}, found {foreign}; "
            "add them to classes or remove them from the label map"
        )
    trained = (known - {0}) & case.annotated
    lacking = sorted(
        label for label in known - {0} - case.annotated if not config.loss.may_lack(label)
    )
    if lacking:
        raise TrainingDataError(
            f"{case.id}: does not annotate the classes {lacking}; complete its labels (fuse "
            "them with pseudo-labels), set loss.partial = 'marginal' or 'masked' to learn from "
            "what it annotates, or 'naive' to call the rest background"
        )
    if not trained and config.loss.partial != "naive":
        raise TrainingDataError(
            f"{case.id}: annotates none of the classes {sorted(known - {0})}, so nothing can be "
            "learned from it; leave it out or give it pseudo-labels"
        )
    if len(trained) > 1 and not case.present and not config.sampling.allow_empty:
        raise TrainingDataError(
            f"{case.id}: its label map is empty although the classes {sorted(trained)} were "
            "looked for; check that the file is the right one, leave the case out, or set "
            "sampling.allow_empty = true if this patient has none of them"
        )
    if case.stated is None:
        return
    if not config.loss.ignore_label:
        raise TrainingDataError(
            f"{case.id}: its label map has voxels that nobody states anything about; set "
            "loss.ignore_label = true to leave them out, or complete it"
        )
    if not len(case.stated):
        raise TrainingDataError(
            f"{case.id}: nobody states anything about any of its voxels; leave it out"
        )


def _check_classes(cases: Sequence[StoredCase], config: TrainConfig) -> None:
    if config.loss.origin_weights and all(case.origins is None for case in cases):
        raise TrainingDataError(
            "loss.origin_weights needs cases that know where their labels came from, and none of "
            f"the {len(cases)} does; fuse with provenance and store it, or leave the weights out"
        )
    # Learned before, and with these losses not unlearned.
    known = config.start is not None and config.start_parts == "all"
    may_lack = known and config.loss.partial in ("marginal", "masked")
    for label in config.classes[1:]:
        if any(label in case.present for case in cases):
            continue
        looked_for = [case.id for case in cases if label in case.annotated]
        if may_lack and not looked_for:
            continue
        where = f"{len(looked_for)} of which look for it" if looked_for else "none looks for it"
        raise TrainingDataError(
            f"the class {label} occurs in none of the {len(cases)} training cases, {where}; "
            "leave it out of classes, add cases that show it, or, with a loss that is marginal or "
            "masked, begin with a net that knows it"
        )
