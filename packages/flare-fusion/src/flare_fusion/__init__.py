"""Published label-fusion rules as exact lookup tables, on NumPy or CuPy arrays."""
