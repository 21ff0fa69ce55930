"""JSON files that describe a model, read with errors that name them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from flare_infer.errors import ModelError

__all__ = ["read_object"]


def read_object(path: Path, *, remedy: str) -> dict[str, Any]:
    """Return the JSON object of a file; ``remedy`` says what to do where there is no file."""
    try:
        content = json.loads(path.read_bytes())
    except OSError as error:
        raise ModelError(path, f"cannot be read: {error.strerror}", remedy=remedy) from error
    except ValueError as error:
        raise ModelError(path, f"is not JSON: {error}", remedy=remedy) from error
    if not isinstance(content, dict):
        raise ModelError(path, "must hold a JSON object", found=type(content).__name__)
    return content
