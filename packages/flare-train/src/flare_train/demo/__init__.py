"""The whole way once, on patients that never existed: data, fusion, training, prediction, scores.

`run_demo` does it; every stage leaves its result in the folder, and running it again finishes what
is missing.
"""

from flare_train.demo.report import DemoReport
from flare_train.demo.run import run_demo

__all__ = ["DemoReport", "run_demo"]
