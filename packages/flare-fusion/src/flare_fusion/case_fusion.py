"""The fusion of one case of a dataset: read, checked, fused and written on its own.

A case is done when its record, written last, names the same making and the files that lie there.
The making is the rule with its options, K, the sources by checksum, the image's grid and the
version; so an earlier result is kept only where this run would give the same.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_fusion.case_rule import CaseRule, case_rule
from flare_fusion.conflict import agreement_record, count_cells
from flare_fusion.engine import FusionResult, fuse
from flare_fusion.plan import FusionPlan
from flare_fusion.results import CaseFusion
from flare_fusion.rules import Origin
from flare_fusion.sources import CaseSources, file_of_source, read_sources
from flare_io.atomic import write_json
from flare_io.command import error_record
from flare_io.dataset import Case
from flare_io.errors import DatasetError
from flare_io.files import read_header, write_label_map
from flare_io.volume import Volume

__all__ = ["ENDINGS", "LABELS", "PROVENANCE", "RECORDS", "forget", "fuse_case"]

ENDINGS = (".nii.gz", ".nii", ".nrrd", ".mha")
LABELS, PROVENANCE, RECORDS = "labelsTr", "provenanceTr", "records"
# Raised whenever the same rule and sources give another result or record.
_FORMAT = 2


def fuse_case(case: Case, plan: FusionPlan) -> CaseFusion:
    """Fuse one case of a dataset, or keep what an earlier run made of it.

    Parameters
    ----------
    case : Case
    plan : FusionPlan

    Returns
    -------
    CaseFusion
        With status ``"failed"`` and the fault, whatever it was; then no file of the case is left,
        of an earlier run neither. Ctrl-C and its kind pass through.
    """
    try:
        return _fused(case, plan)
    except Exception as error:
        record = error_record(error)
    try:
        forget(case.id, plan.output)
    except OSError as error:
        record = error_record(error)
    return CaseFusion(
        case=case.id,
        status="failed",
        rule=plan.rule,
        image=os.fspath(case.image[0]),
        error=record,
    )


def forget(case: str, output: Path) -> None:
    """Remove what an earlier run made of a case, its record first."""
    (output / RECORDS / f"{case}.json").unlink(missing_ok=True)
    for folder in (LABELS, PROVENANCE):
        for ending in ENDINGS:
            (output / folder / f"{case}{ending}").unlink(missing_ok=True)


def _fused(case: Case, plan: FusionPlan) -> CaseFusion:
    rule = case_rule(case, plan.rule, options=plan.options, folders=plan.folders)
    files = {name: file_of_source(name, case, plan.folders) for name in rule.sources}
    annotated = _stated_k(case, rule, plan)
    key = _key(case, rule, files, annotated, plan)
    kept = _kept(case, key, plan.output)
    if kept is not None:
        return kept
    sources = read_sources(case.image[0], files, resample=plan.settings.resample)
    if plan.settings.k_source == "presence" and case.label is not None:
        annotated = _present(case, sources)
    result = fuse(
        sources.arrays,
        rule=rule.rule,
        annotated=annotated if case.label is not None else (),
        provenance=True,
        agreement=True,
        **rule.options,
    )
    forget(case.id, plan.output)
    written = _write(case, result, sources, plan)
    fused = CaseFusion(
        case=case.id,
        status="done",
        rule=rule.name,
        image=os.fspath(case.image[0]),
        sources={name: os.fspath(path) if path else "none" for name, path in files.items()},
        label_map=written[LABELS],
        provenance=written.get(PROVENANCE, ""),
        partial_annotated=None if annotated is None else sorted(annotated),
        notes=list(sources.notes),
        **_figures(rule, annotated, result, sources, plan),
    )
    hashes = {name: _sha256(plan.output / name) for name in written.values()}
    record = {"key": key, "files": hashes, "result": asdict(fused)}
    write_json(plan.output / RECORDS / f"{case.id}.json", record)
    return fused


def _stated_k(case: Case, rule: CaseRule, plan: FusionPlan) -> frozenset[int] | None:
    """Return K as the manifest has it; None without a label, or if the file is to tell."""
    if case.label is None or plan.settings.k_source == "presence":
        return None
    if case.annotated is None and rule.asks_k:
        raise DatasetError(
            case.id,
            f"rule {rule.name} must know the classes that the case's annotators looked for (K)",
            found="none stated",
            remedy="state K in dataset.json under flare.cases, or take the labels that the file "
            "holds with --k-source presence",
            kind="no-k",
        )
    return case.annotated


def _present(case: Case, sources: CaseSources) -> frozenset[int]:
    """Return the labels of the partial label, which a rule may not read."""
    partial = sources.arrays.get("partial")
    if partial is None:
        assert case.label is not None
        partial = read_sources(case.image[0], {"partial": case.label}, resample=True).arrays[
            "partial"
        ]
    return frozenset(np.flatnonzero(np.bincount(partial.ravel(order="K"))).tolist()) - {0}


def _write(
    case: Case, result: FusionResult, sources: CaseSources, plan: FusionPlan
) -> dict[str, str]:
    """Write the fused labels and, where asked for, their origins; return the names by folder."""
    arrays: dict[str, NDArray[Any]] = {LABELS: result.label_map}
    if plan.settings.provenance:
        assert result.provenance is not None
        arrays[PROVENANCE] = result.provenance
    written = {}
    for folder, array in arrays.items():
        written[folder] = f"{folder}/{case.id}{plan.ending}"
        write_label_map(
            Volume(array, sources.grid.geometry),
            plan.output / written[folder],
            table=plan.table if folder == LABELS else None,
        )
    return written


def _figures(
    rule: CaseRule,
    annotated: frozenset[int] | None,
    result: FusionResult,
    sources: CaseSources,
    plan: FusionPlan,
) -> dict[str, Any]:
    assert result.provenance is not None
    counts = np.bincount(result.label_map.ravel(order="K"))
    origins = np.bincount(result.provenance.ravel(order="K"), minlength=len(Origin))
    voxel_ml = sources.grid.geometry.voxel_volume_mm3 / 1000
    present = np.flatnonzero(counts).tolist()
    known = rule.covered(annotated) & set(plan.table.ids)
    return {
        "annotated": sorted(known.union(present) - {0}),
        "volumes_ml": {str(label): float(counts[label] * voxel_ml) for label in present if label},
        "origins": {each.name.lower(): int(origins[each]) for each in Origin if origins[each]},
        "agreement": agreement_record(
            result.agreement or count_cells(sources.arrays),
            looked_for=rule.looked_for(annotated),
            voxel_volume_mm3=sources.grid.geometry.voxel_volume_mm3,
        ),
    }


def _key(
    case: Case,
    rule: CaseRule,
    files: Mapping[str, Path | None],
    annotated: frozenset[int] | None,
    plan: FusionPlan,
) -> str:
    grid = read_header(case.image[0])
    content = {
        "format": _FORMAT,
        "rule": rule.definition,
        "annotated": None if annotated is None else sorted(annotated),
        "labeled": case.label is not None,
        "k_source": plan.settings.k_source,
        "provenance": plan.settings.provenance,
        "resample": plan.settings.resample,
        "table": list(plan.table.ids),
        "file": f"{case.id}{plan.ending}",
        "image": os.fspath(case.image[0]),
        "grid": [grid.shape, grid.geometry.to_dict()],
        "sources": {name: path and [str(path), _sha256(path)] for name, path in files.items()},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _kept(case: Case, key: str, output: Path) -> CaseFusion | None:
    """Return the result of an earlier run, if it is of the same making and its files are whole."""
    try:
        record = json.loads((output / RECORDS / f"{case.id}.json").read_text(encoding="utf-8"))
        if record["key"] != key:
            return None
        if any(_sha256(output / name) != found for name, found in record["files"].items()):
            return None
        return CaseFusion(**{**record["result"], "status": "kept"})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
