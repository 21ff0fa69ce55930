"""Random changes of a batch: parameters are drawn first, by key, and then applied purely."""

from flare_train.augment.compose import augment
from flare_train.augment.parameters import BatchParameters, draw_parameters

__all__ = ["BatchParameters", "augment", "draw_parameters"]
