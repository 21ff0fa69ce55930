"""A case from prepared planes to labels on a device, row of windows by row of windows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flare_infer.decide import logit_operators
from flare_infer.device.engine import DeviceEngine, DeviceSettings
from flare_infer.device.member import DeviceMember
from flare_infer.device.rows import CaseGrid, plan_rows
from flare_infer.device.source import Planes
from flare_infer.device.staging import Slab
from flare_infer.heads import Head
from flare_infer.region import Region, boxed_case
from flare_infer.spec import ModelSpec
from flare_infer.stopwatch import Stopwatch
from flare_io.prepared_planes import PreparedPlanes

__all__ = ["DeviceSettings", "device_slabs"]


def device_slabs(
    members: Sequence[DeviceMember],
    case: PreparedPlanes,
    spec: ModelSpec,
    *,
    region: Region,
    settings: DeviceSettings,
    watch: Stopwatch,
) -> Iterator[NDArray[Any]]:
    """Yield the labels of a case in fast mode.

    Parameters
    ----------
    members : sequence of DeviceMember
        At least one, all on one device.
    case : PreparedPlanes
    spec : ModelSpec
        Of a model that `flare_infer.device.member.stays_on_device`.
    region : Region
        Windows that do not meet it are not run.
    settings : DeviceSettings
    watch : Stopwatch
        Waiting for windows counts as ``network``, waiting for what comes behind them for the step
        that runs outside.

    Yields
    ------
    (planes, y, x) uint8 or uint16 array
        Together ``preparation.cropped_shape``; valid until the next is asked for. The labels of
        `flare_infer.region.region_planes` and `flare_infer.upsample.label_slabs`, but for near
        ties.

    Notes
    -----
    The device is first touched when the first plane has been prepared, and all but the weights is
    given back before the last slab is yielded, or when the case is given up. The CUDA context stays
    as long as the process. While the device is at one row, the host prepares the planes of the next
    and hands on the labels of the one before.

    Memory on the device, beside weights and context: what the net takes for one window; sums,
    ``classes`` times one more than a window's depth of padded planes, in float32; the input, a
    window's depth of planes in half of that; twice the labels of a row.
    """
    operators = logit_operators(case.preparation, spec)
    plane = (operators[1].n_out, operators[2].n_out)
    box = region.window_box(spec.windows)
    if box is None:
        yield _nothing(operators[0].n_out, plane, spec.head)
        return
    part = boxed_case(case.blocks, spec.windows, region=region, box=box)
    grid = CaseGrid(spec.windows, box, operators)
    rows = plan_rows(grid, part.wanted)
    if rows.before:
        yield _nothing(rows.before, plane, spec.head)
    planes = Planes(part.blocks, box.shape[0])
    with watch.step("network"):
        engine = DeviceEngine(members, planes, grid, rows, spec.head, settings)
    try:
        slab: Slab | None = None
        for row in rows.rows:
            with watch.step("network"):
                following = engine.give(row)
            if slab is not None:
                yield from _come(slab, watch)
            slab = following
        assert slab is not None, "a box has rows"
        last = list(_come(slab, watch))
    finally:
        engine.release()
    yield from last
    if rows.behind:
        yield _nothing(rows.behind, plane, spec.head)


def _come(slab: Slab, watch: Stopwatch) -> Iterator[NDArray[Any]]:
    """Yield the labels of a slab when they have come, nothing if there are none."""
    with watch.step("network"):
        slab.windows.wait()
    labels = slab.labels()
    if len(labels):
        yield labels


def _nothing(count: int, plane: tuple[int, int], head: Head) -> NDArray[Any]:
    """Return planes in which all logits are 0; they take the memory of one voxel."""
    label = head.decide(np.zeros((len(head.labels), 1, 1, 1), dtype=np.float32))
    return np.broadcast_to(label, (count, *plane))
