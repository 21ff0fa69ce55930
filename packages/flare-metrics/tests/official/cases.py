"""Made-up cases that meet every official rule, as boxes painted one after the other.

Seeded; the recorded corpus holds the boxes themselves, so a later NumPy that draws otherwise
changes nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Case = dict[str, Any]
ORGANS = ("flare22 none", "flare23 0.2")
THRESHOLDS = ("flare22 none", "flare22 0.2", "flare23 none", "flare23 0.1", "flare23 0.2")
TASK_1 = ("flare24-task1 0.2", "flare24-task1 none")
TUBES = (5, 6, 10)
ZOOMS = (0.8, 0.8, 2.5)


def all_cases() -> list[Case]:
    """Return every case: name, zooms, prediction, reference, protocols; axes x, y, z."""
    groups = (organs, tubes, lesions, casts, thresholds, shapes, folders, rounding, headers)
    return [case for group in groups for case in group()]


def volume(shape: tuple[int, int, int], boxes: list[list[float]], **more: Any) -> dict[str, Any]:
    """Return one file: boxes of value, x0, x1, y0, y1, z0, z1; dtype, unit and affine."""
    return {"shape": list(shape), "boxes": boxes, "dtype": "uint8", **more}


def case(
    name: str, prediction: Any, reference: Any, protocols: tuple[str, ...], **more: Any
) -> Case:
    """Return one case; None stands for a missing file."""
    return {
        "name": name,
        "zooms": list(ZOOMS),
        **more,
        "prediction": prediction,
        "reference": reference,
        "protocols": list(protocols),
    }


def organs() -> list[Case]:
    """Return 20 cases of up to 14 labels: moved, shrunk, missing or spare in one file."""
    cases = []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        files: tuple[list[Any], list[Any]] = ([], [])
        for label in range(1, 15):
            start = rng.integers(0, (16, 16, 6))
            size = rng.integers(1, (10, 10, 6))
            # On a single slice the scripts stop; a few such cases are enough.
            if seed >= 4 and label in TUBES:
                size[2] += 1
            for k, boxes in enumerate(files):
                if rng.random() < 0.88:
                    begin = np.maximum(start + k * rng.integers(-2, 3, 3), 0)
                    boxes.append(box(label, begin, begin + size))
        zooms = [round(float(value), 3) for value in rng.uniform(0.5, 3.0, 3)]
        pair = (volume((24, 24, 12), boxes) for boxes in files)
        cases.append(case(f"organs-{seed:02}", *pair, ORGANS, zooms=zooms))
    return cases


def tubes() -> list[Case]:
    """Return aorta, IVC and esophagus at the ends of their slices, and on one slice."""
    shape = (9, 9, 9)

    def tube(label: int, first: int, last: int, *, wide: int = 3) -> list[float]:
        return [label, 3, 3 + wide, 3, 6, first, last + 1]

    pairs = {
        # prediction, reference; slices first to last
        "error-in-last-slice": ([tube(5, 2, 4)], [tube(5, 2, 5)]),
        "error-beyond": ([tube(5, 2, 8)], [tube(5, 2, 5)]),
        "error-in-first-slice": ([tube(5, 3, 5)], [tube(5, 2, 5)]),
        "outside-above": ([tube(6, 6, 8)], [tube(6, 2, 5)]),
        "outside-on-last": ([tube(6, 5, 8)], [tube(6, 2, 5)]),
        "outside-below": ([tube(10, 0, 1)], [tube(10, 2, 5)]),
        "two-slices": ([tube(10, 2, 3, wide=2)], [tube(10, 2, 3)]),
        "whole-height": ([tube(5, 0, 8)], [tube(5, 0, 8)]),
        "gap": ([tube(5, 1, 7)], [tube(5, 1, 2), tube(5, 6, 7)]),
        "prediction-absent": ([], [tube(6, 2, 5)]),
        "reference-absent": ([tube(6, 2, 5)], []),
        "both-absent": ([[1, 0, 2, 0, 2, 0, 2]], [[1, 0, 2, 0, 2, 0, 3]]),
        "last-plane-of-array": ([tube(10, 7, 8)], [tube(10, 6, 8)]),
    }
    cases = [
        case(f"tube-{name}", volume(shape, p), volume(shape, r), ("flare22 none", "flare23 0.2"))
        for name, (p, r) in pairs.items()
    ]
    for label in TUBES:
        single = [[1, 0, 2, 0, 2, 0, 4], tube(label, 4, 4)]
        both = volume(shape, single), volume(shape, single)
        cases.append(case(f"one-slice-{label}", *both, THRESHOLDS))
    # Not a label whose slices are cut: one slice is as good as another.
    flat = volume(shape, [tube(9, 4, 4)]), volume(shape, [tube(9, 4, 4, wide=2)])
    cases.append(case("one-slice-9", *flat, ORGANS))
    return cases


def lesions() -> list[Case]:
    """Return cases of the binary task."""
    shape = (14, 14, 8)
    lesion = [1, 3, 9, 3, 9, 2, 6]
    pairs = {
        "both-empty": ([], []),
        "false-alarm": ([lesion], []),
        "missed": ([], [lesion]),
        "equal": ([lesion], [lesion]),
        "two-in-prediction": ([lesion, [2, 0, 1, 0, 1, 0, 1]], [lesion]),
        "two-and-empty-reference": ([[2, 0, 1, 0, 1, 0, 1]], []),
        "fourteen-in-prediction": ([[14, 3, 9, 3, 9, 2, 6]], [lesion]),
        "one-slice": ([[1, 3, 9, 3, 9, 2, 3]], [[1, 3, 9, 3, 8, 2, 3]]),
    }
    cases = [
        case(f"lesion-{name}", volume(shape, p), volume(shape, r), TASK_1)
        for name, (p, r) in pairs.items()
    ]
    cases.append(case("lesion-255", volume(shape, [lesion, [255, 0, 1, 0, 1, 0, 1]]),
                      volume(shape, [lesion]), TASK_1))  # fmt: skip
    for value in (256, 257, 512, -1):
        more = volume(shape, [lesion, [value, 0, 2, 0, 2, 0, 2]], dtype="int16")
        cases.append(case(f"lesion-{value}", more, volume(shape, [lesion]), TASK_1))
    for seed in range(8):
        rng = np.random.default_rng(100 + seed)
        files = []
        for _ in range(2):
            starts = rng.integers(0, (8, 8, 4), (3, 3))
            files.append([box(1, start, start + rng.integers(1, 6, 3)) for start in starts])
        pair = (volume(shape, boxes) for boxes in files)
        cases.append(case(f"lesion-random-{seed}", *pair, TASK_1))
    return cases


def casts() -> list[Case]:
    """Return values that 8 bits turn into others, and fractions."""
    shape = (12, 12, 6)
    liver = [1, 2, 8, 2, 8, 1, 5]
    both = ("flare22 none", "flare23 0.2")
    cases = []
    for dtype, values in {
        "uint8": (200, 255, 129),
        "int16": (257, 256, 513, -255, -56),
        "float32": (1.9, 0.99, 257.5, -0.5, 2.999),
        "float64": (1.0000001, 3e9, 1e300, -1e300),
    }.items():
        for value in values:
            boxes = [liver, [value, 2, 8, 2, 5, 1, 5], [2, 9, 12, 9, 12, 0, 4]]
            p, r = volume(shape, boxes, dtype=dtype), volume(shape, [liver, boxes[2]])
            cases.append(case(f"cast-{dtype}-{value}", p, r, both))
    odd = volume(shape, [liver, [258, 9, 12, 9, 12, 0, 4]], dtype="int16")
    plain = volume(shape, [liver, [2, 9, 12, 9, 11, 0, 4]])
    cases.append(case("cast-in-reference", plain, odd, both))
    nan = volume(shape, [liver, ["nan", 2, 4, 2, 4, 1, 5]], dtype="float32")
    cases.append(case("cast-nan", nan, volume(shape, [liver]), both))
    return cases


def thresholds() -> list[Case]:
    """Return DSC at, just below and just above 0.1 and 0.2, with all surfaces in tolerance."""
    shape = (24, 12, 8)
    cases = []
    # Bars of ten voxels a step in x: n and n steps, k in common: DSC = k / n.
    for label in (4, 9):
        for n, k in ((10, 1), (10, 2), (11, 1), (11, 2), (9, 1), (9, 2), (5, 1), (6, 1)):
            files = [[label, 0, n, 2, 4, 1, 6]], [[label, n - k, 2 * n - k, 2, 4, 1, 6]]
            pair = (volume(shape, boxes) for boxes in files)
            cases.append(case(f"threshold-{label}-{k}-of-{n}", *pair, THRESHOLDS))
    return cases


def shapes() -> list[Case]:
    """Return files of two shapes: scored by the scripts that get away with it."""
    liver, aorta = [1, 2, 6, 2, 6, 1, 4], [5, 7, 9, 7, 9, 1, 4]
    enough = [5, 7, 9, 7, 9, 2, 6]
    high, low, wide = (10, 10, 8), (10, 10, 5), (12, 10, 8)
    all_rules = (*ORGANS, "flare22 0.2")
    files = {
        "liver": (volume(low, [liver]), volume(high, [liver])),
        "empty": (volume(low, []), volume(high, [])),
        "liver-in-one": (volume(low, [liver]), volume(high, [aorta])),
        "aorta-within": (volume(low, [aorta]), volume(high, [aorta])),
        "aorta-taller": (volume(high, [[5, 7, 9, 7, 9, 0, 8]]), volume(low, [aorta])),
        "aorta-cut": (volume(low, [aorta]), volume(high, [[5, 7, 9, 7, 9, 2, 7]])),
        "aorta-just-enough": (volume(low, [[5, 7, 9, 7, 9, 2, 5]]), volume(high, [enough])),
        "aorta-wide": (volume(wide, [aorta]), volume(high, [aorta])),
        "aorta-outside": (volume(high, [[5, 7, 9, 7, 9, 6, 8]]), volume(low, [aorta])),
    }
    cases = [case(f"shape-{name}", *pair, all_rules) for name, pair in files.items()]
    lesion, alien = [1, 2, 6, 2, 6, 1, 4], [3, 0, 2, 0, 2, 0, 2]
    for name, predicted, true in (
        ("both", [lesion], [lesion]),
        ("alien", [lesion, alien], [lesion]),
        ("missed", [], [lesion]),
        ("empty", [], []),
    ):
        pair = volume(low, predicted), volume(high, true)
        cases.append(case(f"shape-lesion-{name}", *pair, TASK_1[:1]))
    return cases


def folders() -> list[Case]:
    """Return cases that are in one folder only."""
    liver = volume((8, 8, 6), [[1, 2, 6, 2, 6, 1, 4]])
    every = ("flare22 none", "flare23 0.2", "flare24-task1 0.2")
    return [
        case("folder-no-prediction", None, liver, every),
        case("folder-no-reference", liver, None, every),
    ]


def rounding() -> list[Case]:
    """Return DSC that end in 5 at the fifth decimal: c common voxels of 20000 and 20000."""
    cases = []
    slab, row = 1000, 40
    for common in (13579, 10001, 7777, 15555, 4999, 19999, 12345, 8643):
        boxes = _filled(common, slab, row, z=0) + _filled(20000 - common, slab, row, z=20)
        reference = [[1, 0, 40, 0, 25, 0, 20]]
        pair = volume((40, 25, 41), boxes), volume((40, 25, 41), reference)
        cases.append(case(f"rounding-{common}", *pair, ("flare23 0.2",), zooms=[1, 1, 1]))
    return cases


def headers() -> list[Case]:
    """Return files whose place, unit or sform no script looks at."""
    shape = (10, 10, 6)
    p, r = [[1, 2, 7, 2, 7, 1, 5]], [[1, 3, 7, 2, 7, 1, 5]]
    return [
        case("header-moved", volume(shape, p, origin=[50, 0, 0]), volume(shape, r), ORGANS),
        case("header-flipped", volume(shape, p, flip=True), volume(shape, r), ORGANS),
        case(
            "header-meter", volume(shape, p, unit="meter"), volume(shape, r, unit="meter"), ORGANS
        ),
        case("header-zooms", volume(shape, p, zooms=[5, 5, 5]), volume(shape, r), ORGANS),
    ]


def box(value: float, start: Any, stop: Any) -> list[float]:
    """Return a box from two corners."""
    return [value, *(int(edge) for pair in zip(start, stop, strict=True) for edge in pair)]


def _filled(count: int, slab: int, row: int, *, z: int) -> list[list[float]]:
    """Return boxes of label 1 that hold so many voxels, from slice z on."""
    slices, rest = divmod(count, slab)
    rows, single = divmod(rest, row)
    boxes = [[1, 0, row, 0, slab // row, z, z + slices]]
    boxes.append([1, 0, row, 0, rows, z + slices, z + slices + 1])
    boxes.append([1, 0, single, rows, rows + 1, z + slices, z + slices + 1])
    return [each for each in boxes if each[2] and each[4] > each[3] and each[6] > each[5]]
