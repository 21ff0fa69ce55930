"""The command ``flare-nets``: list the presets, count what one costs."""

from __future__ import annotations

import argparse
import json
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata

from flare_nets.presets import Preset, preset, preset_names

__all__ = ["main"]

# The exit codes of every flare command, as far as this one needs them.
_DONE, _BUG, _USAGE, _RESOURCES, _INTERRUPTED = 0, 1, 2, 5, 130


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    arguments = _parser().parse_args(argv)
    run: Callable[[argparse.Namespace], None] = arguments.run
    try:
        run(arguments)
    except BrokenPipeError:
        # The reader of our output went away, as in `| head`.
        sys.stderr.close()
    except (Exception, KeyboardInterrupt) as error:
        if arguments.debug:
            traceback.print_exc()
        return _report(error, as_json=arguments.json)
    return _DONE


def _report(error: BaseException, *, as_json: bool) -> int:
    """Say in one line what went wrong and return the exit code for it."""
    code, kind = _BUG, "bug"
    if isinstance(error, KeyboardInterrupt):
        code, kind = _INTERRUPTED, "interrupted"
    elif isinstance(error, MemoryError):
        code, kind = _RESOURCES, "resources"
    elif isinstance(error, ValueError | TypeError):
        code, kind = _USAGE, "usage"
    message = " ".join(str(error).split()) or type(error).__name__
    if kind == "bug":
        message = f"bug: {type(error).__name__}: {message}; run again with --debug and report it"
    if as_json:
        print(json.dumps({"error": {"kind": kind, "source": "", "rule": message}}))
    print(f"flare-nets: {message}", file=sys.stderr)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="flare-nets", description=__doc__)
    version = metadata.version("flare-nets")
    parser.add_argument("--version", action="version", version=f"flare-nets {version}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="print one JSON object")
    common.add_argument("--debug", action="store_true", help="show the traceback of an error")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    listing = commands.add_parser("list", parents=[common], help="list the presets")
    listing.set_defaults(run=_list)

    cost = commands.add_parser(
        "cost", parents=[common], help="count parameters, multiply-accumulates and memory"
    )
    cost.add_argument("preset", metavar="PRESET", help="a name that `flare-nets list` prints")
    cost.add_argument(
        "--patch", nargs=3, type=int, metavar=("Z", "Y", "X"), help="voxels; default: the preset's"
    )
    cost.add_argument("--layers", action="store_true", help="one line for every convolution too")
    cost.add_argument(
        "--precision", default="float32", choices=("float32", "float16", "bfloat16"),
        help="type of the activations",
    )  # fmt: skip
    cost.set_defaults(run=_cost)
    return parser


def _list(arguments: argparse.Namespace) -> None:
    presets = [preset(name) for name in preset_names()]
    if arguments.json:
        records = {
            entry.name: {
                "description": entry.description,
                "patch": entry.patch,
                "config": entry.config.to_dict(),
            }
            for entry in presets
        }
        print(json.dumps(records))
        return
    width = max(len(entry.name) for entry in presets)
    for entry in presets:
        print(f"{entry.name:<{width}}  {_size(entry):>11}  {entry.description}")


def _size(entry: Preset) -> str:
    return "x".join(str(edge) for edge in entry.patch)


def _cost(arguments: argparse.Namespace) -> None:
    chosen = preset(arguments.preset)
    patch = chosen.config.check_patch(arguments.patch or chosen.patch)
    # Loads torch, hence only here and only once the arguments are known to be right.
    from flare_nets.cost import count_cost

    cost = count_cost(chosen.config, patch, precision=arguments.precision)
    if arguments.json:
        record = cost.to_dict()
        if not arguments.layers:
            del record["layers"]
        print(json.dumps({"preset": chosen.name, "precision": arguments.precision, **record}))
        return
    print(f"{chosen.name}: {chosen.description}")
    print(f"patch             {' x '.join(map(str, cost.patch))} voxels (z, y, x)")
    print(f"parameters        {cost.parameters / 1e6:.3f} M")
    print(f"forward pass      {cost.macs / 1e9:.4g} GMAC (multiply-accumulates, 1 MAC = 2 FLOP)")
    print(f"activations, sum  {cost.activation_bytes / 2**20:.4g} MiB ({arguments.precision})")
    print(f"activations, peak {cost.peak_bytes / 2**20:.4g} MiB without gradients")
    if arguments.layers:
        width = max(len(layer.name) for layer in cost.layers)
        for layer in cost.layers:
            shape = " x ".join(map(str, layer.shape))
            print(
                f"{layer.name:<{width}}  {layer.macs / 1e9:9.3f} GMAC  "
                f"{layer.parameters:>10} parameters  {shape}"
            )
