"""Pre-training without labels: images are spoiled by Models Genesis' transforms and restored.

Implemented from the published description and constants alone.
"""

from flare_train.genesis.loss import restoration_loss
from flare_train.genesis.pairs import restoration_pair

__all__ = ["restoration_loss", "restoration_pair"]
