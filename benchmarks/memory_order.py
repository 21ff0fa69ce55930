"""Time a net in torch's default memory order, with channels-last weights, and channels-last whole.

``python benchmarks/memory_order.py`` runs Swift (32 x 128 x 192, batch 1) and the small net of the
phantom recipes (32 x 48 x 48, batch 2) on one thread: forward, backward, and forward without
gradients. One line for each, the gain of `flare_nets.use_channels_last` over the default order
first; ``benchmarks/results/memory_order.json`` keeps medians and spread in processor seconds.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import dataclasses
import json
import statistics
import time
from pathlib import Path

import torch
from machine import describe_machine

from flare_nets import NetConfig, UNet, build_net, preset, use_channels_last

RESULTS = Path(__file__).parent / "results" / "memory_order.json"
SWIFT = preset("swift").config
NETS: dict[str, tuple[NetConfig, tuple[int, ...]]] = {
    "swift": (SWIFT, (1, 1, 32, 128, 192)),
    "mini": (
        dataclasses.replace(SWIFT, features=(8, 16, 32, 64), out_channels=7),
        (2, 1, 32, 48, 48),
    ),
}
STEPS = ("forward", "backward", "inference")


def in_order(config: NetConfig, order: str) -> UNet:
    """Build a net in one of the orders."""
    net = build_net(config, generator=torch.Generator().manual_seed(0))
    if order == "channels-last":
        return use_channels_last(net)
    if order == "weights only":
        for weight in net.parameters():
            if weight.ndim == 5:
                weight.data = weight.data.contiguous(memory_format=torch.channels_last_3d)
    return net


def one_round(net: UNet, x: torch.Tensor) -> tuple[float, ...]:
    """Return processor seconds of each of STEPS."""
    started = time.process_time()
    loss = torch.stack([level.square().mean() for level in net.forward_all(x)]).sum()
    forward = time.process_time()
    torch.autograd.backward(loss)
    backward = time.process_time()
    with torch.inference_mode():
        net(x)
    return forward - started, backward - forward, time.process_time() - backward


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    record = {"machine": describe_machine("torch", "flare-nets"), "rounds": rounds, "nets": {}}
    for name, (config, shape) in NETS.items():
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
        orders = ("default", "weights only", "channels-last")
        nets = {order: in_order(config, order) for order in orders}
        times: dict[str, list[tuple[float, ...]]] = {order: [] for order in orders}
        # The orders take turns, so that other work on the machine meets them alike.
        for turn in range(rounds + 1):
            for order, net in nets.items():
                seconds = one_round(net, x)
                if turn:
                    times[order].append(seconds)
        figures = {
            order: {
                step: {
                    "median_s": round(statistics.median(column), 4),
                    "spread_s": [round(min(column), 4), round(max(column), 4)],
                }
                for step, column in zip(STEPS, zip(*rows, strict=True), strict=True)
            }
            for order, rows in times.items()
        }
        record["nets"][name] = figures
        for step in STEPS:
            medians = [figures[order][step]["median_s"] for order in orders]
            print(
                f"{name} {step}: {medians[0] / medians[2]:.2f} x the default order "
                f"({medians[2]:.3f} s; default {medians[0]:.3f}, weights only {medians[1]:.3f})"
            )
    RESULTS.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
