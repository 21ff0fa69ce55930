"""Weights to begin a training with, from wherever a trained net lies; no code of a file runs.

Sources: a model folder of flare-infer, a checkpoint or snapshot of flare-train, a checkpoint of
nnU-Net v2 or v1, or a results folder of nnU-Net with one fold.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from flare_infer.model import MODEL_FILE, read_model
from flare_infer.nnunet_checkpoint import load_nnunet_checkpoint
from flare_nets.adapters import import_weights
from flare_nets.errors import WeightsError
from flare_nets.unet import UNet
from flare_train.errors import CheckpointError

__all__ = ["StartKind", "StartReport", "load_start_weights"]

StartKind = Literal["model", "checkpoint", "nnunet-v2", "nnunet-v1"]
StartParts = Literal["all", "body", "encoder"]
_FINAL = "checkpoint_final.pth"
# In the order of preference: what a model folder, a checkpoint and a bare state dict call a net.
_PREFIXES = ("member0/", "average/", "net/", "")


@dataclass(frozen=True, kw_only=True)
class StartReport:
    """What a net took from a source, for the record of the run.

    Parameters
    ----------
    source : str
        The file that was read.
    kind : {"model", "checkpoint", "nnunet-v2", "nnunet-v1"}
    sha256 : str
        Of that file.
    loaded : int
        Tensors of the net that came from it.
    fresh : tuple of str
        Tensors of the net that keep their own values: heads.
    dropped : tuple of str
        Heads of the source that the net has no place for, or did not want.
    """

    source: str
    kind: StartKind
    sha256: str
    loaded: int
    fresh: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the fields ready for JSON."""
        plain = dataclasses.asdict(self)
        return {**plain, "fresh": list(self.fresh), "dropped": list(self.dropped)}


@dataclass(frozen=True)
class _Found:
    """Weights under our names, and what the source said beyond them."""

    kind: StartKind
    weights: Mapping[str, Tensor]
    problems: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()


def load_start_weights(
    net: UNet, source: os.PathLike[str] | str, *, parts: StartParts = "all"
) -> StartReport:
    """Give a net the weights of a trained one.

    Parameters
    ----------
    net : UNet
        Changed in place, all tensors or none; its device and precision stay.
    source : path
        A model folder (of an ensemble, the first member), ``*.safetensors`` of flare-train,
        ``checkpoint_*.pth`` of nnU-Net v2, ``model_*.model`` of v1, or a v2 results folder with a
        single ``fold_*/checkpoint_final.pth``.
    parts : {"all", "body", "encoder"}, optional
        What is taken over. ``body``: all but the heads, for other classes, or after pre-training by
        restoration. The net keeps its own values of the rest.

    Returns
    -------
    StartReport

    Raises
    ------
    WeightsError
        If a tensor other than a head is missing, superfluous, of another shape or not finite; or a
        head does not fit and `parts` is ``all``. Heads of coarser stages may be missing, as in
        models for inference: they keep their own values.
    CheckpointError
        If the source is not one of these, or is ambiguous.
    flare_infer.ModelError
        If a model folder or nnU-Net checkpoint is broken, or would run code.

    Notes
    -----
    Cost: the file is read twice, once for its SHA-256.
    """
    path = _file_of(Path(source))
    found = _read(path, net, strip_heads=parts != "all")
    own = net.state_dict()
    weights = dict(found.weights)
    dropped = list(found.dropped)
    for name in list(weights):
        coarse = name.startswith("heads.") and name not in own and not net.config.deep_supervision
        if coarse or not _is_wanted(name, parts):
            dropped.append(name)
            del weights[name]
    problems = [*found.problems, *_misfits(weights, own)]
    fresh = tuple(sorted(own.keys() - weights.keys()))
    lacking = [name for name in fresh if _is_wanted(name, parts) and not _is_coarse_head(name)]
    if not found.problems:
        problems += [f"{name} is missing" for name in lacking]
    if problems:
        raise _misfit_error(path, found.kind, problems)
    with torch.no_grad():
        for name, tensor in weights.items():
            own[name].copy_(tensor)
    return StartReport(
        source=str(path),
        kind=found.kind,
        sha256=_sha256(path),
        loaded=len(weights),
        fresh=fresh,
        dropped=tuple(sorted(dropped)),
    )


