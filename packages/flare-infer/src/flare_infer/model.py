"""The model folder: ``model.json`` and ``weights.safetensors``, nothing that runs.

``write_model`` is its only writer, ``read_model`` reads it without torch. Tensors are named
``member{i}/{name}``; several members are an ensemble whose logits are averaged. Models whose labels
are painted over the first one's lie under ``overlays``, see `flare_infer.overlays`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flare_infer._json import read_object
from flare_infer.errors import ModelError
from flare_infer.layered_model import FORMAT_VERSION, WEIGHTS_FILE, Model, Overlay
from flare_infer.spec import Mode, ModelSpec
from flare_infer.weights_file import verify_weights

if TYPE_CHECKING:
    from torch import Tensor

__all__ = [
    "FORMAT_VERSION",
    "MODEL_FILE",
    "OVERLAYS_FOLDER",
    "WEIGHTS_FILE",
    "Mode",
    "Model",
    "ModelSpec",
    "Overlay",
    "read_model",
    "write_model",
]

MODEL_FILE = "model.json"
OVERLAYS_FOLDER = "overlays"
_WHERE_FROM = "give a folder written by flare-infer import-nnunet or flare-train"


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
    from importlib.metadata import version

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
    written_by = {"written_by": f"flare-infer {version('flare-infer')}"}
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
            overlays=tuple(_read_overlay(root, entry) for entry in fields.get("overlays", ())),
        )
    except ModelError:
        raise
    except KeyError as error:
        raise ModelError(root / MODEL_FILE, f"the field {error} is missing") from error
    except (TypeError, ValueError, AttributeError) as error:
        raise ModelError(root / MODEL_FILE, f"is not a valid model: {error}") from error
    verify_weights(model.weights_file, model.weights_sha256)
    return model


def _read_overlay(root: Path, entry: Mapping[str, Any]) -> Overlay:
    name = str(entry["name"])
    if Path(name).name != name:
        raise ValueError(f"the overlay's name {name!r} leaves the model folder")
    folder = root / OVERLAYS_FOLDER / name
    model = read_model(folder)
    found = hashlib.sha256((folder / MODEL_FILE).read_bytes()).hexdigest()
    if found != entry["sha256"]:
        raise ModelError(
            folder / MODEL_FILE,
            f"SHA-256 must be {entry['sha256'][:16]}... as the model below says",
            found=f"{found[:16]}...",
            remedy="add the overlay again",
            kind="checksum",
        )
    labels = tuple(int(label) for label in entry["labels"])
    return Overlay(name=name, labels=labels, sha256=found, model=model)


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
