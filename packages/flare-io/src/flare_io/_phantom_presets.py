"""Grids and classes of the phantom's presets."""

from __future__ import annotations

from dataclasses import dataclass

from flare_io._phantom_anatomy import ORGAN_NAMES, TUMOR

__all__ = ["PRESETS", "PhantomPreset", "phantom_preset", "preset_grid"]

_ALL = frozenset({*ORGAN_NAMES, TUMOR})
_FEW = frozenset({1, 2, 3, 5, 11, TUMOR})


@dataclass(frozen=True, kw_only=True)
class PhantomPreset:
    """A grid, the classes drawn on it, and the size of its data set.

    Parameters
    ----------
    name : str
        Name of the preset.
    shape : (3,) int
        Voxels along (z, y, x).
    spacing_mm : (3,) float
        Voxel size.
    classes : frozenset of int
        FLARE 2023 ids that are drawn as labels. Without 13, both kidneys carry 2.
    train_cases, test_cases : int
        Size of the data set by default.
    supersample : int
        Sub-voxels per axis for partial volume; 1 or 2.
    pseudo : bool
        Whether pseudo-label sets are made.
    """

    name: str
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    classes: frozenset[int] = _ALL
    train_cases: int = 48
    test_cases: int = 24
    supersample: int = 2
    pseudo: bool = True


PRESETS = {
    preset.name: preset
    for preset in (
        PhantomPreset(
            name="unit",
            shape=(16, 24, 24),
            spacing_mm=(18.0, 14.0, 14.0),
            classes=_FEW - {5},
            train_cases=6,
            test_cases=2,
        ),
        PhantomPreset(name="mini", shape=(32, 48, 48), spacing_mm=(9.0, 7.0, 7.0), classes=_FEW),
        PhantomPreset(
            name="small",
            shape=(48, 64, 64),
            spacing_mm=(6.0, 5.0, 5.0),
            train_cases=96,
            test_cases=32,
        ),
        PhantomPreset(
            name="h200",
            shape=(96, 160, 160),
            spacing_mm=(3.0, 2.2, 2.2),
            train_cases=320,
            test_cases=64,
        ),
        PhantomPreset(
            name="stress",
            shape=(200, 512, 512),
            spacing_mm=(2.0, 0.7, 0.7),
            train_cases=0,
            test_cases=8,
            supersample=1,
            pseudo=False,
        ),
    )
}
# Slices and slice distance (mm) of the cases of `stress`, from the shortest to the tallest scan.
_STRESS = (
    (55, 5.0),
    (100, 3.0),
    (150, 2.5),
    (200, 2.0),
    (250, 1.5),
    (334, 1.25),
    (440, 1.0),
    (554, 1.0),
)


def phantom_preset(name: str) -> PhantomPreset:
    """Return a preset by name.

    Raises
    ------
    ValueError
        If there is none of that name.

    Examples
    --------
    >>> phantom_preset("mini").shape
    (32, 48, 48)
    """
    if name not in PRESETS:
        raise ValueError(f"preset must be one of {', '.join(PRESETS)}, got {name!r}")
    return PRESETS[name]


def preset_grid(
    preset: PhantomPreset, index: int
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """Return shape and spacing of a case; in ``stress`` each case has its own height."""
    if preset.name != "stress":
        return preset.shape, preset.spacing_mm
    slices, distance_mm = _STRESS[index % len(_STRESS)]
    return (slices, *preset.shape[1:]), (distance_mm, *preset.spacing_mm[1:])
