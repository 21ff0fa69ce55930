"""Record what the official FLARE scripts make of the cases in ``cases.py``.

An implementation of its own, written from a description of the scripts' behavior (JunMa11/FLARE,
``FLARE22_DSC_NSD_Eval.py``, ``FLARE23_DSC_NSD_Eval.py``, ``T1_FLARE24_DSC_NSD_Eval.py``), not
from flare-metrics, which it does not import. Files are read by nibabel; surfaces and distances
are those of PyPI ``surface-distance`` 0.1, which equals the scripts' own copy to the last bit. That
package fails under NumPy 2 where a mask is empty; there the known outcome is written by rule.

    python tests/official/record.py    writes tests/official/corpus.json
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import surface_distance

HERE = Path(__file__).parent
CORPUS = HERE / "corpus.json"
TOLERANCES_MM = (5, 3, 3, 5, 2, 2, 2, 2, 2, 3, 5, 7, 3, 2)
CUT_IN_Z = (5, 6, 10)


class ScriptStopsError(Exception):
    """The script ends with an exception in this case."""


def write_file(path: Path, spec: dict[str, Any], zooms: list[float]) -> None:
    """Write one volume of a case as .nii.gz."""
    array = np.zeros(spec["shape"], spec["dtype"])
    for value, x0, x1, y0, y1, z0, z1 in spec["boxes"]:
        array[x0:x1, y0:y1, z0:z1] = float(value) if array.dtype.kind == "f" else value
    affine = np.diag([*spec.get("zooms", zooms), 1.0])
    affine[:3, 3] = spec.get("origin", (0, 0, 0))
    if spec.get("flip"):
        affine[0] *= -1
    image = nib.Nifti1Image(array, affine)
    image.header.set_xyzt_units(spec.get("unit", "mm"))
    nib.save(image, path)


def outcome(protocol: str, prediction: Path, reference: Path) -> dict[str, Any]:
    """Return ``{"dsc": [...], "nsd": [...]}`` or ``{"stops": why}`` or ``{"drops": why}``."""
    name, threshold = protocol.split()
    limit = None if threshold == "none" else float(threshold)
    if not prediction.exists():
        if name == "flare23":
            return {"stops": "no prediction"}
        return {"drops": "the loop is over predictions"}
    if not reference.exists():
        if name == "flare23":
            return {"drops": "the loop is over references"}
        return {"stops": "no reference"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return _scores(name, limit, prediction, reference)
        except ScriptStopsError as error:
            return {"stops": str(error)}


def _scores(name: str, limit: float | None, prediction: Path, reference: Path) -> dict[str, Any]:
    kind = np.int8 if name == "flare23" else np.uint8
    image = nib.load(reference)
    spacing = image.header.get_zooms()[:3]
    with np.errstate(invalid="ignore"):
        true = image.get_fdata().astype(kind)
        found = nib.load(prediction).get_fdata().astype(kind)
    if name == "flare23" and true.shape != found.shape:
        raise ScriptStopsError("shapes")
    labels = {"flare22": range(1, 14), "flare23": range(1, 15), "flare24-task1": (1,)}[name]
    rows = []
    for label in labels:
        if name == "flare24-task1" and found.max() > 1:
            rows.append((0, 0))
            continue
        tolerance = 2 if name == "flare24-task1" else TOLERANCES_MM[label - 1]
        cut = name != "flare24-task1" and label in CUT_IN_Z
        rows.append(_label(true == label, found == label, spacing, tolerance, cut, limit))
    dsc, nsd = zip(*rows, strict=True)
    return {"dsc": [float(round(v, 4)) for v in dsc], "nsd": [float(round(v, 4)) for v in nsd]}


def _label(
    true: np.ndarray,
    found: np.ndarray,
    spacing: Any,
    tolerance: float,
    cut: bool,
    limit: float | None,
) -> tuple[Any, Any]:
    if not true.any() and not found.any():
        return 1, 1
    if not true.any() or not found.any():
        return 0, 0
    if cut:
        slices = np.flatnonzero(true.any(axis=(0, 1)))
        true, found = (mask[:, :, slices[0] : slices[-1]] for mask in (true, found))
    if true.shape != found.shape:
        raise ScriptStopsError("shapes")
    if true.size == 0:
        raise ScriptStopsError("one slice")
    dsc = surface_distance.compute_dice_coefficient(true, found)
    if limit is not None and dsc < limit:
        return dsc, 0
    if not found.any():
        # surface-distance raises here under NumPy 2; before, no surface was near another.
        return dsc, 0
    distances = surface_distance.compute_surface_distances(true, found, spacing)
    return dsc, surface_distance.compute_surface_dice_at_tolerance(distances, tolerance)


def recorded(case: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return a case with its outcome under each of its protocols."""
    paths = {}
    for role in ("prediction", "reference"):
        paths[role] = folder / f"{case['name']}-{role}.nii.gz"
        if case[role] is not None:
            write_file(paths[role], case[role], case["zooms"])
    expected = {protocol: outcome(protocol, **paths) for protocol in case["protocols"]}
    return {**{k: v for k, v in case.items() if k != "protocols"}, "expected": expected}


def means(cases: list[dict[str, Any]], protocol: str = "flare23 0.2") -> dict[str, Any]:
    """Return FLARE 2023's ``scores.txt`` over the cases that its script can score."""
    rows = [case["expected"][protocol] for case in cases if protocol in case["expected"]]
    rows = [row for row in rows if "dsc" in row]
    result: dict[str, Any] = {"cases": len(rows)}
    for metric in ("dsc", "nsd"):
        per_label = [
            float(round(np.mean(v), 4)) for v in zip(*(r[metric] for r in rows), strict=True)
        ]
        result[metric] = per_label
        result[f"organ_{metric}"] = float(round(np.mean(per_label[:13]), 4))
    return result


def main() -> None:
    """Write the corpus."""
    sys.path.insert(0, str(HERE))
    from cases import all_cases

    with tempfile.TemporaryDirectory() as folder:
        cases = [recorded(case, Path(folder)) for case in all_cases()]
    versions = {name: version(name) for name in ("surface-distance", "numpy", "scipy", "nibabel")}
    head = {
        "provenance": {
            "recorder": "tests/official/record.py",
            "rules": "JunMa11/FLARE: FLARE22_DSC_NSD_Eval.py, FLARE23_DSC_NSD_Eval.py, "
            "T1_FLARE24_DSC_NSD_Eval.py, states of 2022 to 2024-03-29",
            "python": platform.python_version(),
            **versions,
        },
        "flare23 means": means(cases),
    }
    lines = [f' "{key}": {json.dumps(value)}' for key, value in head.items()]
    rows = ",\n".join("  " + json.dumps(case, separators=(",", ":")) for case in cases)
    CORPUS.write_text("{\n" + ",\n".join(lines) + ',\n "cases": [\n' + rows + "\n ]\n}\n")
    print(f"{CORPUS}: {len(cases)} cases")


if __name__ == "__main__":
    main()
