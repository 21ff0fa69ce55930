"""Plans that keep to a stated budget of weights, multiply-accumulates and memory."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from flare_infer.windows import WindowPlan
from flare_nets.config import NetConfig, Size
from flare_train.fingerprint import Fingerprint
from flare_train.planning.plan import Configuration, Plan, fit_patch, make_plan
from flare_train.planning.rules import PlanRules, plan_rules
from flare_train.planning.topology import Topology
from flare_train.settings import require

__all__ = ["Budget", "Spending", "count_spending", "plan_to_budget"]

_MIB = 2**20
_BYTES = 4
# Weights, gradients and one moment of SGD.
_STATES = 3
# What a smaller patch makes less.
_OF_PATCH = {"inference_mib", "training_mib"}
_NARROWEST, _WIDTH_STEP = 8, 4
# A patch that sees less than this share of the planned one is no answer to a budget.
_SMALLEST_SHARE = 1 / 8


@dataclass(frozen=True, kw_only=True)
class Budget:
    """The most that a net may cost; None: no limit.

    Parameters
    ----------
    parameters : float, optional
        Weights of the net, all heads.
    macs_per_case : float, optional
        Multiply-accumulates for the median case: all windows at half overlap.
    inference_mib : float, optional
        Weights and activations of one window, float32.
    training_mib : float, optional
        Activations of a batch, weights, gradients and momentum, float32.

    Examples
    --------
    >>> Budget(parameters=0)
    Traceback (most recent call last):
    ...
    ValueError: budget.parameters must be > 0, got 0
    """

    parameters: float | None = None
    macs_per_case: float | None = None
    inference_mib: float | None = None
    training_mib: float | None = None

    def __post_init__(self) -> None:
        for name, limit in self.limits.items():
            require(limit > 0, f"budget.{name}", "be > 0", limit)

    @property
    def limits(self) -> dict[str, float]:
        """What is limited, by name."""
        return {name: v for name, v in dataclasses.asdict(self).items() if v is not None}


@dataclass(frozen=True, kw_only=True)
class Spending:
    """What a configuration costs; the fields are those of `Budget`, and the windows of a case."""

    parameters: int
    macs_per_case: int
    inference_mib: float
    training_mib: float
    windows: int

    def excess(self, budget: Budget) -> dict[str, float]:
        """Return by how much each limit is broken, as a ratio > 1; empty where all hold."""
        ratios = {name: getattr(self, name) / limit for name, limit in budget.limits.items()}
        return {name: ratio for name, ratio in ratios.items() if ratio > 1}


def plan_to_budget(
    fingerprint: Fingerprint,
    budget: Budget,
    *,
    out_channels: int,
    rules: PlanRules | None = None,
    spacing_mm: Sequence[float] | None = None,
    batch: int | None = None,
) -> tuple[Plan, Spending]:
    """Plan the widest net that keeps to a budget.

    Parameters
    ----------
    fingerprint : Fingerprint
    budget : Budget
    out_channels : int
    rules : PlanRules, optional
        Their `base_features` is the widest tried, in steps of 4 down to 8; `max_features` follows.
    spacing_mm : (3,) float, optional
        Instead of the target spacing. Coarser ones are the way to fewer multiply-accumulates per
        case.
    batch : int, optional
        Instead of the smallest, `rules.min_batch`.

    Returns
    -------
    Plan, Spending
        No lowres configuration; `plan.rules` holds the width found.

    Raises
    ------
    ValueError
        If the narrowest net on the smallest patch costs too much; the message says what and by how
        much.

    Notes
    -----
    The patch is nnU-Net's for the rules' own memory; only if the narrowest net breaks a limit of
    memory with it, the patch is made smaller, down to an eighth of its voxels. So a budget buys
    context first, then width. Cost: about 0.1 s per net that is counted, at most 7 widths and the
    steps of the patch.
    """
    chosen = rules or plan_rules("default")
    smallest = chosen.min_batch if batch is None else batch
    base = make_plan(
        fingerprint, out_channels=out_channels, rules=chosen, spacing_mm=spacing_mm, batch=smallest
    )
    full = base.fullres
    for narrowed in _narrowed(chosen):
        topology = _topology_of(full)
        net = narrowed.net(topology, in_channels=full.net.in_channels, out_channels=out_channels)
        configuration = dataclasses.replace(full, net=net, batch_dice=False)
        spending = count_spending(configuration)
        if not spending.excess(budget):
            break
    broken = spending.excess(budget)
    if broken.keys() & _OF_PATCH:
        configuration = _smaller_patch(configuration, spending, narrowed, budget)
        spending = count_spending(configuration)
        broken = spending.excess(budget)
    if broken:
        found = ", ".join(f"{name} {ratio:.2f} times" for name, ratio in broken.items())
        raise ValueError(
            f"budget cannot be kept: a net of {configuration.net.features[0]} features on a "
            f"patch of {configuration.patch} exceeds {found}; plan a coarser spacing_mm, fewer "
            "max_stages or a larger budget"
        )
    plan = dataclasses.replace(base, fullres=configuration, lowres=None, rules=narrowed)
    return plan, spending


def count_spending(configuration: Configuration) -> Spending:
    """Count what a configuration costs."""
    from flare_nets.cost import count_cost

    net, patch = configuration.net, configuration.patch
    once, learning = count_cost(net, patch), count_cost(net, patch, all_heads=True)
    shape = [max(1, math.ceil(edge)) for edge in configuration.median_shape]
    plan = WindowPlan(patch=patch)
    windows = len(plan.starts(plan.padded_shape(shape)))
    weights = once.parameters * _BYTES
    learned = configuration.batch * learning.activation_bytes + _STATES * weights
    return Spending(
        parameters=once.parameters,
        macs_per_case=windows * once.macs,
        inference_mib=(weights + once.peak_bytes) / _MIB,
        training_mib=learned / _MIB,
        windows=windows,
    )


def _narrowed(rules: PlanRules) -> Iterator[PlanRules]:
    """Yield the rules at every width, widest first."""
    ratio = rules.max_features / rules.base_features
    narrowest = min(_NARROWEST, rules.base_features)
    for width in range(rules.base_features, narrowest - 1, -_WIDTH_STEP):
        yield dataclasses.replace(
            rules, base_features=width, max_features=max(width, round(ratio * width))
        )


def _smaller_patch(
    configuration: Configuration, spending: Spending, rules: PlanRules, budget: Budget
) -> Configuration:
    """Return the configuration on the largest patch whose memory keeps to the budget."""
    memory = Budget(inference_mib=budget.inference_mib, training_mib=budget.training_mib)
    old, weights = configuration.net, spending.parameters * _BYTES / _MIB
    # Activations grow with the patch: what they alone exceed needs no counting.
    activations = dataclasses.replace(
        spending,
        inference_mib=spending.inference_mib - weights,
        training_mib=spending.training_mib - _STATES * weights,
    )
    least = max(activations.excess(memory).values(), default=1.0)

    def build(topology: Topology) -> NetConfig:
        return rules.net(topology, in_channels=old.in_channels, out_channels=old.out_channels)

    def fits(net: NetConfig, patch: Size) -> bool:
        share = math.prod(patch) / math.prod(configuration.patch)
        if share < _SMALLEST_SHARE:
            raise ValueError(f"patch {patch} is too small to learn from")
        if share >= 1 or share * least > 1:
            return False
        tried = dataclasses.replace(configuration, net=net, patch=patch)
        return not count_spending(tried).excess(memory)

    try:
        patch, net = fit_patch(
            configuration.spacing_mm,
            configuration.median_shape,
            build=build,
            fits=fits,
            max_stages=rules.max_stages,
        )
    except ValueError:
        return configuration
    return dataclasses.replace(configuration, net=net, patch=patch)


def _topology_of(configuration: Configuration) -> Topology:
    net = configuration.net
    return Topology(patch=configuration.patch, kernels=net.kernels, strides=net.strides)
