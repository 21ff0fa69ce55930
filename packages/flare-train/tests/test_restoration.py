import dataclasses

import pytest
import torch

from flare_nets.build import build_net
from flare_train.config import GenesisConfig
from flare_train.loop import fit
from flare_train.records import read_records
from flare_train.restoration import validate_restoration
from flare_train.stored_case import StoredCase


@pytest.fixture
def config(make_config):
    net = dataclasses.replace(make_config().net, out_channels=1)
    return make_config(task="restore", net=net, genesis=GenesisConfig(window_hu=(-4.0, 4.0)))


class Constant(torch.nn.Module):
    """A net that says sigmoid(0) = 1/2 everywhere."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, images):
        return images * 0


def flat_case(id, value, shape=(8, 12, 12)):
    image = torch.full((1, *shape), value).numpy()
    return StoredCase.from_arrays(id, image, None, spacing_mm=(3.0, 2.0, 2.0))


def test_loss_of_a_constant_by_hand(config):
    # Values -4 and 2 in the window -4..4 are 0 and 3/4; 1/2 is off by 1/2 and 1/4.
    cases = [flat_case("a", -4.0), flat_case("b", 2.0)]
    loss = validate_restoration(Constant(), cases, config)
    assert loss == pytest.approx((0.25 + 0.0625) / 2, abs=1e-6)


def test_same_every_time_and_smaller_cases_are_padded(config):
    net = build_net(config.net, generator=torch.Generator().manual_seed(0))
    cases = [flat_case("a", 1.0), flat_case("b", 0.5, shape=(5, 20, 7))]
    first = validate_restoration(net, cases, config)
    assert validate_restoration(net, cases, config) == first
    assert not net.training


def test_stops_between_cases(config):
    answers = iter([False, True])
    cases = [flat_case("a", 1.0), flat_case("b", 0.5)]
    found = validate_restoration(Constant(), cases, config, should_stop=lambda: next(answers))
    assert found is None


def test_pre_training_learns_without_labels_and_starts_a_training(
    tmp_path, cases, validation, config, make_config
):
    unlabeled = [
        dataclasses.replace(case, labels=case.labels * 0, annotated=frozenset(), voxels={})
        for case in cases
    ]
    config = dataclasses.replace(config, epochs=12, iterations_per_epoch=10, keep_best=True)
    result = fit(config, unlabeled, tmp_path / "pre", validation=validation)
    records = read_records(tmp_path / "pre" / "metrics.jsonl")
    assert records[-1]["loss"] < 0.8 * records[0]["loss"]
    scored = [record for record in records if "restoration" in record]
    assert scored[-1]["score"] == -scored[-1]["restoration"]
    assert scored[-1]["restoration"] < scored[0]["restoration"]
    assert (tmp_path / "pre" / "progress.png").is_file()
    later = make_config(start=str(result.checkpoint), start_parts="body", epochs=1)
    assert fit(later, cases, tmp_path / "later").records[0]["epoch"] == 1
