"""Spacing, patch, batch and net for a dataset, as nnU-Net v2 plans them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from flare_nets.config import NetConfig, Size
from flare_train.fingerprint import Fingerprint, Spacing
from flare_train.planning.feature_maps import feature_map_voxels
from flare_train.planning.rules import PlanRules, plan_rules
from flare_train.planning.target import coarsest_first, median_target_shape, target_spacing_mm
from flare_train.planning.topology import Topology, plan_topology

__all__ = ["Configuration", "Fits", "Plan", "fit_patch", "initial_patch", "make_plan"]

Fits = Callable[[NetConfig, Size], bool]
Extent = tuple[float, float, float]
# The volume that a first patch has before it is cut to the median case.
_LARGEST_EDGE = 256
_REFERENCE_BATCH = 2
_LOWRES_STEP = 1.03


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One net and the grid it works on; axes after the plan's transposition.

    Attributes
    ----------
    spacing_mm, median_shape : (3,) float
        Grid, and the median case on it in voxels.
    patch : (3,) int
    batch : int
    batch_dice : bool
        One Dice over the batch: nnU-Net's choice where a patch sees a small part of a case.
    net : NetConfig
    """

    spacing_mm: Spacing
    median_shape: Extent
    patch: Size
    batch: int
    batch_dice: bool
    net: NetConfig


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What nnU-Net would train on a dataset.

    Attributes
    ----------
    transpose : (3,) int
        Order of axes that puts the coarsest first; entry k is the axis that becomes axis k.
    fullres : Configuration
    lowres : Configuration or None
        Where a patch sees less than a quarter of the median case: the spacing at which it does not.
    rules : PlanRules
    """

    transpose: tuple[int, int, int]
    fullres: Configuration
    lowres: Configuration | None
    rules: PlanRules


def make_plan(
    fingerprint: Fingerprint,
    *,
    out_channels: int,
    rules: PlanRules | None = None,
    spacing_mm: Sequence[float] | None = None,
    patch: Sequence[int] | None = None,
    batch: int | None = None,
    outputs: int | None = None,
) -> Plan:
    """Plan a dataset.

    Parameters
    ----------
    fingerprint : Fingerprint
    out_channels : int
        Logits of the net.
    rules : PlanRules, optional
        Default: those of nnU-Net's default planner.
    spacing_mm : (3,) float, optional
        Instead of the target spacing, axes as in the fingerprint.
    patch : (3,) int, optional
        Instead of the patch that fits memory; after transposition, a multiple of the strides.
    batch : int, optional
        Instead of the batch that fits memory.
    outputs : int, optional
        Entries of ``labels`` in ``dataset.json``, where they are not as many as `out_channels`: an
        ignore label counts for nnU-Net's estimate of memory.

    Returns
    -------
    Plan

    Raises
    ------
    ValueError
        If no patch with a U-Net fits, or a given one is no multiple of its strides.

    Notes
    -----
    Isensee et al., Nature Methods 2021, supplement, "Rule-based parameters", in the form of nnU-Net
    v2's planners. Cost: milliseconds, plus as many for every step toward a coarser `lowres`.
    """
    rules = rules or plan_rules("default")
    target = target_spacing_mm(fingerprint) if spacing_mm is None else _spacing(spacing_mm)
    order = coarsest_first(target)
    spacing = _ordered(target, order)
    shape = _ordered(median_target_shape(fingerprint, target), order)
    planner = _Planner(
        rules=rules,
        in_channels=len(fingerprint.intensities),
        out_channels=out_channels,
        outputs=outputs,
        cases=len(fingerprint.shapes),
    )
    found = planner.configuration(spacing, shape, patch=patch, batch=batch)
    lowres = planner.lowres(found) if patch is None else None
    full = dataclasses.replace(found, batch_dice=lowres is not None)
    return Plan(transpose=order, fullres=full, lowres=lowres, rules=rules)


def initial_patch(spacing_mm: Sequence[float], median_shape: Sequence[float]) -> Extent:
    """Return the first patch: a cube in millimeters of 256**3 voxels, cut to the median case."""
    density = [1 / length for length in spacing_mm]
    scale = (_LARGEST_EDGE**3 / math.prod(density)) ** (1 / 3)
    z, y, x = (
        min(round(value * scale), edge) for value, edge in zip(density, median_shape, strict=True)
    )
    return z, y, x


def fit_patch(
    spacing_mm: Sequence[float],
    median_shape: Sequence[float],
    *,
    build: Callable[[Topology], NetConfig],
    fits: Fits,
    max_stages: int | None = None,
) -> tuple[Size, NetConfig]:
    """Return the largest patch on nnU-Net's way down that fits, with its net.

    Parameters
    ----------
    spacing_mm, median_shape : (3,) float
    build : callable
        From a topology to its net.
    fits : callable
        Called with net and patch.
    max_stages : int, optional
        See `plan_topology`.

    Raises
    ------
    ValueError
        If nothing fits that can still be halved once.
    """
    topology = plan_topology(
        initial_patch(spacing_mm, median_shape), spacing_mm, max_stages=max_stages
    )
    net = build(topology)
    while not fits(net, topology.patch):
        ratio = [edge / full for edge, full in zip(topology.patch, median_shape, strict=True)]
        # Of equal ones the last, as a stable sort leaves it.
        axis = max(range(3), key=lambda k: (ratio[k], k))
        # By the step of the smaller patch: the step of this one could leap over valid sizes.
        smaller = _less(topology.patch, axis, topology.divisor[axis])
        step = plan_topology(smaller, spacing_mm, max_stages=max_stages).divisor[axis]
        topology = plan_topology(
            _less(topology.patch, axis, step), spacing_mm, max_stages=max_stages
        )
        net = build(topology)
    return topology.patch, net


@dataclass(frozen=True, kw_only=True)
class _Planner:
    """What stays the same for all configurations of a dataset."""

    rules: PlanRules
    in_channels: int
    out_channels: int
    outputs: int | None
    cases: int

    def net(self, topology: Topology) -> NetConfig:
        return self.rules.net(
            topology, in_channels=self.in_channels, out_channels=self.out_channels
        )

    def fits(self, net: NetConfig, patch: Size) -> bool:
        return feature_map_voxels(net, patch, outputs=self.outputs) <= self.rules.voxels

    def configuration(
        self,
        spacing: Spacing,
        shape: Extent,
        *,
        patch: Sequence[int] | None = None,
        batch: int | None = None,
        dataset_voxels: float | None = None,
    ) -> Configuration:
        limit = self.rules.max_stages
        if patch is None:
            size, net = fit_patch(spacing, shape, build=self.net, fits=self.fits, max_stages=limit)
        else:
            net = self.net(plan_topology(patch, spacing, max_stages=limit))
            size = net.check_patch(patch)
        voxels = math.prod(shape) * self.cases if dataset_voxels is None else dataset_voxels
        return Configuration(
            spacing_mm=spacing,
            median_shape=shape,
            patch=size,
            batch=self.batch(net, size, voxels) if batch is None else batch,
            batch_dice=False,
            net=net,
        )

    def batch(self, net: NetConfig, patch: Size, dataset_voxels: float) -> int:
        estimate = feature_map_voxels(net, patch, outputs=self.outputs)
        by_memory = round(self.rules.voxels / estimate * _REFERENCE_BATCH)
        by_data = round(dataset_voxels * self.rules.dataset_share / math.prod(patch))
        return max(min(by_memory, by_data), self.rules.min_batch)

    def lowres(self, full: Configuration) -> Configuration | None:
        """Return the finest coarser configuration whose patch sees enough of the median case."""
        spacing = list(full.spacing_mm)
        seen, voxels = float(math.prod(full.patch)), math.prod(full.median_shape)
        found = None
        while seen / voxels < self.rules.lowres_share:
            # Axes that are twice as fine as the coarsest first, until they come near it.
            fine = [axis for axis in range(3) if max(spacing) / spacing[axis] > 2]
            for axis in fine or range(3):
                spacing[axis] *= _LOWRES_STEP
            extent = [
                old / new * edge
                for old, new, edge in zip(full.spacing_mm, spacing, full.median_shape, strict=True)
            ]
            voxels = math.prod(extent)
            z, y, x = (float(round(edge)) for edge in extent)
            found = self.configuration(
                (spacing[0], spacing[1], spacing[2]),
                (z, y, x),
                dataset_voxels=voxels * self.cases,
            )
            seen = math.prod(found.patch)
        worth_it = math.prod(full.median_shape) / voxels >= 2
        return found if worth_it else None


def _less(patch: Size, axis: int, step: int) -> Size:
    z, y, x = (edge - step if k == axis else edge for k, edge in enumerate(patch))
    if min(z, y, x) < 1:
        raise ValueError(
            f"no patch fits: {patch} is too large still and cannot be made smaller; allow more "
            "memory or plan a narrower net"
        )
    return z, y, x


def _ordered(values: Sequence[float], order: Sequence[int]) -> Extent:
    z, y, x = (float(values[axis]) for axis in order)
    return z, y, x


def _spacing(values: Sequence[float]) -> Spacing:
    if len(values) != 3 or not all(0 < value < math.inf for value in values):
        raise ValueError(f"spacing_mm must be three lengths > 0, got {tuple(values)}")
    z, y, x = (float(value) for value in values)
    return z, y, x
