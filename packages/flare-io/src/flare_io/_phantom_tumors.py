"""Tumors and the benign cysts that look like them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_io._phantom_anatomy import ORGAN_NAMES
from flare_io._phantom_shapes import Blob, Points, Vector
from flare_io._phantom_trunk import Part

__all__ = ["HEALTHY_SHARE", "Lesion", "draw_cysts", "draw_tumors"]

HEALTHY_SHARE = 0.30
# Hosts and their shares; 0 stands for outside the 13 organs.
_HOSTS = {"liver": 0.40, "kidney": 0.30, "pancreas": 0.10, "stomach": 0.10, "outside": 0.10}
_LABELS = {"liver": (1,), "kidney": (2, 13), "pancreas": (4,), "stomach": (11,), "outside": (0,)}
_LARGEST_MM = {"liver": 35.0, "kidney": 26.0, "pancreas": 18.0, "stomach": 20.0, "outside": 28.0}


@dataclass(frozen=True)
class Lesion:
    """One tumor or cyst.

    Parameters
    ----------
    body : Blob
        Its place and form in the model patient.
    host : str
        ``"liver"``, ``"kidney"``, ``"pancreas"``, ``"stomach"`` or ``"outside"``.
    kind : str
        ``"dark"``, ``"ring"``, ``"bright"`` or ``"cyst"``.
    hu : float
        Mean HU; of the core for a ring.
    rim_hu : float
        Mean HU of the rim; equal to ``hu`` but for a ring.
    """

    body: Blob
    host: str
    kind: str
    hu: float
    rim_hu: float

    def record(self) -> dict[str, Any]:
        """Return the row of the manifest."""
        return {
            "host": self.host,
            "kind": self.kind,
            "radius_mm": round(self.body.radius_mm, 1),
            "hu": round(self.hu, 1),
        }


def draw_tumors(
    rng: np.random.Generator,
    parts: list[Part],
    values: dict[str, float],
    *,
    favorite: str | None = None,
    hosts: tuple[str, ...] = tuple(_HOSTS),
) -> list[Lesion]:
    """Draw 0 to 3 tumors of radius 8 to 35 mm; three cases in ten are healthy.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the draw.
    parts : list of Part
        The anatomy, in which hosts are looked up.
    values : dict
        HU of the materials.
    favorite : str, optional
        Host of eight tumors in ten, as in a center that collects one disease.
    hosts : tuple of str
        Allowed hosts.
    """
    count = 0 if rng.uniform() < HEALTHY_SHARE else int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
    shares = np.asarray([_HOSTS[host] for host in hosts])
    lesions = []
    for _ in range(count):
        host = str(rng.choice(hosts, p=shares / shares.sum()))
        if rng.uniform() < 0.8 and favorite in hosts:
            host = str(favorite)
        label = int(rng.choice(_LABELS[host]))
        # Log-uniform: small ones are common.
        radius = float(np.exp(rng.uniform(np.log(8.0), np.log(_LARGEST_MM[host]))))
        center = _place(rng, parts, label)
        around = values[ORGAN_NAMES[label]] if label else 30.0
        contrast = float(rng.uniform(35, 70))
        kind = str(rng.choice(["dark", "ring", "bright"], p=[0.8, 0.1, 0.1]))
        hu = around + contrast if kind == "bright" else around - contrast
        if label == 0:
            # Soft tissue amid fat, whatever its kind.
            hu = around + 0.4 * contrast
        rim = around + 40.0 if kind == "ring" else hu
        lesions.append(Lesion(_body(rng, center, radius), host, kind, hu, rim))
    return lesions


def draw_cysts(rng: np.random.Generator, parts: list[Part]) -> list[Lesion]:
    """Draw 0 to 2 cysts of water in liver or kidneys: dark like a tumor, and no tumor."""
    cysts = []
    for _ in range(int(rng.choice([0, 1, 2], p=[0.6, 0.25, 0.15]))):
        host = str(rng.choice(["liver", "kidney"]))
        center = _place(rng, parts, int(rng.choice(_LABELS[host])))
        hu = float(rng.uniform(5, 15))
        body = Blob(center, float(rng.uniform(6, 14)))
        cysts.append(Lesion(body, host, "cyst", hu, hu))
    return cysts


def _body(rng: np.random.Generator, center: Vector, radius_mm: float) -> Blob:
    """Return an irregular ball: six slow waves, together up to a good third of the radius."""
    waves = []
    for _ in range(6):
        k = rng.normal(0, 1.6, 3).tolist()
        amplitude, phase = float(rng.uniform(0.02, 0.08)), float(rng.uniform(0, 2 * np.pi))
        waves.append((amplitude, k[0], k[1], k[2], phase))
    return Blob(center, radius_mm, tuple(waves))


def _place(rng: np.random.Generator, parts: list[Part], label: int) -> Vector:
    """Return a point well inside the organ, or for label 0 one among the bowel loops."""
    if label == 0:
        z, y, x = rng.uniform((-110, -45, -70), (-55, 15, 70)).tolist()
        return z, y, x
    shape = next(part.shape for part in parts if part.label == label)
    low, high = shape.box()
    candidates = rng.uniform(low, high, (400, 3))
    levels = shape.level(_columns(candidates))
    deepest = float(levels.min())
    inside = candidates[levels < 0.3 * deepest]
    z, y, x = inside[0].tolist()
    return z, y, x


def _columns(points: NDArray[np.float64]) -> Points:
    z, y, x = points.astype(np.float32).T
    return z, y, x
