"""Find the ranges for int8 from cases, and how far its labels are from float32's."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.backends.choice import Choice, choose
from flare_infer.backends.warm import WarmNets, require_openvino
from flare_infer.calibration import Calibration, write_calibration
from flare_infer.channels import Image
from flare_infer.layered_model import Model
from flare_infer.model import read_model
from flare_infer.predictor import Predictor
from flare_infer.sliding import Net
from flare_infer.spec import Mode
from flare_io.policy import ReadPolicy

__all__ = ["Agreement", "calibrate"]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """How far the labels in int8 are from those in float32, on the cases of the calibration.

    Parameters
    ----------
    cases, windows : int
        What was looked at.
    failed : tuple of str
        Why cases were left out, one text each.
    differing : float
        Share of voxels with another label.
    dsc : mapping of str to float
        By class, over all cases together; classes that neither shows are left out.
    """

    cases: int
    windows: int
    differing: float
    dsc: Mapping[str, float]
    failed: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict."""
        return {
            "cases": self.cases,
            "windows": self.windows,
            "failed": list(self.failed),
            "differing": self.differing,
            "dsc": dict(self.dsc),
        }


def calibrate(
    folder: os.PathLike[str] | str, images: Iterable[Image], *, policy: ReadPolicy | None = None
) -> Agreement:
    """Write the calibration of a model and of its overlays into their folders.

    Parameters
    ----------
    folder : path
        Of the model.
    images : iterable
        Cases like those that the model is for, one or more: what `Predictor.predict` takes. One
        that fails is left out.
    policy : ReadPolicy, optional
        For paths.

    Returns
    -------
    Agreement
        Of the labels in int8 with those in float32 on the same cases. Whether the difference
        matters is for somebody with a truth to say.

    Raises
    ------
    ModelError
        If the folder is not a whole model.
    ValueError
        If there is no case. If all fail, what the first one raised.
    MissingError
        If OpenVINO is not there, or the processor's int8.

    Notes
    -----
    Cost: each case twice in fast mode, in float32 and in int8. The range of a convolution is the
    mean over windows of the least and of the largest number that it is given; numbers beyond are
    cut off. A calibration that was there stays until all cases have been seen.
    """
    model = read_model(folder)
    watched = _WatchedNets(model, choose("cpu", backend="openvino", precision="float32"))
    outcomes = list(Predictor(model, watched, "fast").predict_many(images, policy=policy))
    errors = [outcome.error for outcome in outcomes if outcome.error is not None]
    expected = [(each.image, each.labels.array) for each in outcomes if each.labels is not None]
    if not outcomes:
        raise ValueError("images must hold at least one case")
    if not expected:
        raise errors[0]
    for (layer, _), nets in zip(model.layers, watched.observed, strict=True):
        write_calibration(layer, _calibration(layer, nets))
    after = Predictor.load(folder, device="cpu", precision="int8", mode="fast")
    counts = _Counts(max(model.labels.ids) + 1)
    for image, labels in expected:
        counts.add(labels, after.predict(image, policy=policy).array)
    names = {each.id: each.name for each in model.labels.classes}
    return Agreement(
        cases=len(expected),
        windows=sum(net.windows for nets in watched.observed for net in nets),
        differing=counts.differing,
        dsc={names[label]: dsc for label, dsc in counts.dsc().items() if label in names},
        failed=tuple(str(error) for error in errors),
    )


class _WatchedNets(WarmNets):
    """Nets in float32 that remember what their convolutions were given."""

    def __init__(self, model: Model, choice: Choice) -> None:
        super().__init__(model, choice)
        require_openvino()
        from flare_infer.backends.openvino import observe, require_int8

        require_int8()
        self.observed = tuple(observe(layer) for layer, _ in model.layers)

    def by_layer(self, mode: Mode | None) -> tuple[tuple[Net, ...], ...]:
        """Return the members of each layer."""
        return self.observed


class _Counts:
    """Voxels of each label in two label maps, and in both, over cases."""

    def __init__(self, labels: int) -> None:
        self._table = np.zeros((labels, labels), dtype=np.int64)

    def add(self, one: NDArray[Any], other: NDArray[Any]) -> None:
        """Count a case."""
        n = len(self._table)
        for a, b in zip(one, other, strict=True):
            pairs = a.astype(np.intp) * n + b
            self._table += np.bincount(pairs.ravel(), minlength=n * n).reshape(n, n)

    @property
    def differing(self) -> float:
        """Share of voxels whose labels differ."""
        return float(1 - self._table.trace() / self._table.sum())

    def dsc(self) -> dict[int, float]:
        """Return DSC by label, background left out."""
        sizes = self._table.sum(axis=0) + self._table.sum(axis=1)
        return {
            label: float(2 * self._table[label, label] / sizes[label])
            for label in range(1, len(sizes))
            if sizes[label]
        }


def _calibration(model: Model, nets: tuple[Any, ...]) -> Calibration:
    return Calibration(
        weights_sha256=model.weights_sha256,
        windows=nets[0].windows,
        ranges=tuple(net.ranges() for net in nets),
    )
