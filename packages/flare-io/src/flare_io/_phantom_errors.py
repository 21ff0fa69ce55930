"""Two imperfect sets of organ labels whose errors depend on what the picture shows.

Set A is "smooth": rounded boundaries, missing tips, and it overlooks small organs that hardly
differ from their surroundings. Set B is "sharp": tight boundaries, it skips what looks unlike the
rest of an organ, loses lower poles in thick slices, takes duodenum for stomach where they touch,
and adds islands. Errors of this kind repeat from case to case, so a network learns them; random
ones would average out.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from flare_io._phantom_anatomy import ORGAN_NAMES

__all__ = ["ErrorModel", "PseudoLabels", "Scene", "draw_pseudo_labels"]

# Organs small enough to be overlooked whole, and how much contrast (HU) it takes to see them.
# Adrenals lie in fat, so that what touches them differs little; with these values each is missed
# in about a third of cases.
_VISIBLE_HU = {7: 10.0, 8: 10.0, 9: 48.0}
# Rounded less by set A, else nothing would be left of them on a coarse grid.
_THIN = (5, 6, 7, 8, 9, 10)
# Share lost at the upper end by A, at the lower end by B. Fat livers and thick slices lose most.
_A_TIPS = {5: 0.33, 6: 0.33, 3: 0.22, 11: 0.28, 10: 0.25}
_B_POLES = {2: 0.38, 13: 0.38, 3: 0.34, 1: 0.24, 6: 0.25, 12: 0.25}


@dataclass(frozen=True, kw_only=True)
class ErrorModel:
    """How wrong the pseudo-label sets are.

    Parameters
    ----------
    omission : float
        Scale of missing tips, poles, overlooked organs and skipped contents; 0 leaves them out, 1
        is calibrated.
    jitter : float
        Boundary error that does not depend on content: spread of a smooth random shift of the
        boundary, in voxels.
    confusion : float
        Scale of mix-ups: duodenum and stomach, left and right kidney, islands.
    correlation : float
        0..1: share of set B's errors that repeat set A's, both boundary jitter and missing tips.

    Examples
    --------
    >>> ErrorModel(omission=0.0, jitter=1.0).confusion
    1.0
    """

    omission: float = 1.0
    jitter: float = 0.15
    confusion: float = 1.0
    correlation: float = 0.25

    def __post_init__(self) -> None:
        for name in ("omission", "jitter", "confusion"):
            if not 0 <= getattr(self, name) <= 10:
                raise ValueError(f"{name} must be within 0..10, got {getattr(self, name)}")
        if not 0 <= self.correlation <= 1:
            raise ValueError(f"correlation must be within 0..1, got {self.correlation}")


@dataclass(frozen=True, eq=False)
class Scene:
    """What an annotating network sees of a case, and what is there.

    Parameters
    ----------
    image : (z, y, x) int16 array
        CT in HU.
    organs : (z, y, x) uint8 array
        True organs with separate kidneys, tumors not regarded.
    tumors : (z, y, x) bool array
        Tumor voxels.
    spacing_mm : (3,) float
        Voxel size.
    slice_thickness_mm : float
        Of the scanner.
    values : dict
        HU of the materials.
    """

    image: NDArray[np.int16]
    organs: NDArray[np.uint8]
    tumors: NDArray[np.bool_]
    spacing_mm: tuple[float, float, float]
    slice_thickness_mm: float
    values: dict[str, float]


@dataclass(frozen=True, eq=False)
class PseudoLabels:
    """One set's label map of a case and the log of its errors."""

    organs: NDArray[np.uint8]
    log: dict[str, Any]


def draw_pseudo_labels(
    scene: Scene, *, errors: ErrorModel, seeds: tuple[np.random.SeedSequence, ...]
) -> dict[str, PseudoLabels]:
    """Draw the sets ``"A"`` and ``"B"`` of a case.

    Parameters
    ----------
    scene : Scene
        The case.
    errors : ErrorModel
        Knobs.
    seeds : three numpy.random.SeedSequence
        Of set A, set B, and of what both share.
    """
    rng_a, rng_b, shared = (np.random.default_rng(seed) for seed in seeds)
    field = _jitter_field(shared, scene)
    own = _jitter_field(rng_b, scene)
    rho = errors.correlation
    repeats = bool(shared.uniform() < rho)
    a = _Annotator(scene, errors, rng_a, field, {})
    b = _Annotator(scene, errors, rng_b, rho * field + np.sqrt(1 - rho**2) * own, {})
    return {
        "A": PseudoLabels(_draw_a(a), a.log),
        "B": PseudoLabels(_draw_b(b, repeats), b.log),
    }


