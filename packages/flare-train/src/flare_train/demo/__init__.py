"""The whole way once, on patients that never existed: data, fusion, training, prediction, scores.

`run_demo` does it; every stage leaves its result in the folder, and running it again finishes what
is missing.
"""

from flare_train.demo.report import DemoReport
from flare_train.demo.scales import DemoScale, demo_scale
from flare_train.demo.stages import run_demo

__all__ = ["DemoReport", "DemoScale", "demo_scale", "run_demo"]
