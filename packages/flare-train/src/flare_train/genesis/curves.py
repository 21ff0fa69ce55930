"""Intensities through a random Bezier curve."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["apply_curve", "draw_curve"]

_POINTS = 1025


def draw_curve(rng: np.random.Generator, *, decreasing_p: float) -> NDArray[np.float32]:
    """Draw a curve on [0, 1].

    Parameters
    ----------
    rng : numpy.random.Generator
        Gives the two inner control points and the direction.
    decreasing_p : float
        Probability of a falling curve.

    Returns
    -------
    (1025,) float32 array
        Value at 0, 1/1024, ..., 1; from 0 to 1, or from 1 to 0.

    Notes
    -----
    The curve is cubic, from (0, 0) through two points that are drawn evenly in the unit square to
    (1, 1). Both of its coordinates rise with the parameter, whatever the two points are. A falling
    curve reads the ordinates in the opposite direction.

    Examples
    --------
    >>> curve = draw_curve(np.random.default_rng(0), decreasing_p=0)
    >>> curve[0].item(), curve[-1].item()
    (0.0, 1.0)
    """
    (x1, y1), (x2, y2) = rng.random((2, 2))
    parameter = np.linspace(0, 1, _POINTS)
    first = 3 * parameter * (1 - parameter) ** 2
    second = 3 * parameter**2 * (1 - parameter)
    abscissa = first * x1 + second * x2 + parameter**3
    ordinate = first * y1 + second * y2 + parameter**3
    if rng.random() < decreasing_p:
        ordinate = ordinate[::-1]
    grid = np.linspace(0, 1, _POINTS)
    curve: NDArray[np.float32] = np.interp(grid, abscissa, ordinate).astype(np.float32)
    return curve


def apply_curve(image: Tensor, curve: NDArray[np.float32]) -> Tensor:
    """Return an image in [0, 1] with its intensities taken from a curve, linearly interpolated.

    Examples
    --------
    >>> import torch
    >>> apply_curve(torch.tensor([0.0, 0.25, 1.0]), np.array([1, 0.5, 0.25], np.float32)).tolist()
    [1.0, 0.75, 0.25]
    """
    table = torch.as_tensor(curve, device=image.device)
    position = image * (len(curve) - 1)
    below = position.floor().clamp_(0, len(curve) - 2)
    # Values and slopes are looked up together: two numbers lie side by side.
    pairs = torch.stack([table[:-1], table.diff()], dim=1)
    found = pairs.index_select(0, below.to(torch.int32).reshape(-1)).view(*image.shape, 2)
    return torch.addcmul(found[..., 0], position - below, found[..., 1])
