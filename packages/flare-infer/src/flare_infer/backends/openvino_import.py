"""OpenVINO, imported without its report to a server.

``import openvino`` loads ``openvino_telemetry`` where that is installed, as it is with pip, which
writes an identifier to the home folder and sends an event. Hidden while OpenVINO loads, OpenVINO
takes the stub it has for its absence. An application that imported OpenVINO before has chosen
itself.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

__all__ = ["openvino", "opset"]

_TELEMETRY = "openvino_telemetry"


def _import_quietly() -> ModuleType:
    if "openvino" in sys.modules or _TELEMETRY in sys.modules:
        return import_module("openvino")
    # None makes an import fail as if the package were absent.
    sys.modules[_TELEMETRY] = None  # type: ignore[assignment]
    try:
        return import_module("openvino")
    finally:
        del sys.modules[_TELEMETRY]


openvino: Any = _import_quietly()
opset: Any = import_module("openvino.opset13")
