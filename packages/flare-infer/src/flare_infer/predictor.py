"""A model that stays warm: volumes in, label maps on the same grid out."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray

from flare_infer.backends.choice import BackendName, PrecisionName, choose
from flare_infer.backends.warm import WarmNets
from flare_infer.case import CaseSettings, OnSlab, layers_of, segment_case
from flare_infer.channels import Image, read_channels
from flare_infer.fast import FastSettings
from flare_infer.forecast import HowRun, admit_case, forecast_case, with_seconds
from flare_infer.memory import CasePlan
from flare_infer.model import Model, read_model
from flare_infer.outcomes import Outcome, iterate_outcomes
from flare_infer.spec import Mode
from flare_infer.stopwatch import Stopwatch
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy
from flare_io.volume import Volume

__all__ = ["Predictor"]


@dataclass(frozen=True)
class Predictor:
    """A loaded model; immutable, so that threads may share it.

    Make one with `Predictor.load`.
    """

    model: Model
    nets: WarmNets
    mode: Mode | None = None
    memory_mib: int | None = None
    fast: FastSettings = field(default_factory=FastSettings)

    @classmethod
    def load(
        cls,
        folder: os.PathLike[str] | str,
        *,
        device: str = "auto",
        backend: BackendName = "auto",
        precision: PrecisionName = "auto",
        mode: Mode | None = None,
        memory_mib: int | None = None,
        fast: FastSettings | None = None,
    ) -> Predictor:
        """Read, verify and load a model folder.

        Parameters
        ----------
        folder : path
            Written by `flare_infer.write_model`.
        device : str
            ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: the first GPU if there is one.
        backend : {"auto", "torch", "openvino"}
            ``auto``: OpenVINO in fast mode on the CPU where it is installed, torch else. With
            OpenVINO torch is not loaded.
        precision : {"auto", "float32", "bfloat16", "int8"}
            Of the network in fast mode on the CPU; bfloat16 needs OpenVINO and a processor for it,
            int8 a calibration, see `flare_infer.calibrate`. ``auto``: bfloat16 where both are
            there, float32 else.
        mode : {"fast", "exact"}, optional
            What to do where no mode is given, the model's default otherwise. The other mode loads
            its networks when it is first asked for.
        memory_mib : int, optional
            Host memory that a case may take. Where it is tight, exact mode takes a slower way with
            the same labels; cases that are still larger are refused before they start.

        Raises
        ------
        ModelError
            If the folder is not a whole model.
        RuntimeError
            If the device, OpenVINO or the processor's bfloat16 is not there.
        ValueError
            If device, backend, precision and mode contradict one another.
        """
        _check_mode(mode)
        model = read_model(folder)
        nets = WarmNets(model, choose(device, backend=backend, precision=precision))
        nets.by_layer(mode)
        return cls(model, nets, mode, memory_mib, fast or FastSettings())

    @property
    def device(self) -> str:
        """Where networks run: ``"cpu"`` or a CUDA device."""
        return self.nets.choice.device

    def predict(
        self,
        image: Image | NDArray[Any],
        geometry: Geometry | None = None,
        *,
        mode: Mode | None = None,
        tta: bool = False,
        policy: ReadPolicy | None = None,
        timings: dict[str, float] | None = None,
        on_window: Callable[[], None] | None = None,
        on_slab: OnSlab | None = None,
    ) -> Volume:
        """Segment one case.

        Parameters
        ----------
        image : path, Volume, (z, y, x) array, or iterable of paths or Volumes
            A file, a DICOM series folder, or what has been read already; an iterable holds the
            channels of one case, and one that forgets them frees their memory early. Arrays of
            other libraries are taken through DLPack, from a GPU as well.
        geometry : Geometry, optional
            Needed with an array, and only then.
        mode : {"fast", "exact"}, optional
            That of `load` otherwise.
        tta : bool
            Average over mirror images, as the model was trained for it; 2 to 8 times the cost.
        policy : ReadPolicy, optional
            For paths.
        timings : dict, optional
            Filled with seconds by step.
        on_window : callable, optional
            Called after each window; an exception from it cancels the case.
        on_slab : callable, optional
            Called with labels as soon as they are final: their place in the image, three slices,
            and a view of them, to be read and not changed. What no slab covers is 0. Models that
            remove components, decide before they resample or have overlays give one slab. An
            exception from it cancels the case.

        Returns
        -------
        Volume
            Labels in the smallest unsigned type on the grid of the image, with its notes.

        Raises
        ------
        UnreadableVolumeError, GeometryError, LabelError
            From reading.
        ValueError
            If arguments contradict the model, or voxels are not finite.
        MemoryError
            If the case would exceed ``memory_mib``.
        """
        _check_mode(mode)
        mode = mode or self.mode
        layers = layers_of(self.model, self.nets.by_layer(mode), mirror=tta)
        watch = Stopwatch(timings if timings is not None else {})
        with watch.step("read"):
            channels = read_channels(image, geometry, policy or ReadPolicy())
        how = HowRun(choice=self.nets.choice, fast=self.fast, mode=mode, tta=tta)
        compact = admit_case(self.model, channels, how=how, budget_mib=self.memory_mib)
        notes = tuple(note for channel in channels for note in channel.notes)
        settings = CaseSettings(
            watch=watch,
            mode=mode,
            fast=self.fast,
            mirror=tta,
            compact=compact,
            on_window=on_window,
        )
        return replace(segment_case(channels, layers, settings, on_slab=on_slab), notes=notes)

    def explain(
        self,
        shape: Sequence[int],
        *,
        spacing_mm: Sequence[float],
        mode: Mode | None = None,
        tta: bool = False,
        voxel_bytes: int = 2,
        measure: bool = True,
    ) -> CasePlan:
        """Say what a case will cost, before it is read.

        Parameters
        ----------
        shape, spacing_mm, mode, tta, voxel_bytes
            As for `flare_infer.memory.plan_case`.
        measure : bool
            Look at one empty window per layer, to predict seconds as well.

        Returns
        -------
        CasePlan

        Notes
        -----
        Cost: arithmetic, and one window where seconds are asked for. Windows are counted as if
        none could be left out in fast mode, the coarse pass not among them. Seconds hold for this
        machine with its load of this moment; reading and writing files are left out.

        Examples
        --------
        ``predictor.explain((300, 512, 512), spacing_mm=(2.5, 0.8, 0.8)).peak_mib``
        """
        mode = mode or self.mode
        plan = forecast_case(
            self.model,
            shape,
            spacing_mm=spacing_mm,
            how=HowRun(choice=self.nets.choice, fast=self.fast, mode=mode, tta=tta),
            voxel_bytes=voxel_bytes,
            budget_mib=self.memory_mib,
        )
        if not measure:
            return plan
        return with_seconds(plan, self.model, self.nets.by_layer(mode), shape)

    def predict_many(
        self,
        images: Iterable[Image],
        *,
        mode: Mode | None = None,
        tta: bool = False,
        policy: ReadPolicy | None = None,
        progress: bool = False,
    ) -> Iterator[Outcome]:
        """Segment many cases, one after the other; a bad case costs one case.

        Parameters
        ----------
        images : iterable
            What `predict` takes.
        mode, tta, policy
            As for `predict`.
        progress : bool
            Show a bar on stderr.

        Yields
        ------
        Outcome
            In the order of the images, each when it is done.
        """

        def segment(image: Image, seconds: dict[str, float]) -> Volume:
            return self.predict(image, mode=mode, tta=tta, policy=policy, timings=seconds)

        return iterate_outcomes(segment, images, progress=progress)


def _check_mode(mode: Mode | None) -> None:
    if mode not in (None, "fast", "exact"):
        raise ValueError(f"mode must be fast or exact, got {mode!r}")
