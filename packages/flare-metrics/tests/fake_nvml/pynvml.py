"""NVML as a JSON file describes it, for tests that have no GPU.

The environment variable FAKE_NVML names the file:
``devices``: each with ``uuid``, ``name``, ``total``, ``used`` (MiB; one value a reading, the last
one for all further ones), ``reserved`` (MiB or absent), ``compute`` and ``graphics`` (pairs of
process and MiB or null; the process ``"parent"`` is the parent of the caller);
``errors``: function name to the number of an NVML error; ``error_from``: function name to the
reading from which on the error comes.
"""

import json
import os
from pathlib import Path
from types import SimpleNamespace

NVML_ERROR_NOT_SUPPORTED = 3
NVML_ERROR_NO_PERMISSION = 4
NVML_ERROR_LIBRARY_NOT_FOUND = 12
NVML_ERROR_GPU_IS_LOST = 15
nvmlMemory_v2 = 0x02000028  # noqa: N816  # NVML's name

_MIB = 2**20
_TEXTS = {
    3: "Not Supported",
    4: "Insufficient Permissions",
    12: "NVML Shared Library Not Found",
    15: "GPU is lost",
}
_calls = {}


class NVMLError(Exception):
    def __init__(self, value):
        self.value = value

    def __str__(self):
        return _TEXTS[self.value]


def _state():
    return json.loads(Path(os.environ["FAKE_NVML"]).read_text())


def _called(name):
    state = _state()
    _calls[name] = _calls.get(name, 0) + 1
    code = state.get("errors", {}).get(name)
    if code is not None and _calls[name] > state.get("error_from", {}).get(name, 0):
        raise NVMLError(code)
    return state


def nvmlInit():  # noqa: N802
    _called("nvmlInit")


def nvmlSystemGetDriverVersion():  # noqa: N802
    return b"570.1"


def nvmlDeviceGetCount():  # noqa: N802
    return len(_called("nvmlDeviceGetCount")["devices"])


def nvmlDeviceGetHandleByIndex(index):  # noqa: N802
    return index


def nvmlDeviceGetIndex(handle):  # noqa: N802
    return handle


def nvmlDeviceGetName(handle):  # noqa: N802
    return _state()["devices"][handle]["name"].encode()


def nvmlDeviceGetUUID(handle):  # noqa: N802
    return _state()["devices"][handle]["uuid"]


def nvmlDeviceGetMemoryInfo(handle, version=None):  # noqa: N802
    if version is not None:
        device = _called("nvmlDeviceGetMemoryInfo_v2")["devices"][handle]
        if "reserved" not in device:
            raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
        return SimpleNamespace(reserved=device["reserved"] * _MIB)
    device = _called("nvmlDeviceGetMemoryInfo")["devices"][handle]
    # The first reading asks for the size of the device.
    reading = min(max(_calls["nvmlDeviceGetMemoryInfo"] - 2, 0), len(device["used"]) - 1)
    used = device["used"][reading] * _MIB
    total = device["total"] * _MIB
    # Used differs from total less free where the driver reserves memory.
    return SimpleNamespace(total=total, free=total - used, used=used - 1)


def nvmlDeviceGetComputeRunningProcesses(handle):  # noqa: N802
    return _listed("nvmlDeviceGetComputeRunningProcesses", handle, "compute")


def nvmlDeviceGetGraphicsRunningProcesses(handle):  # noqa: N802
    return _listed("nvmlDeviceGetGraphicsRunningProcesses", handle, "graphics")


def _listed(function, handle, kind):
    return [
        SimpleNamespace(
            pid=os.getppid() if pid == "parent" else pid,
            usedGpuMemory=None if mib is None else mib * _MIB,
        )
        for pid, mib in _called(function)["devices"][handle].get(kind, [])
    ]
