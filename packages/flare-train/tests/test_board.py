import sys
from types import ModuleType

import pytest

from flare_train.board import Board

RECORD = {
    "iteration": 5,
    "loss": 0.5,
    "learning_rate": 0.01,
    "score": None,
    "dice": {"1": 0.75, "14": None},
}


class Writer:
    """What TensorBoard's SummaryWriter is asked for."""

    def __init__(self, folder, *, purge_step):
        self.calls = [("open", folder, purge_step)]
        Writer.last = self

    def add_scalar(self, name, value, step):
        self.calls.append((name, value, step))

    def flush(self):
        self.calls.append("flush")


def test_numbers_by_name(monkeypatch, tmp_path):
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    board = Board()
    board.open(tmp_path, iteration=4)
    board.add(RECORD, names={1: "liver"})
    assert Writer.last.calls == [
        ("open", str(tmp_path), 5),
        ("loss", 0.5, 5),
        ("learning_rate", 0.01, 5),
        ("dice/liver", 0.75, 5),
        "flush",
    ]


def test_closed_board_writes_nothing(tmp_path):
    Board().add(RECORD, names={})
    assert list(tmp_path.iterdir()) == []


def test_missing_package_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'flare-train\[tensorboard\]'"):
        Board().open(tmp_path, iteration=0)


def test_event_files_are_read_by_tensorboard(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = Board()
    board.open(tmp_path, iteration=0)
    board.add(RECORD, names={1: "liver"})
    events = EventAccumulator(str(tmp_path)).Reload()
    (event,) = events.Scalars("dice/liver")
    assert (event.step, event.value) == (5, 0.75)
