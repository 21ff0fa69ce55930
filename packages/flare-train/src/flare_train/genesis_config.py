"""How an image is spoiled that a net learns to restore: Models Genesis' constants."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Literal

from flare_train.settings import Range, require, require_range, require_share

__all__ = ["GenesisConfig"]


@dataclass(frozen=True, kw_only=True)
class GenesisConfig:
    """Probabilities and sizes of the four transforms, and how images relate to CT numbers.

    Parameters
    ----------
    window_hu : (low, high)
        CT numbers that become 0 and 1; what lies outside is clipped.
    mean_hu, deviation_hu : float
        Of the images that come: their values times `deviation_hu` plus `mean_hu` are CT numbers.
        The defaults 0 and 1 say that they hold CT numbers.
    inputs : {"given", "unit"}
        What the net sees: the units of the images that come, which it also sees when it is trained
        on labels later, or [0, 1].
    flip_p, flip_rounds : float, int
        Rounds in which one random axis of input and target is mirrored; the first miss ends them.
    shuffle_p : float
        How often voxels are shuffled within small blocks.
    shuffle_divisor : int
        The longest edge of a block along an axis is the size of the axis divided by this.
    shuffle_coverage, shuffle_layers : float, int
        Share of the voxels that lie in a block, and how often space is cut into blocks.
    curve_p, decreasing_p : float
        How often intensities go through a curve, and how often that curve falls.
    paint_p, inner_p : float
        How often noise is painted, and how often it then fills boxes instead of their outside.
    boxes, box_p : int, float
        Most boxes; each after the first comes with this probability, the first miss ends them.
    loss : {"mse", "l1"}
        Mean of the squared or of the absolute differences to the image that was spoiled.

    Notes
    -----
    Constants are those of the original configuration for cubes of 64 x 64 x 32 voxels. Its 10 000
    blocks cover, counted with overlap, 1.87 times such a cube, so that 1 - exp(-1.87) = 0.85 of its
    voxels are shuffled. For S2, which says mean squared error and prints an absolute difference,
    the squared one is the reading by default.
    """

    window_hu: Range = (-1000.0, 1000.0)
    mean_hu: float = 0.0
    deviation_hu: float = 1.0
    inputs: Literal["given", "unit"] = "given"
    flip_p: float = 0.4
    flip_rounds: int = 3
    shuffle_p: float = 0.5
    shuffle_divisor: int = 10
    shuffle_coverage: float = 0.85
    shuffle_layers: int = 2
    curve_p: float = 0.9
    decreasing_p: float = 0.5
    paint_p: float = 0.9
    inner_p: float = 0.2
    boxes: int = 5
    box_p: float = 0.95
    loss: Literal["mse", "l1"] = "mse"

    def __post_init__(self) -> None:
        for entry in dataclasses.fields(self):
            if entry.name.endswith("_p"):
                require_share(f"genesis.{entry.name}", getattr(self, entry.name))
        require_share("genesis.shuffle_coverage", self.shuffle_coverage)
        require_range("genesis.window_hu", self.window_hu)
        require(
            self.window_hu[0] < self.window_hu[1],
            "genesis.window_hu",
            "hold more than one CT number",
            self.window_hu,
        )
        require(self.deviation_hu > 0, "genesis.deviation_hu", "be > 0", self.deviation_hu)
        for name, least in (
            ("flip_rounds", 0),
            ("shuffle_divisor", 1),
            ("shuffle_layers", 1),
            ("boxes", 1),
        ):
            value = getattr(self, name)
            require(value >= least, f"genesis.{name}", f"be >= {least}", value)
        require(
            self.inputs in ("given", "unit"),
            "genesis.inputs",
            "be 'given' or 'unit'",
            self.inputs,
        )
        require(self.loss in ("mse", "l1"), "genesis.loss", "be 'mse' or 'l1'", self.loss)
