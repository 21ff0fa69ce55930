import pytest
import torch

from flare_train import precision as precisions
from flare_train.batches import build_batch
from flare_train.precision import autocast, build_scaler, has_bfloat16
from flare_train.state import build_state
from flare_train.update import train_step

CPU = torch.device("cpu")


def weights(state):
    return torch.cat([value.flatten() for value in state.net.state_dict().values()])


def test_two_slices_in_bfloat16_on_a_cpu_are_refused(make_config):
    with pytest.raises(ValueError, match="leaves two slices at a stage of the net"):
        build_state(make_config(precision="bfloat16", patch=(4, 12, 12)))
    build_state(make_config(precision="float32", patch=(4, 12, 12)))
    build_state(make_config(precision="bfloat16", patch=(2, 12, 12)), device="meta")


def test_gradient_in_bfloat16_does_not_depend_on_what_memory_held(cases, make_config):
    config = make_config(precision="bfloat16")
    batch = build_batch(cases, config, 0)
    results = []
    for _ in range(4):
        _ = [torch.full((size,), float("nan")) for size in range(100, 4000, 100)]
        state = build_state(config)
        train_step(state, batch, config)
        results.append(weights(state))
    assert all(torch.equal(result, results[0]) for result in results)


@pytest.mark.parametrize(
    ("precision", "kind"),
    [("float32", None), ("bfloat16", torch.bfloat16), ("float16", torch.float16)],
)
def test_context_and_scaler(make_config, precision, kind, monkeypatch):
    monkeypatch.setattr(precisions, "has_bfloat16", lambda: True)
    config = make_config(precision=precision)
    with autocast(config, CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (kind or torch.float32)
    assert (build_scaler(config, CPU) is not None) == (precision == "float16")


def test_a_processor_without_bfloat16_computes_in_float32(make_config, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    assert not has_bfloat16()
    with autocast(make_config(precision="bfloat16"), CPU):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx512_bf16": True})
    assert has_bfloat16()
