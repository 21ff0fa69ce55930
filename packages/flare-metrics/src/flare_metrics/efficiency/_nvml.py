"""Memory of one GPU by NVML, the library behind nvidia-smi."""

from __future__ import annotations

from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any, NamedTuple

from flare_metrics.efficiency.samples import GpuDevice

NO_GPU = "none"
_MIB = 2**20
_FOREIGN_SAMPLES = 10


class GpuReading(NamedTuple):
    """Device memory in MiB; None where NVML does not tell."""

    used_mib: float | None = None
    reserved_mib: float | None = None
    tree_mib: float | None = None


class NvmlReader:
    """Reads one device.

    Parameters
    ----------
    nvml : module
        ``pynvml``, already initialized.
    handle : object
        The device.
    exists : callable
        Tells whether a process of that number can be seen from here.

    Attributes
    ----------
    device : GpuDevice
    notes : list of str
        What NVML refused, once each.
    """

    def __init__(self, nvml: Any, handle: Any, *, exists: Callable[[int], bool]) -> None:
        self._nvml = nvml
        self._handle = handle
        self._exists = exists
        self._reserved = True
        self._processes = True
        self._foreign = 0
        self.notes: list[str] = []
        self.device = GpuDevice(
            index=int(nvml.nvmlDeviceGetIndex(handle)),
            name=_text(nvml.nvmlDeviceGetName(handle)),
            uuid=_text(nvml.nvmlDeviceGetUUID(handle)),
            driver=_text(nvml.nvmlSystemGetDriverVersion()),
            total_mib=nvml.nvmlDeviceGetMemoryInfo(handle).total / _MIB,
        )

    def read(self, pids: Collection[int]) -> GpuReading:
        """Read the device, and what the given processes hold of it."""
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(self._handle)
        except self._nvml.NVMLError as error:
            self._note(f"GPU memory could not be read at some times: {error}")
            return GpuReading()
        used = (memory.total - memory.free) / _MIB
        return GpuReading(used, self._reserved_mib(), self._tree_mib(pids))

    def _reserved_mib(self) -> float | None:
        if not self._reserved:
            return None
        try:
            memory = self._nvml.nvmlDeviceGetMemoryInfo(
                self._handle, version=self._nvml.nvmlMemory_v2
            )
        except (self._nvml.NVMLError, AttributeError, TypeError) as error:
            self._reserved = False
            self._note(f"NVML does not tell what the driver reserves: {error}")
            return None
        return float(memory.reserved) / _MIB

    def _tree_mib(self, pids: Collection[int]) -> float | None:
        if not self._processes:
            return None
        try:
            listed = [
                *self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle),
                *self._nvml.nvmlDeviceGetGraphicsRunningProcesses(self._handle),
            ]
        except self._nvml.NVMLError as error:
            self._refuse_processes(f"NVML does not list processes: {error}")
            return None
        if listed and not any(self._exists(process.pid) for process in listed):
            # Once may be a process that is just ending.
            self._foreign += 1
            if self._foreign == _FOREIGN_SAMPLES:
                self._note(
                    "GPU memory of the processes is unknown: NVML numbers them as the host does, "
                    "and this seems to run inside a container"
                )
            return None
        held: dict[int, float] = {}
        for process in listed:
            if process.pid not in pids:
                continue
            if process.usedGpuMemory is None:
                self._refuse_processes("NVML does not tell the memory of each process")
                return None
            # One that computes and draws is in both lists with the same number.
            held[process.pid] = max(held.get(process.pid, 0.0), process.usedGpuMemory / _MIB)
        return sum(held.values())

    def _refuse_processes(self, note: str) -> None:
        self._processes = False
        self._note(note)

    def _note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def open_gpu(
    gpu: str | None, *, exists: Callable[[int], bool]
) -> tuple[NvmlReader | None, tuple[str, ...]]:
    """Open one device.

    Parameters
    ----------
    gpu : str or None
        Index as in ``nvidia-smi``, or UUID, whole or its beginning; ``"none"`` for no device.
        None takes the first one if there is any.
    exists : callable
        Tells whether a process can be seen from here.

    Returns
    -------
    reader : NvmlReader or None
    notes : tuple of str
        Why there is none.

    Raises
    ------
    ValueError
        If a device was asked for and cannot be read.
    """
    if gpu == NO_GPU:
        return None, ("no GPU was watched: none was asked for",)
    try:
        nvml = import_module("pynvml")
    except ImportError:
        return _refused(gpu, "nvidia-ml-py is not installed (extra 'resources')")
    try:
        nvml.nvmlInit()
        handle = _handle(nvml, gpu)
        if handle is None:
            return _refused(gpu, f"NVML sees {nvml.nvmlDeviceGetCount()} devices")
        reader = NvmlReader(nvml, handle, exists=exists)
    except nvml.NVMLError as error:
        return _refused(gpu, f"NVML: {error}")
    return reader, ()


def _handle(nvml: Any, gpu: str | None) -> Any:
    devices = [nvml.nvmlDeviceGetHandleByIndex(index) for index in range(nvml.nvmlDeviceGetCount())]
    if gpu is None or gpu.isdecimal():
        index = int(gpu or 0)
        return devices[index] if index < len(devices) else None
    matches = [
        device for device in devices if _text(nvml.nvmlDeviceGetUUID(device)).startswith(gpu)
    ]
    return matches[0] if len(matches) == 1 else None


def _refused(gpu: str | None, reason: str) -> tuple[None, tuple[str, ...]]:
    if gpu is not None:
        raise ValueError(f"gpu must be the index or UUID of a device, got {gpu!r}; {reason}")
    return None, (f"no GPU was watched: {reason}",)


def _text(value: str | bytes) -> str:
    # Old versions of the module return bytes.
    return value.decode() if isinstance(value, bytes) else value
