"""A phantom dataset as a folder that nnU-Net and `flare_io.dataset` both read."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from flare_io._phantom_drawing import Phantom, draw_phantom
from flare_io._phantom_errors import ErrorModel
from flare_io._phantom_presets import PhantomPreset, phantom_preset
from flare_io.atomic import write_json
from flare_io.errors import DatasetError
from flare_io.labels import LabelTable, label_table
from flare_io.volume import Volume

__all__ = ["write_phantom_dataset"]

# Raised whenever the same arguments give other voxels, so that old cases are drawn again.
FORMULA_VERSION = 1
# Test patients are numbered from here, so that they stay the same whatever the number of training
# cases.
FIRST_TEST_INDEX = 1_000_000
_RECORDS = "records"
_PSEUDO_FOLDERS = {"A": "pseudoA", "B": "pseudoB"}
_TRUTH = "truthTr"
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Job:
    root: Path
    case: str
    index: int
    test: bool
    preset: str
    seed: int
    errors: ErrorModel

    @property
    def settings(self) -> dict[str, Any]:
        return {
            "formula": FORMULA_VERSION,
            "preset": self.preset,
            "seed": self.seed,
            "index": self.index,
            "errors": asdict(self.errors),
        }

    @property
    def record_path(self) -> Path:
        return self.root / _RECORDS / f"{self.case}.json"


def write_phantom_dataset(
    folder: os.PathLike[str] | str,
    *,
    preset: str = "mini",
    cases: int | None = None,
    seed: int = 0,
    jobs: int = 1,
    test_cases: int | None = None,
    errors: ErrorModel | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Write a phantom dataset: an nnU-Net raw folder with pseudo-labels and truth beside it.

    ``imagesTr`` and ``labelsTr`` hold what the centers would hand in (no label file for an
    unlabeled case), ``pseudoA`` and ``pseudoB`` the pseudo-label sets, ``truthTr`` the truth of
    the training cases, ``imagesTs`` and ``labelsTs`` the held-out cases with full truth,
    ``records`` one row per case, and ``dataset.json`` the rest.

    Parameters
    ----------
    folder : path
        Made if missing. May hold a phantom dataset already: complete cases with the same settings
        are kept, all others drawn anew, and cases that are not asked for removed.
    preset : str
        Name of the preset.
    cases, test_cases : int, optional
        Number of training and of held-out cases; by default the preset's. With ``cases`` alone,
        held-out cases shrink or grow in proportion, at least one.
    seed : int
        Seed of the dataset.
    jobs : int
        Processes; with more than one, a script needs the usual ``if __name__ == "__main__":``.
    errors : ErrorModel, optional
        Knobs of the pseudo-label sets.
    progress : callable, optional
        Called as ``progress(case, done, total)`` after each case.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    DatasetError
        If the folder holds another dataset.
    ValueError
        If a number is out of range or the preset unknown.

    Notes
    -----
    Killed and run again it goes on where it stopped: a case's row is written after its volumes, and
    every file by `flare_io.atomic`.
    """
    chosen = phantom_preset(preset)
    train, test = _counts(chosen, cases, test_cases)
    if jobs < 1:
        raise ValueError(f"jobs must be at least 1, got {jobs}")
    root = Path(folder)
    _refuse_foreign(root)
    todo = [
        _Job(root, f"phantom_{k:04d}", k, False, preset, seed, errors or ErrorModel())
        for k in range(train)
    ] + [
        _Job(
            root,
            f"heldout_{k:04d}",
            FIRST_TEST_INDEX + k,
            True,
            preset,
            seed,
            errors or ErrorModel(),
        )
        for k in range(test)
    ]
    (root / _RECORDS).mkdir(parents=True, exist_ok=True)
    _remove_others(root, {job.case for job in todo})
    rows: dict[str, dict[str, Any]] = {}
    for row in _run(todo, jobs):
        rows[row["id"]] = row
        _logger.info("case %d/%d %s", len(rows), len(todo), row["id"])
        if progress is not None:
            progress(row["id"], len(rows), len(todo))
    _write_manifest(root, chosen, seed, rows, errors or ErrorModel())
    return root


def _counts(preset: PhantomPreset, cases: int | None, test_cases: int | None) -> tuple[int, int]:
    train = preset.train_cases if cases is None else cases
    if train < 0 or (test_cases is not None and test_cases < 0):
        raise ValueError(f"cases and test_cases must be >= 0, got {cases} and {test_cases}")
    if test_cases is not None:
        return train, test_cases
    if cases is None or preset.train_cases == 0:
        return train, preset.test_cases
    return train, max(1, round(train * preset.test_cases / preset.train_cases))


def _refuse_foreign(root: Path) -> None:
    """Refuse a folder that somebody else filled: nobody could draw those cases again."""
    manifest = root / "dataset.json"
    if manifest.exists():
        try:
            ours = "phantom" in json.loads(manifest.read_text(encoding="utf-8"))["flare"]
        except (OSError, ValueError, KeyError, TypeError):
            ours = False
    else:
        ours = (root / _RECORDS).is_dir() or not any((root / n).exists() for n in _folders())
    if not ours:
        raise DatasetError(
            root,
            "holds a dataset that is no phantom",
            remedy="choose an empty folder",
            kind="foreign",
        )


