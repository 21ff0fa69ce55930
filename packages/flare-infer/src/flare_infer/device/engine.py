"""The buffers of one case on a device, and the work that is given to it row by row."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor

from flare_infer.device.decide_torch import decide_planes
from flare_infer.device.grids import PlacedLogits, axis_tables
from flare_infer.device.look import RECORDING, WindowLook
from flare_infer.device.member import DeviceMember
from flare_infer.device.place import Place
from flare_infer.device.rows import CaseGrid, Row, Rows
from flare_infer.device.source import DeviceSource, Planes
from flare_infer.device.staging import LabelDownload, Slab
from flare_infer.device.storage import storage_of
from flare_infer.device.sums import DeviceSums
from flare_infer.heads import Head
from flare_infer.window_weights import ShareWeights, window_weights
from flare_infer.windows import Start

__all__ = ["DeviceEngine", "DeviceSettings"]

logger = logging.getLogger(__name__)

Decide = Callable[[int, Tensor], None]


@dataclass(frozen=True, kw_only=True)
class DeviceSettings:
    """How a case is looked at.

    Parameters
    ----------
    constant : bool
        Windows in which every voxel has the same value are predicted once.
    mirror : bool
        Average over the plan's mirror axes.
    on_window : callable, optional
        Called for each member when a window has been given to the device, which may be a row
        behind; an exception from it cancels the case.
    """

    constant: bool = True
    mirror: bool = False
    on_window: Callable[[], None] | None = None


class DeviceEngine:
    """All that a case holds on a device beside the weights; made once, given back by `release`.

    Parameters
    ----------
    members : sequence of DeviceMember
        At least one, all on one device.
    planes : Planes
        Of the box.
    grid : CaseGrid
    rows : Rows
        Given one after the other.
    head : Head
    settings : DeviceSettings

    Notes
    -----
    Nothing is allocated between windows, but for the images of mirroring, the answer to the first
    constant window, and where torch decides in the place of the kernel.
    """

    def __init__(
        self,
        members: Sequence[DeviceMember],
        planes: Planes,
        grid: CaseGrid,
        rows: Rows,
        head: Head,
        settings: DeviceSettings,
    ) -> None:
        windows, classes = grid.windows, len(head.labels)
        self._place = place = Place.open(members[0].device)
        self._members, self._settings = len(members), settings
        self._known: tuple[bytes, Tensor] | None = None
        modules = [member.module for member in members]
        weights = window_weights(windows, grid.padded, mode="fast")
        assert isinstance(weights, ShareWeights), "the layout is a grid"
        size = (max(1, rows.most), grid.operators[1].n_out, grid.operators[2].n_out)
        with place.allocating():
            self._source = DeviceSource(
                place, planes, grid, dtype=storage_of(modules[0]), watched=settings.constant
            )
            self._sums = DeviceSums(place, weights, classes, grid.padded, windows.patch)
            self._labels = LabelDownload(place, size, head.dtype)
        # Last, and nothing is taken from the pool from here on: what a graph has recorded it writes
        # again with each window, and to the pool that memory is free.
        self._look = WindowLook(
            place,
            modules,
            channels=planes.channels,
            classes=classes,
            patch=windows.patch,
            axes=windows.mirror_axes if settings.mirror else (),
        )
        logits = PlacedLogits(self._sums.ring, grid.box, grid.ahead)
        with place.working():
            self._decide = self._decider(logits, grid, head)

    def give(self, row: Row) -> Slab:
        """Give a row to the device: its planes, windows, decision and the copy of its labels."""
        self._source.read(row.end)
        with self._place.working():
            self._sums.ring.extend(row.end)
            for start in row.starts:
                self._sums.add(start, self._prediction(start))
        windows, count = self._place.mark(), row.last - row.first
        labels = self._labels.to_fill(count)
        if count:
            with self._place.working():
                self._decide(row.first, labels)
        return self._labels.send(count, windows)

    def release(self) -> None:
        """Give back graphs, buffers and their pool; the engine cannot be used any more."""
        place = self._place
        place.wait()
        vars(self).clear()
        if place.is_cuda:
            # The pool goes with the last that knows it.
            del place
            with RECORDING:
                torch.cuda.empty_cache()

    def _prediction(self, start: Start) -> Tensor:
        value = self._source.constant(start)
        if value is None or self._known is None or self._known[0] != value:
            self._source.put_window(start, self._look.input)
            prediction = self._look.mean()
            if value is not None:
                prediction = prediction.clone()
                self._known = value, prediction
        else:
            prediction = self._known[1]
        if self._settings.on_window is not None:
            for _ in range(self._members):
                self._settings.on_window()
        return prediction

    def _decider(self, logits: PlacedLogits, grid: CaseGrid, head: Head) -> Decide:
        """Return the kernel where it works, else torch."""
        tables = axis_tables(grid.operators, self._place.device)
        plain = partial(decide_planes, logits, tables, head)
        if not self._place.is_cuda or find_spec("triton") is None:
            return plain
        try:
            from flare_infer.device.decide_triton import KernelDecider

            kernel = KernelDecider(logits, tables, head)
            # Compiled here, where nothing is at stake: Triton needs a C compiler, for one thing.
            kernel(0, self._labels.to_fill(1))
        except Exception as error:
            logger.warning("no kernel, torch decides: %s: %s", type(error).__name__, error)
            return plain
        return kernel
