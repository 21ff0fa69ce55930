import pytest
import torch

from flare_nets.errors import WeightsError
from flare_train.snapshots import save_weights
from flare_train.state import build_state


def weights(state):
    return torch.cat([value.flatten() for value in state.net.state_dict().values()])


def test_seed_alone_decides_the_weights(make_config):
    torch.manual_seed(1)
    first = build_state(make_config())
    torch.manual_seed(2)
    assert torch.equal(weights(first), weights(build_state(make_config(batch=4))))
    assert not torch.equal(weights(first), weights(build_state(make_config(seed=1))))


def test_start_gives_the_weights_but_not_the_heads(tmp_path, make_config):
    source = build_state(make_config(seed=5)).net
    path = tmp_path / "start.safetensors"
    save_weights(path, source.state_dict(), {"epoch": 1})
    same = build_state(make_config(start=str(path)))
    assert torch.equal(
        weights(same), torch.cat([v.flatten() for v in source.state_dict().values()])
    )
    fresh = build_state(make_config()).net
    stripped = build_state(make_config(start=str(path), start_parts="body")).net
    assert torch.equal(stripped.encoder[0][0].conv.weight, source.encoder[0][0].conv.weight)
    assert torch.equal(stripped.heads[0].weight, fresh.heads[0].weight)
    # A run that goes on needs the file no more.
    path.unlink()
    assert torch.equal(
        weights(build_state(make_config(start=str(path)), resumes=True)),
        weights(build_state(make_config())),
    )


def test_start_of_another_net_is_refused(tmp_path, make_config):
    net = make_config().net
    wide = type(net).from_dict({**net.to_dict(), "features": [4, 16]})
    path = tmp_path / "start.safetensors"
    save_weights(path, build_state(make_config(net=wide)).net.state_dict(), {"epoch": 1})
    with pytest.raises(WeightsError, match="do not fit the net"):
        build_state(make_config(start=str(path)))


def test_what_the_settings_ask_for_is_there(make_config):
    plain = build_state(make_config())
    assert (plain.average, plain.scaler, plain.judged) == (None, None, plain.net)
    full = build_state(make_config(ema_decay=0.9, precision="float16"))
    assert full.judged is full.average
    assert full.scaler is not None
