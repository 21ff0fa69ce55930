from dataclasses import replace

import numpy as np
import pytest

from flare_infer import network_memory as module
from flare_infer.backends.choice import Choice
from flare_infer.network_memory import library_of, network_memory
from flare_nets.cost import count_cost
from flare_nets.presets import preset

MIB = 2**20
SWIFT = preset("swift").config
PATCH = (32, 128, 192)
# One channel of this patch.
CHANNEL = 3
TORCH = Choice(device="cpu", backend="torch")


def openvino(precision):
    return library_of(Choice(device="cpu", backend="openvino", precision=precision), "fast")


def wide(features):
    return replace(SWIFT, features=tuple(features * 2**k for k in range(4)))


@pytest.mark.parametrize("patch", [(32, 128, 192), (64, 96, 96)])
@pytest.mark.parametrize("features", [24, 32])
def test_activations_are_those_that_torch_would_hold(patch, features):
    counted = count_cost(wide(features), patch).peak_bytes / MIB
    memory = network_memory(wide(features), patch, library_of(TORCH, "fast"))
    assert memory.held_mib == 0
    assert memory.passing_mib - 45 == pytest.approx(counted, rel=0.02)


def test_torch_copies_in_the_default_order_of_channels():
    exact, fast = (library_of(TORCH, mode) for mode in ("exact", "fast"))
    # Input, output and normalized output, the first two of them twice.
    assert network_memory(wide(24), PATCH, exact).passing_mib == 6 * 24 * CHANNEL + 70
    assert network_memory(wide(24), PATCH, fast).passing_mib == 4 * 24 * CHANNEL + 45
    # Narrow nets take what a net of 16 features takes, or of 24.
    assert network_memory(wide(8), PATCH, exact).passing_mib == 6 * 16 * CHANNEL + 70
    assert network_memory(wide(8), PATCH, fast).passing_mib == 4 * 24 * CHANNEL + 45


def test_openvino_keeps_activations_and_holds_logits_twice():
    memory = network_memory(SWIFT, PATCH, openvino("float32"))
    assert (memory.held_mib, memory.passing_mib) == (4 * 24 * CHANNEL, 2 * 15 * CHANNEL)
    memory = network_memory(SWIFT, PATCH, openvino("bfloat16"))
    # Logits are float32 all the same.
    assert (memory.held_mib, memory.passing_mib) == (4 * 24 * CHANNEL / 2, 2 * 15 * CHANNEL)


@pytest.mark.parametrize(("capable", "share"), [(True, 0.5), (False, 1)])
def test_int8_keeps_what_norms_are_computed_in(monkeypatch, capable, share):
    monkeypatch.setattr(module, "has_bfloat16", lambda: capable)
    memory = network_memory(SWIFT, PATCH, openvino("int8"))
    assert memory.held_mib == 4 * 24 * CHANNEL * share


def test_a_deeper_level_can_be_the_largest():
    # At the second level, of a quarter of the voxels, 100 features; above it the skip of 8.
    net = replace(SWIFT, features=(8, 100, 16, 16))
    memory = network_memory(net, PATCH, openvino("float32"))
    assert memory.held_mib == (4 * 100 / 4 + 8) * CHANNEL


def test_many_classes_count():
    few, many = (
        network_memory(replace(SWIFT, out_channels=n), PATCH, library_of(TORCH, "fast"))
        for n in (4, 400)
    )
    assert few.passing_mib == 4 * 24 * CHANNEL + 45
    assert many.passing_mib == (24 + 2 * 400) * CHANNEL + 45


def test_memory_grows_with_the_window():
    sizes = [
        network_memory(SWIFT, (planes, 128, 192), openvino("float32")).held_mib
        for planes in (32, 64, 128)
    ]
    assert np.allclose(np.divide(sizes, sizes[0]), (1, 2, 4))


def test_a_mode_without_a_backend_is_refused():
    with pytest.raises(ValueError, match="mode exact needs backend torch"):
        library_of(Choice(device="cpu", backend="openvino"), "exact")
