"""What is known of a model that has been read: its description, its weights' hash, its overlays."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flare_infer.spec import ModelSpec
from flare_io.errors import LabelError
from flare_io.labels import LabelTable

__all__ = ["FORMAT_VERSION", "WEIGHTS_FILE", "Model", "Overlay"]

FORMAT_VERSION = 2
WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model folder that has been read and verified.

    Parameters
    ----------
    folder : Path
    spec : ModelSpec
    members : int
        Nets in the ensemble.
    parameters, macs : int
        Weights of one member, and its multiply-accumulates for one window.
    weights_sha256 : str
        Of the weights file.
    overlays : tuple of Overlay
        Models that are painted over this one, in this order.

    Raises
    ------
    LabelError
        If an overlay gives a name to another label than this model does.
    """

    folder: Path
    spec: ModelSpec
    members: int
    parameters: int
    macs: int
    weights_sha256: str
    overlays: tuple[Overlay, ...] = ()

    def __post_init__(self) -> None:
        _ = self.labels

    @property
    def labels(self) -> LabelTable:
        """The classes it can write, those of its overlays included."""
        own = self.spec.labels
        classes = {each.id: each for each in own.classes}
        for overlay in self.overlays:
            for label in overlay.labels:
                added = overlay.model.spec.labels[label]
                there = classes.setdefault(label, added)
                if there.name != added.name:
                    raise LabelError(
                        f"overlay {overlay.name}",
                        f"label {label} must mean {there.name!r} as in the model below",
                        found=repr(added.name),
                        kind="labels",
                    )
        return LabelTable(own.name, tuple(classes.values()))

    @property
    def layers(self) -> tuple[tuple[Model, tuple[int, ...] | None], ...]:
        """The model and its overlays, each with the labels it paints; None: all there are."""
        over = ((overlay.model, overlay.labels) for overlay in self.overlays)
        return ((self, None), *over)

    @property
    def weights_file(self) -> Path:
        """Where the tensors are."""
        return self.folder / WEIGHTS_FILE

    def to_dict(self) -> dict[str, Any]:
        """Return what ``model.json`` holds."""
        return {
            "flare_model": FORMAT_VERSION,
            **self.spec.to_dict(),
            "axes": self.spec.preprocessing.axes,
            "mirror_axes": list(self.spec.windows.mirror_axes),
            "members": self.members,
            "parameters": self.parameters,
            "macs": self.macs,
            "weights_sha256": self.weights_sha256,
            "overlays": [overlay.to_dict() for overlay in self.overlays],
        }


@dataclass(frozen=True, kw_only=True)
class Overlay:
    """A model whose labels are painted over those of another.

    Parameters
    ----------
    name : str
        Of its folder under ``overlays``.
    labels : tuple of int
        What is painted; its other labels are dropped.
    sha256 : str
        Of its ``model.json``, which holds the SHA-256 of its weights.
    model : Model
        Without overlays of its own.

    Raises
    ------
    ValueError
        If it has no such label, or overlays of its own.
    """

    name: str
    labels: tuple[int, ...]
    sha256: str
    model: Model

    def __post_init__(self) -> None:
        known = self.model.spec.labels.ids
        unknown = sorted(set(self.labels) - set(known))
        if unknown or not self.labels:
            raise ValueError(
                f"overlay {self.name} must paint labels of its model {list(known)}, "
                f"got {unknown or 'none'}"
            )
        if self.model.overlays:
            raise ValueError(f"overlay {self.name} must have no overlays of its own")

    def to_dict(self) -> dict[str, Any]:
        """Return its entry in ``model.json``."""
        return {"name": self.name, "labels": list(self.labels), "sha256": self.sha256}
