"""Losses on partially annotated cases: one formula family per module.

`segmentation_loss` is what a training step calls; `flare_train.LossConfig` names the variants.
Everything is computed in float32 at least, whatever precision the network ran in.
"""

from flare_train.losses.deep_supervision import deep_supervision_weights
from flare_train.losses.label_sets import label_set_loss, label_sets
from flare_train.losses.segmentation import segmentation_loss

__all__ = ["deep_supervision_weights", "label_set_loss", "label_sets", "segmentation_loss"]
