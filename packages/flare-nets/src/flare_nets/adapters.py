"""State dicts of nnU-Net v2 and v1 to ours and back, with a report that leaves nothing unsaid.

Ours holds every tensor once. nnU-Net v2 writes a convolution twice (as itself and in
``all_modules``) and the whole encoder again under ``decoder.encoder``; all copies must agree.
nnU-Net v1 nets have no bias in transposed convolutions and heads, and their decoder takes the
kernels of the next coarser stage: describe them with ``up_bias=False``, ``head_bias=False`` and
``decoder_kernels=kernels[1:]``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias, cast, get_args

import torch
from torch import Tensor

from flare_nets._foreign_names import foreign_names
from flare_nets.build import build_net
from flare_nets.config import NetConfig
from flare_nets.errors import WeightsError

__all__ = ["ImportedWeights", "Layout", "WeightsReport", "export_weights", "import_weights"]

Layout: TypeAlias = Literal["nnunet-v2", "nnunet-v1"]
# What data-parallel training and torch.compile put in front of every name.
_WRAPPERS = ("module.", "_orig_mod.")


@dataclass(frozen=True, kw_only=True)
class WeightsReport:
    """How a foreign state dict met a config; foreign names unless said otherwise.

    Attributes
    ----------
    layout : {"nnunet-v2", "nnunet-v1"}
        The naming that was read.
    missing : tuple of str
        Tensors that the net needs and the state dict lacks.
    unexpected : tuple of str
        Tensors that the net has no place for.
    mis_shaped : tuple of str
        ``name: expected shape, found shape``.
    conflicting : tuple of str
        Tensors whose copies under other names differ.
    stripped : tuple of str
        Our names of tensors left out on purpose: heads under ``strip_heads``.
    unused_heads : tuple of str
        Heads of coarser stages in the state dict of a config without deep supervision.
    duplicates : int
        Copies that agreed and were dropped.
    """

    layout: Layout
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mis_shaped: tuple[str, ...] = ()
    conflicting: tuple[str, ...] = ()
    stripped: tuple[str, ...] = ()
    unused_heads: tuple[str, ...] = ()
    duplicates: int = 0

    @property
    def complete(self) -> bool:
        """Whether every tensor was matched."""
        return not (self.missing or self.unexpected or self.mis_shaped or self.conflicting)

    def __str__(self) -> str:
        """Return the problems in one line, at most three names of each kind."""
        parts = []
        for kind in ("missing", "unexpected", "mis_shaped", "conflicting"):
            names: tuple[str, ...] = getattr(self, kind)
            if names:
                shown = "; ".join((*names[:3], "...") if len(names) > 3 else names)
                parts.append(f"{len(names)} {kind.replace('_', '-')} ({shown})")
        return f"{self.layout}: {', '.join(parts) or 'all tensors match'}"


@dataclass(frozen=True, kw_only=True)
class ImportedWeights:
    """A clean state dict and the report of how it came about."""

    weights: dict[str, Tensor]
    report: WeightsReport


def import_weights(
    weights: Mapping[str, Tensor],
    config: NetConfig,
    *,
    layout: Layout | Literal["auto"] = "auto",
    strict: bool = True,
    strip_heads: bool = False,
) -> ImportedWeights:
    """Turn an nnU-Net state dict into ours.

    Parameters
    ----------
    weights : mapping of str to tensor
        ``network_weights`` (v2) or ``state_dict`` (v1) of a checkpoint. Not modified, not copied:
        the result shares memory with it. Prefixes of data-parallel training and of compilation are
        dropped.
    config : NetConfig
        The net that the weights are for.
    layout : {"auto", "nnunet-v2", "nnunet-v1"}
        Naming to read; auto: v1 if a name begins with ``conv_blocks_context``.
    strict : bool
        Raise unless every tensor matches; False: return what matches, the report says the rest.
    strip_heads : bool
        Leave the heads out, whatever their shape: transfer to other labels.

    Returns
    -------
    ImportedWeights
        ``net.load_state_dict(result.weights, strict=not strip_heads)`` takes them.

    Raises
    ------
    WeightsError
        If ``strict`` and a tensor is missing, unexpected, mis-shaped or differs from its copy.
    ValueError
        If the layout is unknown, or v1 cannot hold the net.
    """
    source = {_unwrapped(name): tensor for name, tensor in weights.items()}
    chosen = _detect(source) if layout == "auto" else _checked(layout)
    shapes = _shapes(config)
    clean: dict[str, Tensor] = {}
    missing, mis_shaped, conflicting, stripped = [], [], [], []
    used: set[str] = set()
    duplicates = 0
    for name, aliases in foreign_names(config, list(shapes), layout=chosen).items():
        present = [alias for alias in aliases if alias in source]
        used.update(present)
        if strip_heads and name.startswith("heads."):
            stripped.append(name)
        elif not present:
            missing.append(aliases[0])
        elif source[present[0]].shape != shapes[name]:
            found = tuple(source[present[0]].shape)
            mis_shaped.append(f"{present[0]}: expected {tuple(shapes[name])}, found {found}")
        elif not all(_same(source[present[0]], source[alias]) for alias in present[1:]):
            conflicting.append(present[0])
        else:
            clean[name] = source[present[0]]
            duplicates += len(present) - 1
    unused_heads = {
        name for name in set(source) - used if _is_unused_head(name, config, strip_heads)
    }
    report = WeightsReport(
        layout=chosen,
        missing=tuple(missing),
        unexpected=tuple(sorted(set(source) - used - unused_heads)),
        mis_shaped=tuple(mis_shaped),
        conflicting=tuple(conflicting),
        stripped=tuple(stripped),
        unused_heads=tuple(sorted(unused_heads)),
        duplicates=duplicates,
    )
    if strict and not report.complete:
        raise WeightsError(
            f"weights do not fit the net, {report}; check the config, or pass strict=False to take "
            "what matches"
        )
    return ImportedWeights(weights=clean, report=report)


def export_weights(
    weights: Mapping[str, Tensor], config: NetConfig, *, layout: Layout = "nnunet-v2"
) -> dict[str, Tensor]:
    """Turn our state dict into nnU-Net's, with all the copies that its loader expects.

    Parameters
    ----------
    weights : mapping of str to tensor
        ``net.state_dict()`` of a net of this config. Copies share memory.
    config : NetConfig
        The net; deep supervision on, because nnU-Net always builds all heads.
    layout : {"nnunet-v2", "nnunet-v1"}
        Naming to write.

    Returns
    -------
    dict of str to tensor

    Raises
    ------
    WeightsError
        If the names are not those of the config.
    ValueError
        If the layout cannot hold the net.
    """
    if not config.deep_supervision:
        raise ValueError("config must have deep_supervision=True: nnU-Net builds every head")
    shapes = _shapes(config)
    wrong = sorted(shapes.keys() ^ weights.keys())
    if wrong:
        raise WeightsError(
            f"weights must be the state dict of the config, found {len(wrong)} names in only one "
            f"of them, such as {wrong[0]}"
        )
    names = foreign_names(config, list(shapes), layout=_checked(layout))
    return {alias: weights[name] for name, aliases in names.items() for alias in aliases}


def _checked(layout: str) -> Layout:
    if layout not in get_args(Layout):
        raise ValueError(f"layout must be one of {', '.join(get_args(Layout))}, found {layout!r}")
    return cast(Layout, layout)


def _detect(names: Mapping[str, Tensor]) -> Layout:
    is_v1 = any(name.startswith("conv_blocks_context.") for name in names)
    return "nnunet-v1" if is_v1 else "nnunet-v2"


def _shapes(config: NetConfig) -> dict[str, torch.Size]:
    net = build_net(config, initialization="none", device="meta")
    return {name: tensor.shape for name, tensor in net.state_dict().items()}


def _unwrapped(name: str) -> str:
    while name.startswith(_WRAPPERS):
        name = name.split(".", 1)[1]
    return name


def _same(a: Tensor, b: Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    # A checkpoint holds most copies as views of one memory: nothing to compare.
    shared = a.data_ptr() == b.data_ptr() and a.stride() == b.stride()
    return shared or torch.equal(a, b) or bool(torch.all((a == b) | (a.isnan() & b.isnan())))


def _is_unused_head(name: str, config: NetConfig, strip_heads: bool) -> bool:
    is_head = name.startswith(("decoder.seg_layers.", "seg_outputs."))
    return is_head and (strip_heads or not config.deep_supervision)
