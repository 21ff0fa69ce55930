"""Cases, nets and oracles for the engine of `flare_infer.device`."""

from types import SimpleNamespace

import numpy as np
import torch

from flare_infer.device.member import DeviceMember
from flare_infer.device.segment import DeviceSettings, device_slabs
from flare_infer.region import Region, region_planes
from flare_infer.stopwatch import Stopwatch
from flare_io.crop import Box
from flare_io.geometry import AxisOrder, Geometry
from flare_io.intensity import Intensity
from flare_io.preparation import Preparation
from flare_io.prepared_planes import PreparedPlanes
from flare_io.preprocessing import Preprocessing

CPU = torch.device("cpu")


class PlaceNet(torch.nn.Module):
    """Logits of some classes that depend on the voxel and on its place inside the window."""

    def __init__(self, classes, *, seed=0, storage=torch.float32):
        super().__init__()
        rng = np.random.default_rng(seed)
        table = torch.from_numpy(rng.normal(size=(classes, 5)).astype(np.float32))
        self.table = torch.nn.Parameter(table.to(storage), requires_grad=False)
        self.windows = []

    def forward(self, window):
        self.windows.append(window.clone())
        z, y, x = (torch.linspace(-1, 1, n, dtype=window.dtype) for n in window.shape[2:])
        value = window.mean(dim=1)
        parts = torch.broadcast_tensors(
            value, value.abs(), z[:, None, None], y[:, None], x.expand(value.shape)
        )
        return torch.einsum("ck,kbzyx->bczyx", self.table, torch.stack(parts))


def member_of(module, device=CPU):
    """A member that is settled already."""
    return DeviceMember(lambda: module, run_on_host, device)


def run_on_host(module, windows):
    with torch.inference_mode():
        return module(torch.from_numpy(windows)).numpy()


def host_net(module):
    return lambda window: run_on_host(module, window)


def preparation_of(small, large, *, spacing_mm=(1.0, 1.0, 1.0)):
    """The way from a network's grid to a finer one."""
    fine = tuple(s * n / m for s, n, m in zip(spacing_mm, small, large, strict=True))
    return Preparation(
        source_shape=large,
        source_geometry=Geometry(fine),
        order=AxisOrder((0, 1, 2), (False, False, False)),
        box=Box.whole(large),
        shape=small,
        spacing_mm=spacing_mm,
    )


def description(windows, head, *, channels=1, order="resample-decide", components=None):
    """What the engine reads of a model's description."""
    intensities = (Intensity(scheme="none"),) * channels
    return SimpleNamespace(
        windows=windows,
        head=head,
        order=order,
        components=components,
        preprocessing=Preprocessing(spacing_mm=(1.0, 1.0, 1.0), intensities=intensities),
    )


def blocks_of(array, sizes=(3, 2, 5)):
    """The planes of a case in blocks of changing sizes."""
    first = 0
    while first < array.shape[1]:
        for size in sizes:
            if first < array.shape[1]:
                yield array[:, first : first + size]
            first += size


def device_labels(members, array, spec, large, *, region=None, preparation=None, **settings):
    """All labels that the engine gives for a case."""
    preparation = preparation or preparation_of(array.shape[1:], large)
    slabs = device_slabs(
        members,
        PreparedPlanes(preparation, blocks_of(array)),
        spec,
        region=region or Region(array.shape[1:]),
        settings=DeviceSettings(**settings),
        watch=Stopwatch({}),
    )
    return np.concatenate([slab.copy() for slab in slabs])


def host_logits(modules, array, spec, *, region=None, mirror=False):
    """The logits (classes, z, y, x) that the host's engine gives for a case."""
    planes = region_planes(
        [host_net(module) for module in modules],
        [array],
        spec.windows,
        region=region or Region(array.shape[1:]),
        head=spec.head,
        mirror=mirror,
    )
    return np.stack([plane.copy() for plane in planes], axis=1)
