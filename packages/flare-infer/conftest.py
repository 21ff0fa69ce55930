"""What pytest leaves out where an optional library is not installed."""

from importlib.util import find_spec

# Its doctests cannot be looked for without Triton, which comes with torch's builds for CUDA.
collect_ignore = [] if find_spec("triton") else ["src/flare_infer/device/decide_triton.py"]
