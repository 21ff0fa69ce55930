"""Which backend runs a model; nothing here loads one."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, get_args

from flare_infer.processor import has_bfloat16
from flare_infer.spec import Mode

__all__ = ["BackendName", "Choice", "MissingError", "Precision", "PrecisionName", "choose"]

BackendName = Literal["auto", "torch", "openvino"]
Precision = Literal["float32", "bfloat16", "int8"]
PrecisionName = Literal["auto", "float32", "bfloat16", "int8"]

_NARROW = ("bfloat16", "int8")

# One of these is there wherever Linux has a GPU that torch can use: Nvidia, Nvidia's boards,
# Windows' Linux, AMD.
_GPU_FILES = ("/dev/nvidiactl", "/dev/nvmap", "/dev/dxg", "/dev/kfd")


class MissingError(RuntimeError):
    """A device or library that was asked for and is absent: a lack of resources."""

    exit_code = 5


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Where networks run.

    Parameters
    ----------
    device : str
        ``"cpu"`` or a CUDA device.
    backend : {"auto", "torch", "openvino"}
    precision : {"auto", "float32", "bfloat16", "int8"}
        Of arithmetic on the CPU. ``auto``: bfloat16 where OpenVINO runs and the processor has it.
    """

    device: str
    backend: BackendName = "auto"
    precision: PrecisionName = "auto"

    @property
    def needs_openvino(self) -> bool:
        """Whether what was asked for runs with OpenVINO only."""
        return self.backend == "openvino" or self.precision in _NARROW

    def backend_for(self, mode: Mode) -> Literal["torch", "openvino"]:
        """Return the backend of a mode: ``exact`` needs torch's rounding.

        Raises
        ------
        ValueError
            If the mode needs another backend than the one that was asked for.
        """
        if self.backend == "torch" or self.device != "cpu":
            return "torch"
        if mode == "exact":
            if self.needs_openvino:
                asked = "openvino" if self.backend == "openvino" else self.precision
                raise ValueError(
                    f"mode exact needs backend torch in float32, got {asked}; give mode fast"
                )
            return "torch"
        return "openvino" if self.backend == "openvino" or _has_openvino() else "torch"

    def precision_for(self, mode: Mode) -> Precision:
        """Return the precision of a mode; raises as `backend_for` does."""
        if self.backend_for(mode) == "torch":
            return "float32"
        if self.precision != "auto":
            return self.precision
        return "bfloat16" if has_bfloat16() else "float32"

    def to_dict(self, mode: Mode) -> dict[str, str]:
        """Return what labels depend on, for a report; on a GPU both modes run in float16."""
        precision = self.precision_for(mode) if self.device == "cpu" else "float16"
        return {"backend": self.backend_for(mode), "precision": precision}


def choose(
    device: str, *, backend: BackendName = "auto", precision: PrecisionName = "auto"
) -> Choice:
    """Check a request and find the device.

    Parameters
    ----------
    device : str
        ``"cpu"``, ``"cuda"``, ``"cuda:N"``, or ``"auto"``: the first GPU if there is one.
    backend : {"auto", "torch", "openvino"}
        ``auto``: OpenVINO in fast mode on the CPU where it is installed, torch else.
    precision : {"auto", "float32", "bfloat16", "int8"}
        ``auto``: bfloat16 where OpenVINO runs and the processor has it, float32 else.

    Raises
    ------
    ValueError
        If a value is none of these, or they contradict one another.
    MissingError
        If the device or OpenVINO is not there.

    Notes
    -----
    Loads torch only where a GPU may be or is asked for.
    """
    if backend not in get_args(BackendName):
        raise ValueError(f"backend must be auto, torch or openvino, got {backend!r}")
    if precision not in get_args(PrecisionName):
        raise ValueError(f"precision must be auto, float32, bfloat16 or int8, got {precision!r}")
    kind, _, index = device.partition(":")
    if kind not in ("auto", "cpu", "cuda") or (
        index and not (kind == "cuda" and index.isdecimal())
    ):
        raise ValueError(f"device must be auto, cpu or cuda, got {device!r}")
    wants_openvino = backend == "openvino" or precision in _NARROW
    if wants_openvino and backend == "torch":
        raise ValueError(f"precision {precision} needs backend openvino, got torch")
    if wants_openvino and kind == "cuda":
        raise ValueError(f"backend openvino runs on the CPU, got device {device}")
    if wants_openvino and not _has_openvino():
        raise MissingError("OpenVINO is not installed; pip install 'flare-infer[openvino]'")
    if kind == "cpu" or wants_openvino or (kind == "auto" and not _may_have_gpu()):
        return Choice(device="cpu", backend=backend, precision=precision)
    from flare_infer.backends.torch import find_device

    return Choice(device=find_device(device), backend=backend, precision=precision)


def _has_openvino() -> bool:
    return find_spec("openvino") is not None


def _may_have_gpu() -> bool:
    """Return False where it is sure without torch that there is no GPU for it."""
    if sys.platform == "linux":
        return any(Path(file).exists() for file in _GPU_FILES)
    return sys.platform != "darwin"
