"""One phantom case: a patient drawn by formula, scanned, and labeled three ways."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io._phantom_anatomy import ORGAN_NAMES, TUMOR, draw_anatomy
from flare_io._phantom_centers import Center, center_of
from flare_io._phantom_errors import ErrorModel, PseudoLabels, Scene, draw_pseudo_labels
from flare_io._phantom_frame import draw_frame
from flare_io._phantom_intensity import Phase, Scanner, draw_materials, finish_image
from flare_io._phantom_presets import PhantomPreset, phantom_preset, preset_grid
from flare_io._phantom_raster import Patient, Raster, rasterize
from flare_io._phantom_tumors import draw_cysts, draw_tumors
from flare_io.geometry import Geometry
from flare_io.volume import Volume

__all__ = ["Phantom", "draw_phantom"]

_STREAK_SHARE = 0.05


@dataclass(frozen=True, eq=False)
class Phantom:
    """One case of the phantom.

    Parameters
    ----------
    image : Volume
        CT, int16 HU, canonical axes.
    truth : Volume
        All drawn classes, uint8, FLARE 2023 ids; without a left kidney in the preset both kidneys
        are 2.
    partial : Volume or None
        What the center annotated; None for an unlabeled case.
    annotated : frozenset of int or None
        K, the classes that the center looked for, of those the preset draws; None for an unlabeled
        case.
    pseudo : mapping
        Pseudo-label sets ``"A"`` and ``"B"``, organs only; empty where the preset makes none.
    record : mapping
        The manifest's row, ready for JSON.
    """

    image: Volume
    truth: Volume
    partial: Volume | None
    annotated: frozenset[int] | None
    pseudo: Mapping[str, Volume]
    record: Mapping[str, Any]


def draw_phantom(
    *,
    seed: int,
    index: int,
    preset: str,
    spacing_mm: tuple[float, float, float] | None = None,
    shape: tuple[int, int, int] | None = None,
    errors: ErrorModel | None = None,
) -> Phantom:
    """Draw one case, a pure function of its arguments.

    Parameters
    ----------
    seed : int
        Seed of the data set, >= 0.
    index : int
        Number of the case, >= 0. Patient and center depend on ``seed`` and ``index`` only, so
        every preset shows the same patient.
    preset : str
        ``"unit"``, ``"mini"``, ``"small"``, ``"h200"`` or ``"stress"``.
    spacing_mm, shape : (3,) numbers, optional
        Another grid over the same field of view: with one of them the other follows, with both the
        field changes around its center.
    errors : ErrorModel, optional
        Knobs of the pseudo-label sets.

    Returns
    -------
    Phantom
        The case.

    Raises
    ------
    ValueError
        If the preset is unknown, or a number is out of range.

    Notes
    -----
    About 0.3 s at ``mini`` and 0.7 s at ``small`` on one core.

    Examples
    --------
    >>> case = draw_phantom(seed=0, index=0, preset="unit")
    >>> case.image.shape, sorted(case.annotated), sorted(case.pseudo)
    ((16, 24, 24), [1, 2, 3, 11], ['A', 'B'])
    """
    if seed < 0 or index < 0:
        raise ValueError(f"seed and index must be >= 0, got {seed} and {index}")
    chosen = phantom_preset(preset)
    center = center_of(index)
    streams = np.random.SeedSequence(seed, spawn_key=(index,)).spawn(6)
    patient, phase = _draw_patient(np.random.default_rng(streams[0]), center)
    scanner = _draw_scanner(np.random.default_rng(streams[1]), center)
    geometry, shape = _grid(chosen, index, center, spacing_mm, shape)
    raster = rasterize(patient, geometry, shape, supersample=chosen.supersample)
    image = finish_image(
        raster.hu,
        scanner=scanner,
        spacing_mm=geometry.spacing_mm,
        rng=np.random.default_rng(streams[2]),
    )
    pseudo: dict[str, PseudoLabels] = {}
    if chosen.pseudo:
        scene = Scene(
            image=image,
            organs=raster.organs,
            tumors=raster.lesions > 0,
            spacing_mm=geometry.spacing_mm,
            slice_thickness_mm=scanner.slice_thickness_mm,
            values=patient.values,
        )
        pseudo = draw_pseudo_labels(scene, errors=errors or ErrorModel(), seeds=tuple(streams[3:]))
    complete = _complete_tumors(center, patient)
    record = {
        "seed": seed,
        "index": index,
        "preset": preset,
        "center": center.name,
        **_annotation(chosen, center, complete=all(complete)),
        "shape": list(shape),
        "spacing_mm": list(geometry.spacing_mm),
        "slice_thickness_mm": scanner.slice_thickness_mm,
        "noise_hu": round(scanner.noise_hu, 1),
        "phase": {"name": phase.name, "latent": round(phase.latent, 3)},
        "tumors": _tumor_rows(patient, raster, geometry, complete),
        "cysts": len(patient.cysts),
        "errors": {name: _drawn_log(chosen, each.log) for name, each in pseudo.items()},
    }
    annotated = None if center.annotated is None else _drawn(chosen, center.annotated)
    partial = None
    if annotated is not None:
        seen = np.asarray([False, *complete])[raster.lesions]
        # Organs are annotated as they are under a tumor that nobody looked for.
        found = _label_map(chosen, raster.organs, seen & (TUMOR in annotated))
        partial = np.where(np.isin(found, sorted(annotated)), found, 0).astype(np.uint8)
    nothing = np.zeros(shape, bool)
    return Phantom(
        image=Volume(image, geometry),
        truth=Volume(_label_map(chosen, raster.organs, raster.lesions > 0), geometry),
        partial=None if partial is None else Volume(partial, geometry),
        annotated=annotated,
        pseudo={
            name: Volume(_label_map(chosen, each.organs, nothing), geometry)
            for name, each in pseudo.items()
        },
        record=record,
    )


def _draw_patient(rng: np.random.Generator, center: Center) -> tuple[Patient, Phase]:
    frame = draw_frame(rng)
    wall, parts = draw_anatomy(rng)
    phase, values = draw_materials(rng, native_share=center.native_share)
    cysts = draw_cysts(rng, parts)
    tumors = draw_tumors(rng, parts, values, favorite=center.tumor_host)
    return Patient(frame, wall, tuple(parts), values, tuple(cysts), tuple(tumors)), phase


def _draw_scanner(rng: np.random.Generator, center: Center) -> Scanner:
    return Scanner(
        noise_hu=float(np.clip(center.noise_hu * rng.uniform(0.8, 1.2), 12, 30)),
        grain_voxels=center.grain_voxels,
        slice_thickness_mm=float(rng.choice([1.0, 2.5, 5.0])),
        streaks=float(rng.uniform(0.02, 0.05)) if rng.uniform() < _STREAK_SHARE else 0.0,
    )


def _grid(
    preset: PhantomPreset,
    index: int,
    center: Center,
    spacing_mm: tuple[float, float, float] | None,
    shape: tuple[int, int, int] | None,
) -> tuple[Geometry, tuple[int, int, int]]:
    """Return the asked grid around the middle of the center's field of view."""
    own_shape, own_spacing = preset_grid(preset, index)
    extent = np.multiply(own_shape, own_spacing)
    if shape is None:
        wanted = own_spacing if spacing_mm is None else spacing_mm
        if min(wanted) <= 0:
            raise ValueError(f"spacing_mm must be positive, got {wanted}")
        z, y, x = (max(1, round(v)) for v in (extent / np.asarray(wanted)).tolist())
        shape = (z, y, x)
    if min(shape) < 1:
        raise ValueError(f"shape must be positive, got {shape}")
    if spacing_mm is None:
        dz, dy, dx = (extent / np.asarray(shape)).tolist()
        spacing_mm = (dz, dy, dx)
    middle = np.asarray([center.offset_mm, 0.0, 0.0])
    z0, y0, x0 = (middle - (np.asarray(shape) - 1) / 2 * np.asarray(spacing_mm)).tolist()
    return Geometry(spacing_mm, origin=(z0, y0, x0)), shape


