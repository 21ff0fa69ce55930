"""A dataset of two cases small enough to check by hand."""

import numpy as np

from flare_io.dataset import write_dataset_json
from flare_io.files import write_label_map, write_volume
from flare_io.geometry import Geometry
from flare_io.labels import label_table
from flare_io.volume import Volume

SHAPE = (5, 9, 8)
GRID = Geometry((2.5, 0.8, 0.8), origin=(10.0, -20.0, 5.0))


def labels(seed, highest=13):
    return np.random.default_rng(seed).integers(0, highest + 1, SHAPE, dtype=np.uint8)


def write_labels(folder, case, array, geometry=GRID):
    folder.mkdir(parents=True, exist_ok=True)
    write_label_map(Volume(array, geometry), folder / f"{case}.nii.gz")


PARTIAL = np.where(np.isin(labels(3, 14), (1, 2, 14)), labels(3, 14), 0).astype(np.uint8)
MAPS = {
    "partial": {"labeled": PARTIAL},
    "A": {"labeled": labels(1), "unlabeled": labels(4)},
    "B": {"labeled": labels(2), "unlabeled": labels(5)},
}


def write_small_dataset(root):
    """Write a dataset with a labeled case of K = {1, 2, 9, 14} and an unlabeled one."""
    (root / "imagesTr").mkdir(parents=True)
    for case in ("labeled", "unlabeled"):
        image = np.random.default_rng(9).integers(-1000, 1000, SHAPE).astype(np.int16)
        write_volume(Volume(image, GRID), root / "imagesTr" / f"{case}_0000.nii.gz")
    for role, folder in (("partial", "labelsTr"), ("A", "pseudoA"), ("B", "pseudoB")):
        for case, array in MAPS[role].items():
            write_labels(root / folder, case, array)
    write_dataset_json(
        root,
        name="small",
        table=label_table("flare23"),
        cases={"labeled": {"K": [1, 2, 9, 14]}, "unlabeled": {"K": None}},
        flare={"pseudo_label_sets": {"A": "pseudoA", "B": "pseudoB"}},
    )


def sources(case, **more):
    known = {name: maps[case] for name, maps in MAPS.items() if case in maps}
    return {"partial": np.zeros(SHAPE, np.uint8), **known, **more}