def _file_of(source: Path) -> Path:
    """Return the one file of weights that a source means."""
    if (source / MODEL_FILE).is_file():
        return read_model(source).weights_file
    if source.is_dir():
        found = sorted(source.glob(f"fold_*/{_FINAL}"))
        if len(found) == 1:
            return found[0]
        names = ", ".join(path.relative_to(source).as_posix() for path in found)
        raise CheckpointError(
            f"{source}: weights to begin with must be one model folder or one checkpoint, found "
            f"{names or 'neither model.json nor fold_*/' + _FINAL}; name the file"
        )
    if not source.is_file():
        raise CheckpointError(
            f"{source}: weights to begin with are not there; name a model folder, a .safetensors "
            "file of flare-train or a checkpoint of nnU-Net"
        )
    return source


def _read(path: Path, net: UNet, *, strip_heads: bool) -> _Found:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    content = load_nnunet_checkpoint(path, required=())
    state = content.get("network_weights", content.get("state_dict"))
    if not isinstance(state, Mapping):
        raise CheckpointError(
            f"{path}: a checkpoint of nnU-Net holds network_weights (v2) or state_dict (v1), found "
            f"{', '.join(sorted(map(str, content))[:8]) or 'nothing'}"
        )
    imported = import_weights(state, net.config, strict=False, strip_heads=strip_heads)
    report = imported.report
    coarse = {f"decoder.seg_layers.{k}." for k in range(net.config.stages - 2)}
    coarse |= {f"seg_outputs.{k}." for k in range(net.config.stages - 2)}
    missing = [name for name in report.missing if not name.startswith(tuple(coarse))]
    problems = (
        *(f"{name} is missing" for name in missing),
        *(f"{name} has no place" for name in report.unexpected),
        *report.mis_shaped,
        *(f"{name} differs from its copy" for name in report.conflicting),
    )
    return _Found(report.layout, imported.weights, problems, report.unused_heads)


def _read_safetensors(path: Path) -> _Found:
    try:
        with safe_open(str(path), framework="pt") as file:
            # No mapping: it has keys() alone.
            names = list(file.keys())
            prefix = next(p for p in _PREFIXES if any(name.startswith(p) for name in names))
            chosen = [name for name in names if name.startswith(prefix)]
            weights = {name.removeprefix(prefix): file.get_tensor(name) for name in chosen}
    except (SafetensorError, OSError, StopIteration) as error:
        raise CheckpointError(
            f"{path}: is no whole file of weights ({error or 'empty'}); copy it again"
        ) from error
    return _Found("model" if prefix == "member0/" else "checkpoint", weights)


def _misfits(weights: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> list[str]:
    problems = []
    for name, tensor in weights.items():
        if name not in own:
            problems.append(f"{name} has no place")
        elif tensor.shape != own[name].shape:
            problems.append(
                f"{name}: expected {tuple(own[name].shape)}, found {tuple(tensor.shape)}"
            )
        elif not bool(torch.isfinite(tensor).all()):
            problems.append(f"{name} holds values that are not finite")
    return problems


def _is_wanted(name: str, parts: StartParts) -> bool:
    if parts == "encoder":
        return name.startswith("encoder.")
    return parts == "all" or not name.startswith("heads.")


def _is_coarse_head(name: str) -> bool:
    return name.startswith("heads.") and not name.startswith("heads.0.")


def _misfit_error(path: Path, kind: StartKind, problems: list[str]) -> WeightsError:
    shown = "; ".join(problems[:3]) + ("; ..." if len(problems) > 3 else "")
    only_heads = all(
        problem.startswith(("heads.", "decoder.seg_layers.", "seg_outputs."))
        for problem in problems
    )
    if only_heads:
        remedy = "for other classes keep the net's own heads (start_parts = 'body')"
    elif kind == "nnunet-v1":
        remedy = (
            "describe nets of v1 with up_bias=false, head_bias=false and the kernels of the next "
            "coarser stage as decoder_kernels"
        )
    else:
        remedy = "use the net that these weights are of"
    return WeightsError(f"{path}: {len(problems)} tensors do not fit the net ({shown}); {remedy}")


def _sha256(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