def _drawn(preset: PhantomPreset, labels: frozenset[int]) -> frozenset[int]:
    """Return those labels that the preset draws; 13 becomes 2 where kidneys are merged."""
    merged = {2 if label == 13 and 13 not in preset.classes else label for label in labels}
    return frozenset(merged & preset.classes)


def _drawn_log(preset: PhantomPreset, log: Mapping[str, Any]) -> dict[str, Any]:
    """Return the log of errors without organs that the preset does not draw."""
    drawn: dict[str, Any] = {}
    for kind, entry in log.items():
        if isinstance(entry, str):
            drawn[kind] = entry
        elif labels := _drawn(preset, frozenset(entry)):
            drawn[kind] = sorted(labels)
    return drawn


def _label_map(
    preset: PhantomPreset, organs: NDArray[np.uint8], tumors: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    lookup = np.zeros(max(ORGAN_NAMES) + 1, np.uint8)
    for label in ORGAN_NAMES:
        (lookup[label],) = _drawn(preset, frozenset({label})) or {0}
    labels: NDArray[np.uint8] = lookup[organs]
    if TUMOR in preset.classes:
        labels[tumors] = TUMOR
    return labels


def _complete_tumors(center: Center, patient: Patient) -> list[bool]:
    """Whether the center's annotators would have labeled each tumor."""
    if center.annotated is None or TUMOR not in center.annotated:
        return [False for _ in patient.tumors]
    return [center.tumor_host in (None, tumor.host) for tumor in patient.tumors]


def _annotation(preset: PhantomPreset, center: Center, *, complete: bool) -> dict[str, Any]:
    """K as the center states it, and the part of it that its labels keep.

    A center that collects one host's tumors states that it annotates tumors, but leaves those of
    other hosts unlabeled: then the label is complete for its organs only.
    """
    if center.annotated is None:
        return {"K": None, "K_truth": None}
    stated = _drawn(preset, center.annotated)
    kept = stated if complete else stated - {TUMOR}
    return {"K": sorted(stated), "K_truth": sorted(kept)}


def _tumor_rows(
    patient: Patient, raster: Raster, geometry: Geometry, annotated: list[bool]
) -> list[dict[str, Any]]:
    counts = np.bincount(raster.lesions.ravel(), minlength=len(patient.tumors) + 1)
    return [
        {
            **tumor.record(),
            "volume_ml": round(float(counts[number]) * geometry.voxel_volume_mm3 / 1000, 2),
            "annotated": annotated[number - 1],
        }
        for number, tumor in enumerate(patient.tumors, start=1)
    ]
