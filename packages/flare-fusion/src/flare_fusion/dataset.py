"""Fusing the labels of a whole dataset folder.

The result is a dataset folder again: fused labels, links to the images, and a manifest that says
of each case what was looked for in it. Each case is fused on its own; one that fails is listed and
costs no other. A second run of the same command takes up where the first ended.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from flare_fusion._progress import shown
from flare_fusion.case_fusion import LABELS, PROVENANCE, RECORDS, forget, fuse_case
from flare_fusion.case_rule import check_rule
from flare_fusion.manifest import link_images, remove_summary, volume_ending, write_summary
from flare_fusion.plan import FusionPlan, FusionSettings
from flare_fusion.results import DatasetFusion
from flare_io.dataset import Case, Dataset, read_dataset
from flare_io.errors import DatasetError

__all__ = ["fuse_dataset"]


def fuse_dataset(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str],
    *,
    rule: str = "s1",
    sources: Mapping[str, str | os.PathLike[str]] | None = None,
    options: Mapping[str, Any] | None = None,
    settings: FusionSettings | None = None,
    jobs: int | None = None,
    progress: bool = False,
) -> DatasetFusion:
    """Fuse the labels of every training case of a dataset.

    Parameters
    ----------
    dataset : path or Dataset
        A dataset folder as `flare_io.read_dataset` reads it.
    output : path
        Folder for ``labelsTr/<case>.nii.gz``, ``imagesTr`` with links to the images,
        ``dataset.json`` and ``report.json``; made if need be.
    rule : str
        A rule's name or file, or ``"s1"``: labeled cases by ``s1-labeled`` with their partial
        label as referee; unlabeled cases by ``s1-unlabeled`` where T1, T2 and T3 are given, else
        by union and vote without a referee.
    sources : mapping of str to path, optional
        Folders of label maps named after the cases, in place of or beside the manifest's
        pseudo-label sets.
    options : mapping, optional
        Options of the rule.
    settings : FusionSettings, optional
        Where K comes from, what to do with other grids, whether to write provenance, and which
        cases.
    jobs : int, optional
        Cases at the same time; None leaves it to ``joblib.parallel_config``, with which another
        backend, a dask cluster for example, can take the cases.
    progress : bool
        Show progress on stderr.

    Returns
    -------
    DatasetFusion

    Raises
    ------
    DatasetError
        If the dataset cannot be read, has no cases, or lacks one that is asked for.
    ValueError
        If the rule or an option is unknown.

    Notes
    -----
    What an earlier run left in ``output`` is kept where this run would make the same, by
    checksum, and removed or replaced otherwise: the folder never mixes two makings.
    """
    from joblib import Parallel, delayed

    known = dataset if isinstance(dataset, Dataset) else read_dataset(dataset)
    plan = FusionPlan(
        rule=rule,
        options=dict(options or {}),
        folders={name: Path(path) for name, path in (sources or {}).items()},
        output=Path(output),
        table=known.table,
        ending=volume_ending(known),
        settings=settings or FusionSettings(),
    )
    check_rule(plan.rule, options=plan.options, folders=plan.folders)
    plan.check_folders()
    cases = _chosen_cases(known, plan)
    _prepare_output(known, plan, cases)
    work = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(fuse_case)(case, plan) for case in cases
    )
    result = DatasetFusion(
        folder=plan.output,
        cases=tuple(shown(work, total=len(cases), active=progress)),
        settings={"dataset": os.fspath(known.root), **plan.to_dict()},
        names={str(each.id): each.name for each in known.table.classes},
    )
    link_images(known, result)
    write_summary(known, result, ending=plan.ending)
    return result


def _chosen_cases(dataset: Dataset, plan: FusionPlan) -> tuple[Case, ...]:
    cases = dataset.train
    if not cases:
        raise DatasetError(dataset.root, "no training case to fuse labels of", kind="empty")
    if plan.settings.cases is None:
        return cases
    wanted = set(plan.settings.cases)
    lacking = sorted(wanted - {case.id for case in cases})
    if lacking:
        raise DatasetError(
            dataset.root,
            f"has no training case {lacking[0]!r}",
            found=f"{len(lacking)} of {len(wanted)} cases asked for are not there",
            remedy="name cases of this dataset",
            kind="missing",
        )
    if not wanted:
        raise DatasetError(dataset.root, "no case was asked for", kind="empty")
    return tuple(case for case in cases if case.id in wanted)


def _prepare_output(dataset: Dataset, plan: FusionPlan, cases: tuple[Case, ...]) -> None:
    """Make the folders and remove what does not belong to this run."""
    inputs = {"the dataset": Path(dataset.root)}
    inputs |= {f"source {name}": path for name, path in plan.folders.items()}
    for name, folder in inputs.items():
        if folder.resolve() in (plan.output.resolve(), (plan.output / LABELS).resolve()):
            raise ValueError(
                f"{plan.output}: fused labels would replace {name}'s own; name another folder"
            )
    for name in (LABELS, RECORDS, *([PROVENANCE] if plan.settings.provenance else [])):
        (plan.output / name).mkdir(parents=True, exist_ok=True)
    remove_summary(plan.output)
    ours = {case.id for case in cases}
    for path in (plan.output / RECORDS).glob("*.json"):
        if path.stem not in ours:
            forget(path.stem, plan.output)
