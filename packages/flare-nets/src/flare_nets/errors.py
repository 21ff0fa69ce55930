"""What can be wrong with weights from elsewhere."""

from __future__ import annotations

__all__ = ["WeightsError"]


class WeightsError(ValueError):
    """A state dict that does not fit the net; the message lists the tensors.

    ``exit_code`` is what a command returns for it (a model that is refused).
    """

    exit_code = 6
