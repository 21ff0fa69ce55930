"""The U-Nets of five published CT systems, their cost, and adapters for nnU-Net weights."""
