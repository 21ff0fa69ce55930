"""What can be wrong with a model, as one named class."""

from __future__ import annotations

from flare_io.errors import DataError

__all__ = ["ModelError"]


class ModelError(DataError, ValueError):
    """A model folder or nnU-Net folder that is refused; nothing in it has been run.

    Parameters are those of `flare_io.errors.DataError`; the exit code is that of a refused model.

    Examples
    --------
    >>> str(ModelError("m/model.json", "must be JSON", remedy="write the model again"))
    'm/model.json: must be JSON; write the model again'
    """

    exit_code = 6
    default_kind = "model"
