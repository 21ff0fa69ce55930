"""Fine-tune the recipe s1-swift (scale ``small``) on one real CT, and predict another.

``python benchmarks/real_ct.py --data FOLDER`` runs s1-swift on phantoms unless its run is in
``--state`` already, goes on training its net on ``torso_ct.nii.gz`` with ``torso_organs.nii.gz``
(12 organs are annotated, the esophagus and tumors are not), predicts the series
``abdomen_dicom`` with the net before and after, and compares with the organ maps that come with the
data. Those are another program's predictions, not truth; the torso is what was trained on. Every
organ's DSC and NSD is printed, whatever it is, and kept in ``benchmarks/results/real_ct.json``.
"""

from __future__ import annotations

import os

# Before torch starts its threads.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from machine import describe_machine

from flare_infer.model import read_model
from flare_infer.predictor import Predictor
from flare_io.dataset import write_dataset_json
from flare_io.files import read_label_map, read_volume, write_label_map
from flare_io.labels import label_table
from flare_io.montage import write_montage
from flare_io.volume import require_same_grid, to_canonical
from flare_metrics import score_case
from flare_train.config import ScheduleConfig, TrainConfig
from flare_train.recipe import read_recipe
from flare_train.run import RunConfig, fit_dataset
from flare_train.run_recipe import run_recipe

RESULTS = Path(__file__).parent / "results" / "real_ct.json"
UNANNOTATED = frozenset({10, 14})
PACKAGES = ("flare-train", "flare-infer", "flare-fusion", "flare-nets", "flare-metrics", "torch")


def torso_dataset(data: Path, folder: Path) -> Path:
    """Lay the torso out as nnU-Net's raw folder, with K."""
    for kind in ("imagesTr", "labelsTr"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for name, target in (
        ("imagesTr/torso_0000.nii.gz", "torso_ct.nii.gz"),
        ("labelsTr/torso.nii.gz", "torso_organs.nii.gz"),
    ):
        link = folder / name
        link.unlink(missing_ok=True)
        link.symlink_to((data / target).resolve())
    table = label_table("flare23")
    annotated = sorted(set(table.ids) - UNANNOTATED)
    row = {"K": annotated, "source": "torso"}
    write_dataset_json(folder, name="torso", table=table, cases={"torso": row})
    return folder


def fine_tuned(model: Path, dataset: Path, folder: Path, *, epochs: int) -> Path:
    """Go on training a model's net on a dataset; unannotated organs cost nothing."""
    spec = read_model(model).spec
    before = TrainConfig.from_dict(spec.provenance["members"][0]["settings"])
    train = dataclasses.replace(
        before,
        start=str(model.resolve()),
        epochs=epochs,
        iterations_per_epoch=50,
        batch=2,
        optimizer=dataclasses.replace(before.optimizer, learning_rate=1e-3),
        schedule=ScheduleConfig(unit="iteration"),
        loss=dataclasses.replace(before.loss, partial="marginal"),
        validate_every=0,
        workers=0,
    )
    run = RunConfig(train=train, preprocessing=spec.preprocessing)
    return fit_dataset(dataset, folder, run)


def compare(model: Path, image: Path, reference: Path, output: Path) -> dict[str, Any]:
    """Predict a CT, draw it, and score the organs that the reference map shows."""
    predictor = Predictor.load(model, device="cpu")
    volume = read_volume(image)
    started = time.perf_counter()
    prediction = predictor.predict(volume)
    seconds = time.perf_counter() - started
    write_label_map(prediction, output.with_suffix(".nii.gz"))
    table = predictor.model.labels
    truth = read_label_map(reference)
    title = f"{image.name}: prediction (solid) and another program's map (dashed)"
    write_montage(
        output.with_suffix(".png"), volume, prediction, table=table, reference=truth, title=title
    )
    ours, _ = to_canonical(prediction)
    theirs, _ = to_canonical(truth)
    require_same_grid(ours, theirs, name=reference.name)
    spacing_mm = theirs.geometry.spacing_mm
    scores = score_case(ours.array, theirs.array, spacing_mm=spacing_mm, protocol="flare23")
    names = {each.id: each.name for each in table.classes}
    shown = [id for id in np.unique(theirs.array).tolist() if id in names]
    rows = {
        names[id]: {"dsc": round(scores[id].dsc, 3), "nsd": round(scores[id].nsd, 3)}
        for id in shown
    }
    mean = {
        measure: round(float(np.mean([row[measure] for row in rows.values()])), 3)
        for measure in ("dsc", "nsd")
    }
    return {"mean": mean, "organs": rows, "seconds": round(seconds, 2)}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the real CT")
    parser.add_argument("--state", type=Path, default=Path("benchmarks/state/real_ct"))
    parser.add_argument("--scale", default="small")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=10, help="of fine-tuning, 50 iterations each")
    arguments = parser.parse_args()
    state: Path = arguments.state
    state.mkdir(parents=True, exist_ok=True)
    recipe = read_recipe("s1-swift", scale=arguments.scale)
    done = run_recipe(recipe, state / f"s1-swift-{arguments.scale}", jobs=arguments.jobs)
    dataset = torso_dataset(arguments.data, state / "dataset")
    folder = state / f"fine-tuned-{arguments.scale}-{arguments.epochs}"
    tuned = fine_tuned(done.model, dataset, folder, epochs=arguments.epochs)
    cases = {
        "torso": ("torso_ct.nii.gz", "torso_organs.nii.gz"),
        "series": ("abdomen_dicom", "abdomen_dicom_organs.nii.gz"),
    }
    record: dict[str, Any] = {
        "machine": describe_machine(*PACKAGES),
        "recipe": {"name": "s1-swift", "scale": arguments.scale, "sha256": recipe.sha256},
        "phantoms": [vars(row) for row in done.rows],
        "fine_tuning_iterations": 50 * arguments.epochs,
        "real": {},
    }
    for case, (image, reference) in cases.items():
        record["real"][case] = {}
        for stage, model in (("phantoms only", done.model), ("fine-tuned", tuned)):
            output = state / f"{case}-{stage.replace(' ', '-')}"
            found = compare(model, arguments.data / image, arguments.data / reference, output)
            record["real"][case][stage] = found
            organs = ", ".join(f"{name} {row['dsc']:.2f}" for name, row in found["organs"].items())
            mean = found["mean"]
            print(f"{case}, {stage}: DSC {mean['dsc']:.3f}, NSD {mean['nsd']:.3f}; {organs}")
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
