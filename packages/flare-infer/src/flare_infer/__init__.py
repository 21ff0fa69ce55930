"""Segment CT with a model folder, or with an nnU-Net v2 model: same labels."""
