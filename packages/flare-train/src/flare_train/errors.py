"""What can end a training run early, as named classes with their exit codes."""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["CheckpointError", "DivergedError", "StoppedError", "TrainingDataError"]


class TrainingDataError(ValueError):
    """Cases that cannot be trained on as asked: labels, grids or classes that do not fit."""

    exit_code = 3


class CheckpointError(ValueError):
    """A checkpoint that is damaged or belongs to another run."""

    exit_code = 3


class DivergedError(ArithmeticError):
    """The loss or its gradient became NaN or infinite.

    Parameters
    ----------
    iteration : int
        The iteration that failed, counted from 0. Its update was not applied.
    value : float
        What came.
    case_ids : sequence of str
        The cases of the batch.
    quantity : str, optional
        What became so.

    Examples
    --------
    >>> print(DivergedError(12, float("nan"), ["case_3", "case_7"]))
    iteration 12: the loss became nan on the cases case_3, case_7; look there for extreme values, or
    lower optimizer.learning_rate, and start again from the last checkpoint
    """

    exit_code = 3

    def __init__(
        self, iteration: int, value: float, case_ids: Sequence[str], *, quantity: str = "loss"
    ) -> None:
        self.iteration = iteration
        self.value = value
        self.case_ids = tuple(case_ids)
        super().__init__(
            f"iteration {iteration}: the {quantity} became {value} on the cases "
            f"{', '.join(self.case_ids)}; look there for extreme values, or lower "
            "optimizer.learning_rate, and start again from the last checkpoint"
        )


class StoppedError(Exception):
    """A signal asked the run to stop; its state is saved and the same command goes on."""

    exit_code = 75
