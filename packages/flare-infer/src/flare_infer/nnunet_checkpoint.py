"""The checkpoints of nnU-Net v1 and v2, read without running code.

They are pickles. torch's weights-only unpickler reads them, with a short list of harmless NumPy
types added, so that a crafted one is refused and never run.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Collection
from pathlib import Path
from typing import Any

from flare_infer.errors import ModelError

__all__ = ["load_nnunet_checkpoint"]


def load_nnunet_checkpoint(
    path: os.PathLike[str] | str, *, required: Collection[str]
) -> dict[str, Any]:
    """Return what a checkpoint of nnU-Net holds, tensors on the CPU.

    Parameters
    ----------
    path : path
        ``checkpoint_*.pth`` of v2 or ``model_*.model`` of v1.
    required : collection of str
        Keys that must be there, such as ``network_weights`` (v2) or ``state_dict`` (v1).

    Raises
    ------
    ModelError
        If the file is broken, would run code or lacks a key.
    """
    import torch

    source = Path(path)
    try:
        with torch.serialization.safe_globals(_harmless_types()):
            content = torch.load(source, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModelError(
            source,
            "is no checkpoint that loads without running code",
            found=" ".join(str(error).split())[:200],
            remedy="if you trust its maker, save it again from nnU-Net",
            kind="unsafe-pickle",
        ) from error
    except (OSError, RuntimeError, EOFError, ValueError, KeyError) as error:
        message = " ".join(str(error).split())[:200]
        raise ModelError(
            source, f"is broken: {message}", remedy="copy it again", kind="truncated"
        ) from error
    wanted = set(required)
    if not isinstance(content, dict) or not wanted <= set(content):
        found = (
            sorted(map(str, content))[:8] if isinstance(content, dict) else type(content).__name__
        )
        raise ModelError(source, f"must hold {sorted(wanted)}", found=str(found))
    return content


def _harmless_types() -> list[Any]:
    """Return the NumPy types that nnU-Net's log of scalars needs, and nothing that acts."""
    import numpy as np
    from numpy._core.multiarray import scalar
    from numpy.dtypes import BoolDType, Float32DType, Float64DType, Int32DType, Int64DType

    kinds = [BoolDType, Float32DType, Float64DType, Int32DType, Int64DType]
    # Checkpoints written under NumPy 1 know the module by its older name.
    return [np.dtype, scalar, (scalar, "numpy.core.multiarray.scalar"), *kinds]