@dataclass(frozen=True, eq=False)
class _Annotator:
    scene: Scene
    errors: ErrorModel
    rng: np.random.Generator
    field: NDArray[np.float32]
    log: dict[str, Any]

    def note(self, kind: str, label: int) -> None:
        """Log an error of an organ."""
        self.log.setdefault(kind, []).append(label)


def _draw_a(a: _Annotator) -> NDArray[np.uint8]:
    scene = a.scene
    labels = _without_tumors(a)

    def spoil(label: int, mask: NDArray[np.bool_], box: tuple[slice, ...]) -> NDArray[np.bool_]:
        wide = _blurred(mask, scene, sigma_mm=3.0 if label in _THIN else 5.6)
        kept = wide + _push(a, box, slope=0.4) > 0.5
        if label in _VISIBLE_HU and a.errors.omission > 0:
            contrast = _contrast_to_neighbors(scene, label, mask, box)
            if contrast < _VISIBLE_HU[label] * min(a.errors.omission, 2.0):
                a.note("overlooked", label)
                return np.zeros_like(kept)
        share = _A_TIPS.get(label, 0.0) * a.errors.omission
        if share:
            a.note("missing top", label)
            kept &= _not_end(mask, share, upper=True)
        if label == 4 and a.errors.omission > 0:
            a.note("missing tail", label)
            kept &= _not_left_end(mask, 0.33 * a.errors.omission)
        return kept

    return _respoiled(labels, spoil)


def _draw_b(b: _Annotator, repeats: bool) -> NDArray[np.uint8]:
    scene, errors = b.scene, b.errors
    labels = _without_tumors(b)
    thick = scene.slice_thickness_mm / 5.0

    def spoil(label: int, mask: NDArray[np.bool_], box: tuple[slice, ...]) -> NDArray[np.bool_]:
        tight = _blurred(mask, scene, sigma_mm=2.5)
        kept = tight + _push(b, box, slope=0.6) > 0.5 + 0.22 * min(errors.omission, 1.5)
        if errors.omission > 0:
            # Within the organ only: at its edge every voxel is a mixture.
            core = ndimage.binary_erosion(mask)
            skipped = core & (_oddness(scene, label, box) > 90 / errors.omission)
            if skipped.any():
                b.note("skipped content", label)
                kept &= ~skipped
        # Thick slices lose whole poles, thin ones a third of that.
        share = _B_POLES.get(label, 0.0) * errors.omission * (0.4 + 0.6 * thick)
        if share:
            b.note("missing bottom", label)
            kept &= _not_end(mask, share, upper=False)
        if repeats and label in _A_TIPS:
            kept &= _not_end(mask, _A_TIPS[label] * errors.omission, upper=True)
        return kept

    result = _respoiled(labels, spoil)
    if errors.confusion > 0:
        _mix_up(b, labels, result)
    return result


