import pytest
import torch

from flare_nets.build import build_net
from flare_train.ema import average_of, update_average


@pytest.fixture
def nets(config):
    net = build_net(config.net, generator=torch.Generator().manual_seed(0))
    return net, average_of(net)


def test_average_is_a_copy_without_gradient(nets):
    net, average = nets
    weight = next(net.parameters())
    copied = next(average.parameters())
    assert torch.equal(copied, weight)
    assert copied.data_ptr() != weight.data_ptr()
    assert not any(each.requires_grad for each in average.parameters())
    assert all(each.requires_grad for each in net.parameters())


# min(0.9, (1 + n) / (10 + n)): 0.1, 2/11, 3/12; from n = 80 on 81/90 = 0.9.
@pytest.mark.parametrize(("updates", "share"), [(0, 0.1), (1, 2 / 11), (2, 0.25), (500, 0.9)])
def test_share_of_the_old_average(nets, updates, share):
    net, average = nets
    with torch.no_grad():
        for old, new in zip(average.parameters(), net.parameters(), strict=True):
            old.fill_(2.0)
            new.fill_(10.0)
    update_average(average, net, decay=0.9, updates=updates)
    for value in average.parameters():
        torch.testing.assert_close(value.data, torch.full_like(value, 2 * share + 10 * (1 - share)))
