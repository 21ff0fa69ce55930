"""Libraries that run the networks: one module for each, loaded when it is chosen.

``load(model, ...) -> tuple[Net, ...]`` is all that one has to offer: for each member of a model a
function from windows (1, c, z, y, x) float32 to logits, arrays of NumPy both.
"""
