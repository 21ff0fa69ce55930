"""Segmentation accuracy and cost as the FLARE challenge measures them, and soundly."""
