"""The constants of nnU-Net's planners, by name."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from difflib import get_close_matches

from flare_nets.config import Architecture, NetConfig
from flare_train.planning.topology import Topology
from flare_train.settings import require, require_share

__all__ = ["PlanRules", "plan_rules", "plan_rules_names"]


@dataclass(frozen=True, kw_only=True)
class PlanRules:
    """What a plan may spend and what its nets are made of.

    Parameters
    ----------
    name : str
    architecture : {"plain", "residual"}
    reference_voxels : float
        Most voxels of feature maps per patch, see `feature_map_voxels`, where `reference_gb` of GPU
        memory hold a batch of two.
    reference_gb, memory_gb : float
        The memory that number was made for, and the memory to plan for.
    convs, decoder_convs : tuple of int
        Per stage, finest first; the last counts for all deeper stages.
    base_features, max_features : int
        Channels of stage s are ``min(base * 2**s, max)``.
    max_stages : int or None
        None: as many as the patch allows.
    min_batch : int
        A batch is never smaller.
    dataset_share : float
        Most voxels of the whole dataset that one batch may hold.
    lowres_share : float
        A patch with a smaller share of the median case makes a second plan at coarser spacing.
    """

    name: str
    architecture: Architecture = "plain"
    reference_voxels: float = 560_000_000
    reference_gb: float = 8
    memory_gb: float = 8
    convs: tuple[int, ...] = (2,)
    decoder_convs: tuple[int, ...] = (2,)
    base_features: int = 32
    max_features: int = 320
    max_stages: int | None = None
    min_batch: int = 2
    dataset_share: float = 0.05
    lowres_share: float = 0.25

    def __post_init__(self) -> None:
        for name in ("reference_voxels", "reference_gb", "memory_gb"):
            require(getattr(self, name) > 0, f"rules.{name}", "be > 0", getattr(self, name))
        for name in ("base_features", "min_batch"):
            require(getattr(self, name) >= 1, f"rules.{name}", "be >= 1", getattr(self, name))
        for name in ("convs", "decoder_convs"):
            counts = getattr(self, name)
            require(bool(counts) and min(counts) >= 1, f"rules.{name}", "hold counts >= 1", counts)
        require(
            self.max_features >= self.base_features,
            "rules.max_features",
            f"be >= base_features, {self.base_features}",
            self.max_features,
        )
        enough = self.max_stages is None or self.max_stages >= 2
        require(enough, "rules.max_stages", "be >= 2", self.max_stages)
        require_share("rules.dataset_share", self.dataset_share)
        require_share("rules.lowres_share", self.lowres_share)

    @property
    def voxels(self) -> float:
        """Most voxels of feature maps per patch at the planned memory."""
        return self.reference_voxels * (self.memory_gb / self.reference_gb)

    def net(self, topology: Topology, *, in_channels: int, out_channels: int) -> NetConfig:
        """Return the net of a topology.

        Raises
        ------
        ValueError
            If the topology has one stage: the patch is too small to be halved once.
        """
        n = topology.stages
        if n < 2:
            raise ValueError(
                f"patch {topology.patch} is too small for a U-Net: an axis needs 8 voxels to be "
                "halved, 12 if it is the only one; plan a finer spacing, more memory or a larger "
                "patch"
            )
        return NetConfig(
            architecture=self.architecture,
            in_channels=in_channels,
            out_channels=out_channels,
            features=tuple(min(self.base_features * 2**s, self.max_features) for s in range(n)),
            kernels=topology.kernels,
            strides=topology.strides,
            convs=_per_stage(self.convs, n),
            decoder_convs=_per_stage(self.decoder_convs, n - 1),
        )


_RESIDUAL = PlanRules(
    name="resenc-m",
    architecture="residual",
    reference_voxels=680_000_000,
    convs=(1, 3, 4, 6),
    decoder_convs=(1,),
    # A batch may hold as many voxels as all cases together.
    dataset_share=1.0,
)
_RULES = {
    rules.name: rules
    for rules in (
        PlanRules(name="default"),
        _RESIDUAL,
        dataclasses.replace(
            _RESIDUAL,
            name="resenc-l",
            reference_voxels=2_100_000_000,
            reference_gb=24,
            memory_gb=24,
        ),
        dataclasses.replace(
            _RESIDUAL,
            name="resenc-xl",
            reference_voxels=3_600_000_000,
            reference_gb=40,
            memory_gb=40,
        ),
    )
}


def plan_rules(name: str) -> PlanRules:
    """Return the rules of one of nnU-Net v2's planners; `dataclasses.replace` changes single ones.

    Raises
    ------
    ValueError
        If there is none of that name; the message gives the nearest.

    Examples
    --------
    >>> plan_rules("default").voxels
    560000000.0
    >>> plan_rules("resenc-l").convs
    (1, 3, 4, 6)
    """
    if name not in _RULES:
        near = get_close_matches(name, _RULES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_RULES)}"
        raise ValueError(f"no plan rules are named {name!r}; {hint}")
    return _RULES[name]


def plan_rules_names() -> tuple[str, ...]:
    """Return the names of all rules."""
    return tuple(_RULES)


def _per_stage(counts: tuple[int, ...], n: int) -> tuple[int, ...]:
    return (counts + counts[-1:] * n)[:n]
