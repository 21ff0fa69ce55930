"""Learn organ and tumor segmentation from partially labeled CT, resumable, as recipes."""
