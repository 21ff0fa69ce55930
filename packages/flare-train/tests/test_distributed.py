"""Two gloo processes with half the batch each against one process with all of it."""

import json
import os
import signal
import time

import pytest
import torch

from flare_train.checkpoint import find_checkpoints
from flare_train.config import GenesisConfig, LossConfig, OptimizerConfig
from flare_train.distributed import ALONE, World, join_world
from flare_train.errors import DivergedError, StoppedError
from flare_train.loop import fit
from flare_train.records import read_records
from flare_train.snapshots import read_weights


def end_of(children):
    """Wait for all; as torchrun does, end the others soon after one has failed."""
    codes, failed_at = {}, None
    while len(codes) < len(children):
        for child in children:
            done, status = (0, 0) if child in codes else os.waitpid(child, os.WNOHANG)
            if done:
                codes[child] = os.waitstatus_to_exitcode(status)
                if codes[child] and failed_at is None:
                    failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() > failed_at + 20:
            for child in children:
                if child not in codes:
                    os.kill(child, signal.SIGKILL)
        time.sleep(0.02)
    return [codes[child] for child in children]


@pytest.fixture
def torchrun(fork):
    """Return a function that runs an action in processes with torchrun's environment."""

    def run(action, *, size=2):
        store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)

        def ranked(rank):
            os.environ |= {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
                "TORCHELASTIC_RESTART_COUNT": "0",
            }
            return action(rank)

        children = [fork(lambda rank=rank: ranked(rank)) for rank in range(size)]
        return end_of(children)

    return run


def losses(folder):
    return [record["loss"] for record in read_records(folder / "metrics.jsonl")]


def final_weights(folder):
    return read_weights(find_checkpoints(folder / "checkpoints")[0])


VARIANTS = {
    "sample Dice": {},
    "batch Dice": {"loss": LossConfig(batch_dice=True)},
    "partial": {"loss": LossConfig(partial="marginal")},
    "accumulated, averaged": {"accumulate": 2, "ema_decay": 0.9},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_same_loss_curve_as_one_process(
    tmp_path, torchrun, cases, validation, make_case, make_config, name
):
    # Plain SGD: AdamW turns a rounding error in a gradient near 0 into a step of full length.
    config = make_config(
        batch=4, epochs=2, optimizer=OptimizerConfig(momentum=0.9), **VARIANTS[name]
    )
    if name == "partial":
        cases = [*cases, make_case(7, annotated=(1,)), make_case(8, annotated=(14,))]
    alone, together = tmp_path / "alone", tmp_path / "together"
    fit(config, cases, alone, validation=validation)

    def train(rank):
        result = fit(config, cases, together, validation=validation)
        assert result.checkpoint == find_checkpoints(together / "checkpoints")[0]

    assert torchrun(train) == [0, 0]
    assert losses(together) == pytest.approx(losses(alone), rel=2e-4)
    dice = [read_records(folder / "metrics.jsonl")[1]["dice"] for folder in (alone, together)]
    assert dice[1] == pytest.approx(dice[0], abs=0.01)
    for name, value in final_weights(alone).items():
        torch.testing.assert_close(final_weights(together)[name], value, atol=2e-4, rtol=1e-3)


def test_restoring_is_shared_too(tmp_path, torchrun, cases, validation, make_config):
    net = make_config().net
    config = make_config(
        task="restore",
        net=type(net).from_dict({**net.to_dict(), "out_channels": 1}),
        genesis=GenesisConfig(window_hu=(-4.0, 4.0)),
        epochs=2,
        optimizer=OptimizerConfig(momentum=0.9, learning_rate=0.1),
    )
    alone, together = tmp_path / "alone", tmp_path / "together"
    fit(config, cases, alone, validation=validation)
    assert torchrun(lambda _: fit(config, cases, together, validation=validation) and 0) == [0, 0]
    assert losses(together) == pytest.approx(losses(alone), rel=1e-5)
    found = [read_records(folder / "metrics.jsonl")[-1] for folder in (alone, together)]
    assert found[1]["restoration"] == pytest.approx(found[0]["restoration"], rel=1e-4)


def test_a_signal_to_one_stops_all_and_they_go_on(tmp_path, torchrun, cases, make_config):
    import flare_train.loop as loop

    config = make_config(epochs=2)

    def train(rank):
        step = loop.train_step

        def signaling(state, *given, **options):
            loss = step(state, *given, **options)
            if rank == 1 and state.iteration == 3:
                signal.raise_signal(signal.SIGTERM)
            return loss

        loop.train_step = signaling
        try:
            fit(config, cases, tmp_path)
        except StoppedError as error:
            assert "SIGTERM at iteration 3 of 10" in str(error)
            return error.exit_code

    assert torchrun(train) == [75, 75]
    assert [path.stem for path in find_checkpoints(tmp_path / "checkpoints")] == [
        "checkpoint_000000003"
    ]
    assert torchrun(lambda _: fit(config, cases, tmp_path) and 0) == [0, 0]
    assert [record["iteration"] for record in read_records(tmp_path / "metrics.jsonl")] == [5, 10]


def test_what_is_not_finite_stops_all(tmp_path, torchrun, cases, make_config):
    import dataclasses

    config = make_config()
    broken = [dataclasses.replace(case, image=case.image * float("inf")) for case in cases]

    def train(rank):
        try:
            fit(config, broken, tmp_path)
        except DivergedError as error:
            (tmp_path / f"{rank}.json").write_text(json.dumps(error.case_ids))
            return 3

    assert torchrun(train) == [3, 3]
    ids = [json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2)]
    assert ids[0] == ids[1]
    assert len(ids[0]) == config.batch


def test_batch_that_cannot_be_shared_is_refused(tmp_path, torchrun, cases, make_config):
    def train(rank):
        try:
            fit(make_config(batch=3), cases, tmp_path)
        except ValueError as error:
            assert "batch must be a multiple of processes x accumulate, 2 x 1, got 3" in str(error)
            assert "set batch to 4" in str(error)
            return 2

    assert torchrun(train) == [2, 2]


def test_world_of_two(torchrun):
    def ask(rank):
        with join_world() as world:
            assert (world.rank, world.size, world.is_first) == (rank, 2, rank == 0)
            assert world.any(rank == 1)
            assert not world.any(False)
            assert world.gather(rank * 10) == [0, 10]
            assert world.share("first" if rank == 0 else "second") == "first"
            assert world.mean(torch.tensor(float(rank))).item() == 0.5
            with join_world() as inner:
                assert inner == world
            # The inner one has left the group alone.
            assert world.gather(1) == [1, 1]
        assert not torch.distributed.is_initialized()

    assert torchrun(ask) == [0, 0]


def test_alone_nothing_is_asked():
    with join_world("cpu") as world:
        assert world == World(0, 1, torch.device("cpu")) == ALONE
        assert (world.any(True), world.any(False)) == (True, False)
        assert (world.gather(3), world.share(4)) == ([3], 4)
        value = torch.ones(2, requires_grad=True)
        assert not world.mean(value).requires_grad
    assert not torch.distributed.is_initialized()
