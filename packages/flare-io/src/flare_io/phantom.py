"""Abdominal CT by formula: invented patients on any grid, with truth and imperfect labels.

A patient is a continuous model of 13 organs and their surroundings, a pure function of (seed,
index); a preset adds the grid and the classes. Every case belongs to one of nine centers, each
with its own scanner and its own K, the classes that its annotators looked for. Two pseudo-label
sets, A and B, carry systematic errors. Label ids are FLARE 2023's. The phantom simulates neither
X-rays nor disease, and proves nothing about patients.

Examples
--------
>>> case = draw_phantom(seed=7, index=3, preset="unit")
>>> case.annotated is None, case.record["center"]
(True, 'C7')
"""

from flare_io._phantom_dataset import write_phantom_dataset
from flare_io._phantom_drawing import Phantom, draw_phantom
from flare_io._phantom_errors import ErrorModel
from flare_io._phantom_presets import PhantomPreset, phantom_preset

__all__ = [
    "ErrorModel",
    "Phantom",
    "PhantomPreset",
    "draw_phantom",
    "phantom_preset",
    "write_phantom_dataset",
]
