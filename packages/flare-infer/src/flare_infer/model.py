"""The model folder: ``model.json`` and ``weights.safetensors``, nothing that runs.

``write_model`` is its only writer, ``read_model`` reads it without torch. Tensors are named
``member{i}/{name}``; several members are an ensemble whose logits are averaged.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from flare_infer._json import read_object
from flare_infer.errors import ModelError
from flare_infer.weights_file import verify_weights
from flare_infer.windows import WindowPlan
from flare_io.labels import LabelTable
from flare_io.preprocessing import Preprocessing
from flare_nets.config import NetConfig

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["FORMAT_VERSION", "Mode", "Model", "ModelSpec", "read_model", "write_model"]

Mode = Literal["exact", "fast"]
FORMAT_VERSION = 1
MODEL_FILE = "model.json"
WEIGHTS_FILE = "weights.safetensors"
_WHERE_FROM = "give a folder written by flare-infer import-nnunet or flare-train"


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """All of a model but its weights.

    Parameters
    ----------
    name : str
        For reports.
    net : NetConfig
        The network of every member.
    labels : LabelTable
        The classes it can write, background left out.
    preprocessing : Preprocessing
        From volume to input.
    windows : WindowPlan
        Window, step, axes along which it may be mirrored.
    regions : tuple of int, optional
        For sigmoid heads: the label that each channel writes where its probability exceeds 1/2, in
        this order, later ones over earlier ones. None: softmax, channel 0 is background and channel
        k the k-th label.
    default_mode : {"fast", "exact"}
        Imported models repeat nnU-Net's arithmetic by default.
    provenance : mapping
        JSON-ready: where the model comes from.

    Raises
    ------
    ValueError
        If labels, channels, window and net contradict each other.
    """

    name: str
    net: NetConfig
    labels: LabelTable
    preprocessing: Preprocessing
    windows: WindowPlan
    regions: tuple[int, ...] | None = None
    default_mode: Mode = "fast"
    provenance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        channels = self.net.out_channels
        if self.regions is None and channels != len(self.labels) + 1:
            raise ValueError(
                f"net has {channels} output channels, background and {len(self.labels)} labels "
                f"need {len(self.labels) + 1}"
            )
        if self.regions is not None:
            object.__setattr__(self, "regions", tuple(int(label) for label in self.regions))
            if channels != len(self.regions):
                raise ValueError(
                    f"net has {channels} output channels for {len(self.regions)} regions"
                )
            unknown = sorted(set(self.regions) - set(self.labels.ids))
            if unknown:
                raise ValueError(f"regions write labels {unknown} that the label table lacks")
        if self.net.in_channels != len(self.preprocessing.intensities):
            raise ValueError(
                f"net takes {self.net.in_channels} channels, preprocessing describes "
                f"{len(self.preprocessing.intensities)}"
            )
        if self.default_mode not in ("fast", "exact"):
            raise ValueError(f"default_mode must be fast or exact, found {self.default_mode!r}")
        self.net.check_patch(self.windows.patch)

    @property
    def channel_labels(self) -> tuple[int, ...]:
        """The label that each output channel stands for."""
        return self.regions if self.regions is not None else (0, *self.labels.ids)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready dict; `from_dict` is the way back."""
        return {
            "name": self.name,
            "default_mode": self.default_mode,
            "labels": self.labels.to_dict(),
            "regions": None if self.regions is None else list(self.regions),
            "preprocessing": self.preprocessing.to_dict(),
            "windows": self.windows.to_dict(),
            "net": self.net.to_dict(),
            "provenance": dict(self.provenance),
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> ModelSpec:
        """Return the spec of a dict made by `to_dict`; a missing field is a ``KeyError``."""
        regions = fields["regions"]
        return cls(
            name=str(fields["name"]),
            net=NetConfig.from_dict(fields["net"]),
            labels=LabelTable.from_dict(fields["labels"]),
            preprocessing=Preprocessing.from_dict(fields["preprocessing"]),
            windows=WindowPlan.from_dict(fields["windows"]),
            regions=None if regions is None else tuple(regions),
            default_mode=fields["default_mode"],
            provenance=dict(fields["provenance"]),
        )


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
    """

    folder: Path
    spec: ModelSpec
    members: int
    parameters: int
    macs: int
    weights_sha256: str

    @property
    def labels(self) -> LabelTable:
        """The classes it can write."""
        return self.spec.labels

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
        }


def write_model(
    folder: os.PathLike[str] | str, spec: ModelSpec, weights: Sequence[Mapping[str, Tensor]]
) -> Model:
    """Write a model folder, all or nothing, and read it back.

    Parameters
    ----------
    folder : path
        Made if it is not there; a model in it is replaced.
    spec : ModelSpec
        All but the weights.
    weights : sequence of mappings
        One state dict per member, of ``flare_nets.build_net(spec.net)``; every tensor must fit.

    Returns
    -------
    Model

    Raises
    ------
    ValueError
        If there is no member or a tensor is missing, unexpected, of another shape or not finite.
    """
    from safetensors.torch import save

    from flare_io.atomic import write_file, write_json
    from flare_nets.cost import count_cost

    tensors = _named_tensors(spec, weights)
    data = save(tensors, metadata={"format": "pt"})
    root = Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    cost = count_cost(spec.net, spec.windows.patch)
    model = Model(
        folder=root,
        spec=spec,
        members=len(weights),
        parameters=cost.parameters,
        macs=cost.macs,
        weights_sha256=hashlib.sha256(data).hexdigest(),
    )

    def write(stream: Any) -> None:
        stream.write(data)

    # The old model.json names the old weights: a kill between the two files must not leave a pair
    # that loads, and the checksum sees to that.
    write_file(root / WEIGHTS_FILE, write)
    written_by = {"written_by": f"flare-infer {metadata.version('flare-infer')}"}
    write_json(root / MODEL_FILE, {**model.to_dict(), **written_by})
    return read_model(root)


def read_model(folder: os.PathLike[str] | str) -> Model:
    """Read and verify a model folder, without torch and without running anything.

    Parameters
    ----------
    folder : path
        Written by `write_model`.

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        If a file is missing, broken, of a newer format, or the weights are not those that
        ``model.json`` was written with.

    Notes
    -----
    Cost: one pass over the weights file for its SHA-256.
    """
    root = Path(folder)
    fields = read_object(root / MODEL_FILE, remedy=_WHERE_FROM)
    version = fields.get("flare_model")
    if not isinstance(version, int) or version > FORMAT_VERSION or version < 1:
        raise ModelError(
            root / MODEL_FILE,
            f"flare_model must be a format up to {FORMAT_VERSION}",
            found=repr(version),
            remedy="update flare-infer" if isinstance(version, int) else "is it a model folder?",
            kind="model-version",
        )
    try:
        model = Model(
            folder=root,
            spec=ModelSpec.from_dict(fields),
            members=int(fields["members"]),
            parameters=int(fields["parameters"]),
            macs=int(fields["macs"]),
            weights_sha256=str(fields["weights_sha256"]),
        )
    except KeyError as error:
        raise ModelError(root / MODEL_FILE, f"the field {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(root / MODEL_FILE, f"is not a valid model: {error}") from error
    verify_weights(model.weights_file, model.weights_sha256)
    return model


def _named_tensors(spec: ModelSpec, weights: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    import torch

    from flare_nets.build import build_net

    if not weights:
        raise ValueError("weights must hold one state dict per member, got none")
    expected = build_net(spec.net, initialization="none", device="meta").state_dict()
    named: dict[str, Tensor] = {}
    for number, member in enumerate(weights):
        odd = sorted(set(expected) ^ set(member))
        if odd:
            raise ValueError(f"member {number}: tensors missing or unexpected: {odd[:5]}")
        for name, tensor in member.items():
            if tensor.shape != expected[name].shape:
                raise ValueError(
                    f"member {number}: {name} must have shape {tuple(expected[name].shape)}, "
                    f"got {tuple(tensor.shape)}"
                )
            if not bool(torch.isfinite(tensor).all()):
                raise ValueError(f"member {number}: {name} holds values that are not finite")
            # Cloned: the format refuses tensors that share memory, as two members may.
            named[f"member{number}/{name}"] = (
                tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
            )
    return named