def _mix_up(b: _Annotator, labels: NDArray[np.uint8], result: NDArray[np.uint8]) -> None:
    """Take duodenum near stomach for stomach, swap the kidneys, add islands; in place."""
    scene, errors = b.scene, b.errors
    stomach, duodenum = labels == 11, result == 12
    if stomach.any() and duodenum.any():
        distance = ndimage.distance_transform_edt(~stomach, sampling=scene.spacing_mm)
        near = duodenum & (distance < 9.0 * errors.confusion)
        if near.any():
            result[near] = 11
            b.note("taken for stomach", 12)
    if b.rng.uniform() < 0.03 * errors.confusion:
        right, left = result == 2, result == 13
        result[right], result[left] = 13, 2
        b.note("swapped", 2)
    soft = np.flatnonzero((result == 0) & (labels == 0) & (np.abs(scene.image - 40) < 40))
    present = np.flatnonzero(np.bincount(result.ravel(), minlength=14))[1:]
    if soft.size and present.size:
        for _ in range(b.rng.poisson(1.5 * errors.confusion)):
            place = np.unravel_index(int(b.rng.choice(soft)), result.shape)
            label = int(b.rng.choice(present))
            reach = [max(1, round(8.0 / s)) for s in scene.spacing_mm]
            box = tuple(
                slice(max(0, int(p) - r // 2), int(p) + (r + 1) // 2)
                for p, r in zip(place, reach, strict=True)
            )
            result[box][result[box] == 0] = label
            b.note("island", label)


def _without_tumors(annotator: _Annotator) -> NDArray[np.uint8]:
    """Organs with tumors as their host, or, in half of the cases, as background."""
    as_host = bool(annotator.rng.uniform() < 0.5)
    annotator.log["tumor as"] = "host" if as_host else "background"
    labels = annotator.scene.organs.copy()
    if not as_host:
        labels[annotator.scene.tumors] = 0
    return labels


def _respoiled(
    labels: NDArray[np.uint8],
    spoil: Callable[[int, NDArray[np.bool_], tuple[slice, ...]], NDArray[np.bool_]],
) -> NDArray[np.uint8]:
    """Apply ``spoil(label, mask, box)`` to every organ within its box; larger organs give way."""
    result = np.zeros_like(labels)
    boxes = ndimage.find_objects(labels, max_label=max(ORGAN_NAMES))
    sizes = np.bincount(labels.ravel(), minlength=max(ORGAN_NAMES) + 1)
    for label in sorted(ORGAN_NAMES, key=lambda k: -int(sizes[k])):
        found = boxes[label - 1]
        if found is None:
            continue
        box = tuple(
            slice(max(0, s.start - 3), min(n, s.stop + 3))
            for s, n in zip(found, labels.shape, strict=True)
        )
        mask = labels[box] == label
        result[box][spoil(label, mask, box)] = label
    return result


def _blurred(mask: NDArray[np.bool_], scene: Scene, *, sigma_mm: float) -> NDArray[np.float32]:
    # A coarse grid has no boundary to move unless it is softened a little.
    sigma = [max(0.45, sigma_mm / spacing) for spacing in scene.spacing_mm]
    blurred = ndimage.gaussian_filter(mask.astype(np.float32), sigma, mode="nearest", truncate=3)
    return np.asarray(blurred, np.float32)


def _push(annotator: _Annotator, box: tuple[slice, ...], *, slope: float) -> NDArray[np.float32]:
    """Return what jitter adds to a blurred mask that falls by ``slope`` a voxel at the edge."""
    push = np.float32(slope * annotator.errors.jitter) * annotator.field[box]
    # Less than half: a boundary may move, but nothing appears or vanishes far from one.
    return np.asarray(np.clip(push, -0.45, 0.45), np.float32)


def _jitter_field(rng: np.random.Generator, scene: Scene) -> NDArray[np.float32]:
    """Return a smooth random field of unit spread, 3 voxels wide."""
    field = rng.standard_normal(scene.organs.shape, dtype=np.float32)
    field = ndimage.gaussian_filter(field, 1.5, mode="wrap", truncate=3)
    return np.asarray(field / max(float(field.std()), 1e-6), np.float32)


def _contrast_to_neighbors(
    scene: Scene, label: int, mask: NDArray[np.bool_], box: tuple[slice, ...]
) -> float:
    """Difference between an organ's HU and the mean of the soft tissue that touches it."""
    image = scene.image[box]
    shell = ndimage.binary_dilation(mask, iterations=2) & ~mask & (image > -30) & (image < 350)
    if not shell.any():
        return 1e3
    return abs(scene.values[ORGAN_NAMES[label]] - float(image[shell].mean()))


def _oddness(scene: Scene, label: int, box: tuple[slice, ...]) -> NDArray[np.float32]:
    """How far the smoothed picture lies from the organ's usual HU."""
    usual = scene.values[ORGAN_NAMES[label]]
    if label == 11:
        usual = scene.values["stomach fluid"]
    smooth = ndimage.gaussian_filter(scene.image[box].astype(np.float32), 0.7, truncate=3)
    return np.asarray(np.abs(smooth - usual), np.float32)


def _not_end(mask: NDArray[np.bool_], share: float, *, upper: bool) -> NDArray[np.bool_]:
    """All but the upper or lower share of the organ's slices, as a (z, 1, 1) mask."""
    slices = np.flatnonzero(mask.any(axis=(1, 2)))
    first, last = int(slices[0]), int(slices[-1]) + 1
    cut = round(min(share, 0.9) * (last - first))
    z = np.arange(mask.shape[0])
    kept = z < last - cut if upper else z >= first + cut
    return kept[:, None, None]


def _not_left_end(mask: NDArray[np.bool_], share: float) -> NDArray[np.bool_]:
    """All but the share of the organ that lies farthest to the patient's left."""
    columns = np.flatnonzero(mask.any(axis=(0, 1)))
    first, last = int(columns[0]), int(columns[-1]) + 1
    return np.arange(mask.shape[2])[None, None, :] < last - round(min(share, 0.9) * (last - first))