def _folders() -> tuple[str, ...]:
    return ("imagesTr", "labelsTr", "imagesTs", "labelsTs", _TRUTH, *_PSEUDO_FOLDERS.values())


def _remove_others(root: Path, wanted: set[str]) -> None:
    for path in sorted((root / _RECORDS).glob("*.json")):
        if path.stem not in wanted:
            for name in _folders():
                for suffix in ("_0000.nii.gz", ".nii.gz"):
                    (root / name / f"{path.stem}{suffix}").unlink(missing_ok=True)
            path.unlink()


def _run(todo: list[_Job], jobs: int) -> Iterator[dict[str, Any]]:
    if jobs == 1:
        yield from map(_make, todo)
        return
    # Fresh processes: a forked one would inherit the locks of whatever threads the caller runs.
    pool = ProcessPoolExecutor(min(jobs, max(1, len(todo))), mp_context=get_context("spawn"))
    try:
        for future in as_completed([pool.submit(_make, job) for job in todo]):
            yield future.result()
    finally:
        # After a failure or Ctrl-C: finish the cases in hand, start no other.
        pool.shutdown(cancel_futures=True)


def _make(job: _Job) -> dict[str, Any]:
    """Return the row of a case, drawing and writing it where it is not complete."""
    kept = _complete(job)
    if kept is not None:
        return kept
    job.record_path.unlink(missing_ok=True)
    phantom = draw_phantom(seed=job.seed, index=job.index, preset=job.preset, errors=job.errors)
    files = _write_volumes(job, phantom)
    row = {
        "id": job.case,
        "settings": job.settings,
        "files": {name: (job.root / name).stat().st_size for name in files},
        "record": dict(phantom.record),
    }
    write_json(job.record_path, row)
    return row


def _complete(job: _Job) -> dict[str, Any] | None:
    try:
        row = json.loads(job.record_path.read_text(encoding="utf-8"))
        same = row["settings"] == job.settings and all(
            (job.root / name).stat().st_size == size for name, size in row["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return row if same else None


def _write_volumes(job: _Job, phantom: Phantom) -> list[str]:
    from flare_io.files import write_label_map, write_volume

    labels: dict[str, Volume | None]
    if job.test:
        image, labels = f"imagesTs/{job.case}_0000.nii.gz", {"labelsTs": phantom.truth}
    else:
        image = f"imagesTr/{job.case}_0000.nii.gz"
        labels = {"labelsTr": phantom.partial, _TRUTH: phantom.truth}
        labels |= {_PSEUDO_FOLDERS[name]: volume for name, volume in phantom.pseudo.items()}
    written = [image]
    (job.root / image).parent.mkdir(parents=True, exist_ok=True)
    write_volume(phantom.image, job.root / image)
    for name, volume in labels.items():
        (job.root / name).mkdir(parents=True, exist_ok=True)
        path = job.root / name / f"{job.case}.nii.gz"
        if volume is None:
            # Of an earlier run with other settings.
            path.unlink(missing_ok=True)
            continue
        write_label_map(volume, path)
        written.append(f"{name}/{job.case}.nii.gz")
    return written


def _write_manifest(
    root: Path,
    preset: PhantomPreset,
    seed: int,
    rows: dict[str, dict[str, Any]],
    errors: ErrorModel,
) -> None:
    # Here and not above: flare_io.dataset is the public side and may one day offer the phantom
    # itself.
    from flare_io.dataset import write_dataset_json

    cases = {}
    for case, row in rows.items():
        record = dict(row["record"])
        source = record.pop("center")
        if case.startswith("heldout"):
            classes = sorted(preset.classes)
            cases[case] = {
                **record,
                "split": "test",
                "source": source,
                "K": classes,
                "K_truth": classes,
            }
        else:
            cases[case] = {**record, "split": "train", "source": source}
    write_dataset_json(
        root,
        name=f"phantom-{preset.name}",
        table=_table(preset),
        cases=cases,
        flare={
            "pseudo_label_sets": _PSEUDO_FOLDERS if preset.pseudo else {},
            "reference_folder": _TRUTH,
            "phantom": {
                "formula": FORMULA_VERSION,
                "preset": preset.name,
                "seed": seed,
                "errors": asdict(errors),
            },
        },
    )


def _table(preset: PhantomPreset) -> LabelTable:
    """FLARE 2023's classes that the preset draws; merged kidneys are named so."""
    table = label_table("flare23").subset(preset.classes)
    if 13 in preset.classes:
        return table
    names = {each.name: each.id for each in table.classes}
    names = {"kidneys" if label == 2 else name: label for name, label in names.items()}
    return LabelTable.from_names(table.name, names)
