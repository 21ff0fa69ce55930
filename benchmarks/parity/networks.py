"""Compare flare-nets with dynamic_network_architectures, the networks of nnU-Net v2.

``python benchmarks/parity/networks.py --peer PEER_PYTHON`` runs both libraries in the peer's
interpreter: torch is there, and flare_nets is imported from its source folder. For every net the
peer's weights are imported strictly; all outputs (single and, for small nets, double precision) and
the gradients of a loss over them are compared; the weights are exported and loaded strictly into a
fresh peer; unique parameters are counted. As a control, outputs are compared once more with one
weight of ours changed by a tenth, and must then differ. Exit code 1 when a net differs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

SOURCE = Path(__file__).resolve().parents[2] / "packages" / "flare-nets" / "src"
TOLERANCE = 1e-5
# Gradients of weights sum over all voxels: they are compared relative to their largest entry.
GRADIENT_TOLERANCE = 1e-4


@dataclass(frozen=True, kw_only=True)
class Case:
    """One net as nnU-Net plans describe it, with an input size (z, y, x)."""

    name: str
    network: str
    kwargs: dict[str, object]
    patch: tuple[int, int, int]
    in_channels: int = 1
    out_channels: int = 3
    batch: int = 2
    double: bool = True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="interpreter that has dynamic_network_architectures")
    arguments = parser.parse_args()
    if arguments.peer is None:
        return compare_all()
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    return subprocess.run([arguments.peer, __file__], env=environment, check=False).returncode


def compare_all() -> int:
    from importlib.metadata import version

    import torch

    print(f"torch {version('torch')}, peer {version('dynamic-network-architectures')}")
    print(
        f"{'net':<34}{'parameters':>12}{'outputs':>9}"
        f"{'float32':>11}{'float64':>11}{'gradients':>11}{'control':>10}"
    )
    torch.manual_seed(0)
    failures = 0
    for case in cases():
        row, passed = compare(case)
        print(f"{row}{'' if passed else '   DIFFERS'}", flush=True)
        failures += not passed
    print("all equal" if not failures else f"{failures} nets differ")
    return int(failures > 0)


def compare(case: Case) -> tuple[str, bool]:
    import torch

    from flare_nets.adapters import export_weights, import_weights
    from flare_nets.build import build_net
    from flare_nets.plans import config_from_plans

    plans = {"configurations": {"3d_fullres": {"architecture": {
        "network_class_name": case.network, "arch_kwargs": case.kwargs}}}}  # fmt: skip
    config = config_from_plans(
        plans, "3d_fullres", in_channels=case.in_channels, out_channels=case.out_channels
    )
    peer = build_peer(case)
    scatter(peer)
    ours = build_net(config, device="meta")
    imported = import_weights(peer.state_dict(), config, layout="nnunet-v2")
    # Copies: the peer's own must not see what training mode does to ours.
    weights = {name: tensor.detach().clone() for name, tensor in imported.weights.items()}
    ours.load_state_dict(weights, assign=True)
    returned = build_peer(case)
    returned.load_state_dict(export_weights(ours.state_dict(), config), strict=True)

    counts = [sum(p.numel() for p in net.parameters()) for net in (ours, peer)]
    heads = len(ours.heads)
    x = torch.randn(case.batch, case.in_channels, *case.patch)
    found = {"float32": max(difference(ours.eval(), net.eval(), x) for net in (peer, returned))}
    limits = {"float32": TOLERANCE, "float64": TOLERANCE, "gradients": GRADIENT_TOLERANCE}
    del returned
    if case.double:
        ours, peer, x = ours.double().train(), peer.double().train(), x.double()
        found["float64"] = difference(ours, peer, x)
        found["gradients"] = gradient_difference(ours, peer, config, x)
    with torch.no_grad():
        next(ours.parameters()).flatten()[0].mul_(1.1)
    control = difference(ours, peer, x)
    passed = (
        counts[0] == counts[1]
        and heads == config.stages - 1
        and all(value <= limits[name] for name, value in found.items())
        and control > TOLERANCE
    )
    columns = "".join(
        f"{found[name]:>11.1e}" if name in found else f"{'-':>11}"
        for name in ("float32", "float64", "gradients")
    )
    return f"{case.name:<34}{counts[0]:>12}{heads:>9}{columns}{control:>10.1e}", passed


def build_peer(case: Case):
    from nnunetv2.utilities.get_network_from_plans import get_network_from_plans

    needs_import = ("conv_op", "norm_op", "dropout_op", "nonlin")
    return get_network_from_plans(
        case.network, case.kwargs, needs_import, case.in_channels, case.out_channels,
        deep_supervision=True,
    )  # fmt: skip


def scatter(net) -> None:
    """Move every weight and statistic off its start, where many are 0 or 1 and hide mistakes."""
    import torch

    with torch.no_grad():
        for name, tensor in net.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point() and tensor.ndim == 1:
                tensor.add_(0.3 * torch.randn_like(tensor))


def difference(ours, peer, x) -> float:
    """Return the largest difference over all outputs; the shapes must be equal."""
    import torch

    with torch.no_grad():
        mine, theirs = ours.forward_all(x), peer(x)
        if [output.shape for output in mine] != [output.shape for output in theirs]:
            return float("inf")
        if not torch.equal(ours(x), mine[0]):
            return float("inf")
    return max(float((a - b).abs().max()) for a, b in zip(mine, theirs, strict=True))


def gradient_difference(ours, peer, config, x) -> float:
    """Return the largest difference of a gradient, relative to the largest entry of its tensor."""
    from flare_nets.adapters import import_weights

    for outputs in (ours.forward_all(x), peer(x)):
        sum((output.square().mean() for output in outputs), start=0.0).backward()
    gradients = {name: p.grad for name, p in peer.named_parameters(remove_duplicate=False)}
    # A convolution bias in front of a normalization has a gradient of zero but for rounding.
    floor = 1e-6 * max(float(gradient.abs().max()) for gradient in gradients.values())
    theirs = import_weights(gradients, config, layout="nnunet-v2", strict=False).weights
    worst = 0.0
    for name, parameter in ours.named_parameters():
        scale = max(float(theirs[name].abs().max()), floor)
        worst = max(worst, float((parameter.grad - theirs[name]).abs().max()) / scale)
    return worst


PLAIN = "dynamic_network_architectures.architectures.unet.PlainConvUNet"
RESIDUAL = "dynamic_network_architectures.architectures.unet.ResidualEncoderUNet"


def kwargs(features, kernels, strides, count_key, counts, decoder, **changes) -> dict[str, object]:
    return {
        "n_stages": len(features), "features_per_stage": features, "kernel_sizes": kernels,
        "strides": strides, count_key: counts, "n_conv_per_stage_decoder": decoder,
        "conv_op": "torch.nn.modules.conv.Conv3d", "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
        "norm_op_kwargs": {"eps": 1e-5, "affine": True}, "dropout_op": None,
        "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True}, **changes,
    }  # fmt: skip


def cases() -> list[Case]:
    one, two, plane, cube, flat = [1] * 3, [2] * 3, [1, 2, 2], [3] * 3, [1, 3, 3]
    features, cubes, twos = [8, 16, 32, 32], [cube] * 4, [one, two, two, two]
    flats, planes = [flat, [3, 5, 3], cube, [1, 1, 3]], [one, plane, [2, 1, 2], plane]
    batch = {"norm_op": "torch.nn.modules.batchnorm.BatchNorm3d"}
    plain, blocks = "n_conv_per_stage", "n_blocks_per_stage"
    small = (16, 24, 32)
    varied = kwargs(features, flats, planes, plain, [1, 3, 2, 2], [3, 2, 1])
    mixed = kwargs(features, flats, planes, blocks, [1, 2, 3, 1], [1, 2, 3])
    isotropic = Case(
        name="plain, isotropic", network=PLAIN, patch=small,
        kwargs=kwargs(features, cubes, twos, plain, [2] * 4, [2] * 3),
    )  # fmt: skip
    residual = Case(
        name="residual, isotropic", network=RESIDUAL, patch=small,
        kwargs=kwargs(features, cubes, twos, blocks, [1, 3, 2, 2], [1] * 3),
    )  # fmt: skip
    full, tails = [32, 64, 128, 256, 320, 320], [one, two, two, two, two, plane]
    return [
        isotropic,
        replace(isotropic, name="plain, 3 channels in, 5 out", in_channels=3, out_channels=5),
        replace(isotropic, name="plain, anisotropic, uneven counts", kwargs=varied),
        replace(isotropic, name="plain, batch norm", kwargs={**isotropic.kwargs, **batch}),
        replace(isotropic, name="plain, no bias", kwargs={**isotropic.kwargs, "conv_bias": False}),
        residual,
        replace(residual, name="residual, anisotropic", kwargs=mixed, in_channels=2),
        replace(residual, name="residual, batch norm", kwargs={**residual.kwargs, **batch}),
        replace(residual, name="residual, no bias", kwargs={**mixed, "conv_bias": False}),
        Case(
            name="plain, nnU-Net default (30.79 M)", network=PLAIN, patch=(32, 32, 64),
            out_channels=2, batch=1, double=False,
            kwargs=kwargs(full, [cube] * 6, tails, plain, [2] * 6, [2] * 5),
        ),
        Case(
            name="residual encoder M (101.940 M)", network=RESIDUAL, patch=(32, 32, 64),
            out_channels=2, batch=1, double=False,
            kwargs=kwargs(full, [cube] * 6, tails, blocks, [1, 3, 4, 6, 6, 6], [1] * 5),
        ),
    ]  # fmt: skip


if __name__ == "__main__":
    raise SystemExit(main())
