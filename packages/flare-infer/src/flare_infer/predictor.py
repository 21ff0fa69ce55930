"""A model that stays warm: volumes in, label maps on the same grid out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from flare_infer.decide import decide_labels
from flare_infer.errors import ModelError
from flare_infer.memory import estimate_volume_mib, require_memory
from flare_infer.model import Model, read_model
from flare_infer.sliding import Net, ensemble_logits
from flare_infer.spec import Mode, ModelSpec
from flare_io.geometry import Geometry
from flare_io.policy import ReadPolicy
from flare_io.preparation import prepare, restore
from flare_io.volume import Volume

__all__ = ["Image", "Outcome", "Predictor"]

Image = os.PathLike[str] | str | Volume | Sequence[os.PathLike[str] | str | Volume]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one image of `Predictor.predict_many`.

    Parameters
    ----------
    image
        As it was given.
    labels : Volume or None
        None where it failed.
    error : Exception or None
        Why it failed.
    seconds : mapping of str to float
        By step: read, prepare, network, decide, restore.
    """

    image: Any
    labels: Volume | None = None
    error: Exception | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Predictor:
    """A loaded model; immutable, so that threads may share it.

    Make one with `Predictor.load`; ``nets`` are the members of each of the model's layers.
    """

    model: Model
    nets: tuple[tuple[Net, ...], ...]
    device: torch.device
    memory_mib: int | None = None

    @classmethod
    def load(
        cls,
        folder: os.PathLike[str] | str,
        *,
        device: str = "auto",
        memory_mib: int | None = None,
    ) -> Predictor:
        """Read, verify and load a model folder.

        Parameters
        ----------
        folder : path
            Written by `flare_infer.write_model`.
        device : str
            ``"cpu"``, ``"cuda"``, ``"cuda:1"``, or ``"auto"``: the first GPU if there is one.
        memory_mib : int, optional
            Host memory that a case may take; larger cases are refused before they start.

        Raises
        ------
        ModelError
            If the folder is not a whole model.
        RuntimeError
            If the device is not there.
        """
        model = read_model(folder)
        place = _device(device)
        nets = tuple(_load_nets(layer, place) for layer, _ in model.layers)
        return cls(model, nets, place, memory_mib)

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
    ) -> Volume:
        """Segment one case.

        Parameters
        ----------
        image : path, Volume, (z, y, x) array, or sequence of paths or Volumes
            A file, a DICOM series folder, or what has been read already; a sequence holds the
            channels of one case.
        geometry : Geometry, optional
            Needed with an array, and only then.
        mode : {"fast", "exact"}, optional
            The model's default otherwise.
        tta : bool
            Average over mirror images, as the model was trained for it; 2 to 8 times the cost.
        policy : ReadPolicy, optional
            For paths.
        timings : dict, optional
            Filled with seconds by step.
        on_window : callable, optional
            Called after each window; an exception from it cancels the case.

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
        if mode not in (None, "fast", "exact"):
            raise ValueError(f"mode must be fast or exact, got {mode!r}")
        layers = self.model.layers
        if tta and not all(layer.spec.windows.mirror_axes for layer, _ in layers):
            raise ValueError("tta needs a model trained with mirroring; this one has none")
        spent = timings if timings is not None else {}
        with _timed(spent, "read"):
            channels = _channels(image, geometry, policy or ReadPolicy())
        self._check(channels, mode)
        notes = tuple(note for channel in channels for note in channel.notes)
        result: Volume | None = None
        for number, ((layer, labels), nets) in enumerate(zip(layers, self.nets, strict=True), 1):
            # Read from a file, the volume is not needed behind the last layer's preparation.
            held = channels if number == len(layers) else list(channels)
            found = self._segment(held, layer.spec, nets, (mode, tta, on_window), spent)
            result = found if result is None else _painted(result, found, labels or ())
        assert result is not None, "a model has at least one layer"
        return replace(result, notes=notes)

    def _segment(
        self,
        channels: list[Volume],
        spec: ModelSpec,
        nets: Sequence[Net],
        how: tuple[Mode | None, bool, Callable[[], None] | None],
        spent: dict[str, float],
    ) -> Volume:
        """Return the labels of one layer; empties the list of channels."""
        mode, mirror, on_window = how
        chosen = mode or spec.default_mode
        with _timed(spent, "prepare"):
            prepared = prepare(channels, spec.preprocessing)
        channels.clear()
        preparation = prepared.preparation
        with _timed(spent, "network"):
            logits = ensemble_logits(
                nets,
                prepared.array,
                spec.windows,
                mode=chosen,
                mirror=mirror,
                on_window=on_window,
                head=spec.head,
            )
        del prepared
        with _timed(spent, "decide"):
            cropped = decide_labels(logits, preparation, spec, mode=chosen)
        with _timed(spent, "restore"):
            return restore(cropped, preparation)

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
        from tqdm import tqdm

        for image in tqdm(images, desc="cases", unit="case", disable=not progress):
            seconds: dict[str, float] = {}
            try:
                labels = self.predict(image, mode=mode, tta=tta, policy=policy, timings=seconds)
            except Exception as error:
                # One bad case costs one case, whatever it raised; Ctrl-C passes through.
                yield Outcome(image=image, error=error, seconds=seconds)
            else:
                yield Outcome(image=image, labels=labels, seconds=seconds)

    def _check(self, channels: Sequence[Volume], mode: Mode | None) -> None:
        for number, channel in enumerate(channels):
            kind = channel.array.dtype.kind
            if kind not in "iuf":
                raise ValueError(f"image must hold numbers, got {channel.array.dtype}")
            if kind == "f" and not np.isfinite(channel.array).all():
                count = int((~np.isfinite(channel.array)).sum())
                raise ValueError(
                    f"channel {number} holds {count} voxels that are not finite; "
                    "replace them, or read with ReadPolicy(nan_value=-1024)"
                )
        if self.memory_mib is not None:
            chosen = mode or self.model.spec.default_mode
            needed = estimate_volume_mib(self.model, channels[0], mode=chosen)
            require_memory(needed, self.memory_mib)


def _painted(below: Volume, above: Volume, labels: Sequence[int]) -> Volume:
    """Return the lower label map with some labels of the upper one painted over it."""
    dtype = np.promote_types(below.array.dtype, above.array.dtype)
    array = below.array.astype(dtype)
    np.copyto(array, above.array, where=np.isin(above.array, labels))
    return below.with_array(array)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count()
        if (device.index or 0) >= count:
            raise _NoDeviceError(
                f"device {name} is not there, found {count} GPUs; use --device cpu"
            )
    elif device.type != "cpu":
        raise ValueError(f"device must be auto, cpu or cuda, got {name!r}")
    return device


class _NoDeviceError(RuntimeError):
    """A device that was asked for and is absent: a lack of resources."""

    exit_code = 5


def _load_nets(model: Model, device: torch.device) -> tuple[Net, ...]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from flare_nets.build import build_net

    try:
        tensors = load_file(model.weights_file, device="cpu")
    except (OSError, SafetensorError) as error:
        raise ModelError(model.weights_file, f"cannot be loaded: {error}") from error
    nets = []
    for number in range(model.members):
        prefix = f"member{number}/"
        state = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        net = build_net(model.spec.net, initialization="none", device="meta")
        try:
            net.load_state_dict(state, assign=True)
        except RuntimeError as error:
            raise ModelError(
                model.weights_file, f"tensors of member {number} do not fit the net: {error}"
            ) from error
        nets.append(_array_net(net.eval().requires_grad_(False).to(device), device))
    return tuple(nets)


def _array_net(module: torch.nn.Module, device: torch.device) -> Net:
    def run(windows: NDArray[np.float32]) -> NDArray[Any]:
        # nnU-Net runs half precision on CUDA and float32 on the CPU.
        precision = torch.autocast("cuda") if device.type == "cuda" else nullcontext()
        with torch.inference_mode(), precision:
            logits: NDArray[Any] = module(torch.from_numpy(windows).to(device)).cpu().numpy()
        return logits

    return run


def _channels(
    image: Image | NDArray[Any], geometry: Geometry | None, policy: ReadPolicy
) -> list[Volume]:
    if isinstance(image, np.ndarray):
        if geometry is None:
            raise ValueError("geometry must be given with an array")
        return [Volume(image, geometry)]
    if geometry is not None:
        raise ValueError("geometry goes with an array only: files and volumes have their own")
    if isinstance(image, Volume | str | os.PathLike):
        return [_volume(image, policy)]
    channels = [_volume(each, policy) for each in image]
    if not channels:
        raise ValueError("image must hold at least one channel, got an empty sequence")
    return channels


def _volume(image: os.PathLike[str] | str | Volume, policy: ReadPolicy) -> Volume:
    if isinstance(image, Volume):
        return image
    from flare_io.files import read_volume

    return read_volume(Path(image), policy=policy)


@contextmanager
def _timed(spent: dict[str, float], step: str) -> Iterator[None]:
    started = time.perf_counter()
    try:
        yield
    finally:
        spent[step] = round(spent.get(step, 0.0) + time.perf_counter() - started, 4)
