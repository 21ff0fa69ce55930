import copy

import numpy as np
import pytest
import torch

from flare_infer.device.member import DeviceMember, stays_on_device
from flare_infer.device.storage import device_member, storage_of, stored_net
from flare_infer.heads import Head
from flare_infer.windows import WindowPlan
from flare_nets.build import build_net

from .conftest import random_weights, tiny_net
from .device_cases import PlaceNet, description, host_net, member_of, preparation_of

HEAD = Head(labels=(0, 1, 3, 14), rivals=(0, 1, 2, 3))


def loaded_net():
    config = tiny_net()
    net = build_net(config, initialization="none")
    net.load_state_dict(random_weights(config))
    return net.eval().requires_grad_(False)


def window_of(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(1, 1, *shape)).astype(np.float32)


def test_a_stored_net_is_the_same_function_of_a_window():
    net, window = loaded_net(), torch.from_numpy(window_of(8, 16, 16))
    expected = net(window)
    stored = stored_net(copy.deepcopy(net), torch.float32)
    found = stored(window.contiguous(memory_format=torch.channels_last_3d))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_weights_have_channels_innermost_and_norms_leave_what_flows_so():
    stored = stored_net(loaded_net(), torch.float16)
    for weight in stored.parameters():
        if weight.ndim == 5:
            assert weight.is_contiguous(memory_format=torch.channels_last_3d)
    norm = stored.encoder[0][0].norm
    values = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 4, 3, 5, 6))).half()
    found = norm(values.contiguous(memory_format=torch.channels_last_3d))
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    mean, variance = (values.double().mean((2, 3, 4)), values.double().var((2, 3, 4), correction=0))
    expected = (values - mean[..., None, None, None]) / (
        variance[..., None, None, None] + 1e-5
    ).sqrt()
    expected = expected * norm.weight[:, None, None, None] + norm.bias[:, None, None, None]
    # Statistics of 90 float16 numbers in float32: what is left is the last bit of float16.
    torch.testing.assert_close(found.double(), expected.double(), rtol=2**-10, atol=2**-12)


@pytest.mark.parametrize(("storage", "near"), [(torch.float16, 2**-7), (torch.bfloat16, 2**-4)])
def test_half_storage_is_near_and_its_norms_are_float32(storage, near):
    net, window = loaded_net(), torch.from_numpy(window_of(8, 16, 16))
    expected = net(window)
    stored = stored_net(copy.deepcopy(net), storage)
    found = stored(window.to(storage))
    assert found.dtype == storage_of(stored) == storage
    difference = (found.float() - expected).abs().max() / expected.abs().max()
    assert 0 < difference < near
    kinds = {name: weight.dtype for name, weight in stored.named_parameters()}
    assert {kind for name, kind in kinds.items() if ".norm." in name} == {torch.float32}
    assert {kind for name, kind in kinds.items() if ".norm." not in name} == {storage}


def test_float16_is_nearer_than_bfloat16():
    net, window = loaded_net(), torch.from_numpy(window_of(8, 16, 16))
    expected = net(window)
    errors = [
        (stored_net(copy.deepcopy(net), kind)(window.to(kind)).float() - expected).abs().max()
        for kind in (torch.float16, torch.bfloat16)
    ]
    assert errors[0] * 2 < errors[1]


def test_norms_take_one_window_at_a_time():
    stored = stored_net(loaded_net(), torch.float32)
    with pytest.raises(ValueError, match="x must hold one window, got 2"):
        stored(torch.zeros(2, 1, 8, 16, 16))


def test_a_member_waits_on_the_host_and_answers_in_numpy():
    net, window = loaded_net(), window_of(8, 16, 16)
    expected = host_net(net)(window)
    member = device_member(net, "cpu")
    assert member._module is None
    logits = member(window)
    assert logits.dtype == np.float32
    np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert member.module is member.module
    half = device_member(loaded_net(), "cpu", storage=torch.bfloat16)
    assert storage_of(half.module) == torch.bfloat16
    assert half(window).dtype == np.float32


def test_a_net_is_settled_once():
    settled = []

    def settle():
        settled.append(1)
        return PlaceNet(2)

    member = DeviceMember(settle, lambda module, windows: windows, "cpu")
    assert settled == []
    assert member.module is member.module
    assert settled == [1]


def test_what_decides_voxel_by_voxel_stays_on_the_device():
    same = preparation_of((8, 8, 8), (8, 8, 8))
    finer = preparation_of((8, 8, 8), (16, 16, 16))
    spec = description(WindowPlan(patch=(4, 4, 4)), HEAD)
    members = [member_of(PlaceNet(4))]

    def stays(nets=members, spec=spec, preparation=finer, mode="fast"):
        return stays_on_device(nets, spec, preparation, mode=mode)

    assert stays()
    assert not stays(mode="exact")
    assert not stays(nets=[*members, host_net(PlaceNet(4))])
    rows = WindowPlan(patch=(4, 4, 4), layout="flare22")
    assert not stays(spec=description(rows, HEAD))
    windows = spec.windows
    assert not stays(spec=description(windows, HEAD, order="decide-resample"))
    assert not stays(spec=description(windows, HEAD, components=object()))
    cubic = description(windows, HEAD)
    object.__setattr__(cubic.preprocessing, "logits_order", 3)
    assert not stays(spec=cubic)
    assert stays(spec=cubic, preparation=same)
