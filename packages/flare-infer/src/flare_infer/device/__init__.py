"""Fast mode on a CUDA device: windows, sums and decisions stay there, labels come back.

The same code runs on the CPU, where the tests compare it with `flare_infer.sliding`; what only a
GPU has (streams, graphs, the fused kernel) is switched by the device. Nothing of it has been
measured on a GPU yet: what docstrings say of its cost is arithmetic.

Modules load torch when they are imported, but for `member` and `rows`.
"""
