"""Fusing the labels of a whole dataset folder.

Each case is read, checked, fused and written on its own; a case that fails is listed and costs
no other. A second run of the same command takes up where the first ended: a case is done when
its record names the same rule, the same sources and the file that lies there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flare_fusion._progress import shown
from flare_fusion.engine import apply_table
from flare_fusion.report import CaseFusion, DatasetFusion
from flare_fusion.rules import Origin, Rule, fusion_rule
from flare_fusion.sources import file_of_source, read_sources
from flare_fusion.tables import FusionTable, compile_table, majority_table
from flare_io.atomic import write_json
from flare_io.command import error_record
from flare_io.dataset import Case, Dataset, read_dataset
from flare_io.errors import DatasetError
from flare_io.files import write_label_map

__all__ = ["fuse_dataset"]

KSource = Literal["manifest", "presence"]


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """What all cases of one run share."""

    rule: str
    options: tuple[tuple[str, Any], ...]
    folders: tuple[tuple[str, Path], ...]
    output: Path
    k_source: KSource


def fuse_dataset(
    dataset: str | os.PathLike[str] | Dataset,
    output: str | os.PathLike[str],
    *,
    rule: str = "s1",
    sources: Mapping[str, str | os.PathLike[str]] | None = None,
    options: Mapping[str, Any] | None = None,
    k_source: KSource = "manifest",
    jobs: int | None = None,
    progress: bool = False,
) -> DatasetFusion:
    """Fuse the labels of every training case of a dataset.

    Parameters
    ----------
    dataset : path or Dataset
        A dataset folder as `flare_io.read_dataset` reads it.
    output : path
        Folder for ``labelsTr/<case>.nii.gz`` and ``report.json``; made if need be.
    rule : str
        A rule's name or file, or ``"s1"``: labeled cases by ``s1-labeled`` with their partial
        label as referee; unlabeled cases by ``s1-unlabeled`` where T1, T2 and T3 are given, else
        by union and vote without a referee.
    sources : mapping of str to path, optional
        Folders of label maps named after the cases, in place of or beside the manifest's
        pseudo-label sets.
    options : mapping, optional
        Options of the rule.
    k_source : {"manifest", "presence"}
        Where a case's annotated classes come from; ``"presence"`` takes the labels its file
        holds, as the published systems do, and is wrong where an annotated organ is truly absent.
    jobs : int, optional
        Cases at the same time; None leaves it to ``joblib.parallel_config``.
    progress : bool
        Show progress on stderr.

    Returns
    -------
    DatasetFusion

    Raises
    ------
    DatasetError
        If the dataset cannot be read, or has no cases.
    ValueError
        If the rule or an option is unknown.
    """
    from joblib import Parallel, delayed

    known = dataset if isinstance(dataset, Dataset) else read_dataset(dataset)
    plan = _Plan(
        rule=rule,
        options=tuple(sorted((options or {}).items())),
        folders=tuple(sorted((name, Path(path)) for name, path in (sources or {}).items())),
        output=Path(output),
        k_source=k_source,
    )
    _check_plan(plan)
    if plan.output.resolve() == Path(known.root).resolve():
        raise ValueError(
            f"{plan.output}: fused labels would replace the dataset's own; name another folder"
        )
    cases = known.train
    if not cases:
        raise DatasetError(known.root, "no training case to fuse labels of", kind="empty")
    for folder in ("labelsTr", "records"):
        (plan.output / folder).mkdir(parents=True, exist_ok=True)
    work = Parallel(n_jobs=jobs, return_as="generator")(
        delayed(_fuse_case)(case, plan) for case in cases
    )
    result = DatasetFusion(
        folder=plan.output, cases=tuple(shown(work, total=len(cases), active=progress))
    )
    write_json(plan.output / "report.json", _report(plan, result))
    return result


def _check_plan(plan: _Plan) -> None:
    if plan.k_source not in ("manifest", "presence"):
        raise ValueError(f"k_source must be 'manifest' or 'presence', got {plan.k_source!r}")
    options = dict(plan.options)
    if plan.rule == "majority":
        majority_table(("A", "B"), labels=(0, 1), **options)
    else:
        fusion_rule("s1-labeled" if plan.rule == "s1" else plan.rule).resolved_options(options)
    for name, folder in plan.folders:
        if not folder.is_dir():
            raise DatasetError(folder, f"source {name} must be a folder", kind="missing")


def _fuse_case(case: Case, plan: _Plan) -> CaseFusion:
    try:
        return _fused(case, plan)
    except Exception as error:
        # One bad case costs one case; Ctrl-C and its kind pass through.
        return CaseFusion(case=case.id, status="failed", rule=plan.rule, error=error_record(error))


def _fused(case: Case, plan: _Plan) -> CaseFusion:
    names, rule = _rule_of(case, plan)
    files = {name: file_of_source(name, case, dict(plan.folders)) for name in names}
    target = plan.output / "labelsTr" / f"{case.id}.nii.gz"
    record_file = plan.output / "records" / f"{case.id}.json"
    hashes = {name: _sha256(path) for name, path in files.items() if path is not None}
    arrays, image = read_sources(case, files)
    table = _table_of(rule, names, case, arrays, plan)
    key = _key(table, hashes)
    kept = _kept(record_file, key, target)
    if kept is not None:
        return kept
    fused = apply_table(table, arrays, provenance=True)
    write_label_map(image.with_array(fused.label_map), target)
    assert fused.provenance is not None
    labels, counts = np.unique(fused.label_map, return_counts=True)
    voxel_ml = image.geometry.voxel_volume_mm3 / 1000
    origins = np.bincount(fused.provenance.ravel(order="K"), minlength=len(Origin))
    result = CaseFusion(
        case=case.id,
        status="done",
        rule=table.name,
        sources={name: os.fspath(path) if path else "none" for name, path in files.items()},
        label_map=target.relative_to(plan.output).as_posix(),
        volumes_ml={
            str(label): float(n * voxel_ml) for label, n in zip(labels, counts, strict=True)
        },
        origins={origin.name.lower(): int(origins[origin]) for origin in Origin if origins[origin]},
    )
    write_json(record_file, {"key": key, "sha256": _sha256(target), "result": asdict(result)})
    return result


def _rule_of(case: Case, plan: _Plan) -> tuple[tuple[str, ...], Rule | None]:
    """Return the sources to read and the rule, None for the plain majority of all sources."""
    if plan.rule == "majority":
        return tuple(sorted({*case.pseudo_labels, *dict(plan.folders)})), None
    name = plan.rule
    if name == "s1":
        offered = {*case.pseudo_labels, *dict(plan.folders)}
        own_maps = case.label is None and {"T1", "T2", "T3"} <= offered
        name = "s1-unlabeled" if own_maps else "s1-labeled"
    rule = fusion_rule(name)
    return rule.source_names, rule


def _table_of(
    rule: Rule | None,
    names: tuple[str, ...],
    case: Case,
    arrays: Mapping[str, NDArray[Any]],
    plan: _Plan,
) -> FusionTable:
    options = dict(plan.options)
    if rule is None:
        return majority_table(names, labels=range(15), **options)
    annotated = case.annotated if case.label is not None else frozenset()
    if plan.k_source == "presence" and "partial" in arrays:
        annotated = frozenset(int(label) for label in np.unique(arrays["partial"]) if label)
    offered = {option.name for option in rule.options}
    # Rule s1 stands for two rules, of which one has an option more.
    return compile_table(
        rule,
        options={name: value for name, value in options.items() if name in offered},
        annotated=annotated,
    )


def _key(table: FusionTable, hashes: Mapping[str, str]) -> str:
    content = [table.name, hashlib.sha256(table.labels.tobytes()).hexdigest(), dict(hashes)]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _kept(record_file: Path, key: str, target: Path) -> CaseFusion | None:
    """Return the result of an earlier run, if it is of the same making and its file is whole."""
    try:
        record = json.loads(record_file.read_text())
        if record["key"] != key or record["sha256"] != _sha256(target):
            return None
        return CaseFusion(**{**record["result"], "status": "kept"})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _report(plan: _Plan, result: DatasetFusion) -> dict[str, Any]:
    statuses = [case.status for case in result.cases]
    return {
        "rule": plan.rule,
        "options": dict(plan.options),
        "k_source": plan.k_source,
        "cases": {status: statuses.count(status) for status in ("done", "kept", "failed")},
        "results": [asdict(case) for case in result.cases],
    }
