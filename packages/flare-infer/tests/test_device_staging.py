import numpy as np
import pytest
import torch

from flare_infer.device.place import Mark, Place
from flare_infer.device.staging import LabelDownload, Staging


def test_the_cpu_has_nothing_to_wait_for():
    place = Place.open("cpu")
    assert (place.is_cuda, place.compute, place.pool) == (False, None, None)
    assert place.mark() == Mark()
    place.order(place.mark())
    place.mark().wait()
    place.wait()
    with place.allocating():
        assert torch.is_inference_mode_enabled()
    assert not torch.is_inference_mode_enabled()
    assert not place.host_buffer((2,), torch.uint8).is_pinned()


def test_planes_come_in_two_buffers_in_turn():
    staging = Staging(Place.open("cpu"), (3, 1, 2, 2))
    sent = []
    for number in range(4):
        buffer = staging.to_fill()
        buffer[:] = number
        with staging.sent(2) as planes:
            sent.append(planes)
            assert planes.shape == (2, 1, 2, 2)
            assert (planes == number).all()
    # The buffer of two turns ago is used again.
    assert [int(each[0, 0, 0, 0]) for each in sent] == [2, 3, 2, 3]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_come_back_with_their_bits(dtype):
    labels = LabelDownload(Place.open("cpu"), (3, 2, 2), np.dtype(dtype))
    values = [0, 200, 255] if dtype == np.uint8 else [0, 40000, 65535]
    slabs = []
    for value in values:
        target = labels.to_fill(2)
        assert target.shape == (2, 2, 2)
        target.copy_(torch.from_numpy(np.full((2, 2, 2), value, dtype).view(
            np.uint8 if dtype == np.uint8 else np.int16
        )))  # fmt: skip
        slabs.append(labels.send(2, Mark()))
        slabs[-1].windows.wait()
        assert slabs[-1].labels().dtype == dtype
        assert (slabs[-1].labels() == value).all()
    assert [slab.labels()[0, 0, 0] for slab in slabs] == [values[2], values[1], values[2]]


class Stream:
    """A stream that keeps what it is told to wait for."""

    def __init__(self):
        self.waited = []

    def wait_event(self, event):
        self.waited.append(event)


def test_streams_wait_for_one_another_and_the_host_for_none(monkeypatch):
    """The order of a GPU's copies, with streams that only write down what they are told."""
    compute, upload, download = Stream(), Stream(), Stream()
    place = Place(torch.device("cpu"), compute, upload, download)
    made, host = [], []

    class Event:
        def __init__(self, number):
            self.number = number

        def synchronize(self):
            host.append(self.number)

    def mark(self, stream=None):
        made.append(stream or compute)
        return Mark(Event(len(made)))

    monkeypatch.setattr(Place, "is_cuda", True)
    monkeypatch.setattr(Place, "working", lambda self, stream=None: torch.inference_mode())
    monkeypatch.setattr(Place, "mark", mark)
    monkeypatch.setattr(Place, "host_buffer", lambda self, shape, dtype: torch.zeros(shape))
    staging = Staging(place, (1, 1, 1, 1))
    for _ in range(3):
        staging.to_fill()
        with staging.sent(1):
            pass
    # Twice a turn a mark is made: behind the copy, and behind the work that reads it.
    assert made == [upload, compute] * 3
    assert [event.number for event in compute.waited] == [1, 3, 5]
    # The third copy goes to the first buffer again and waits until it has been read.
    assert [event.number for event in upload.waited] == [2]
    # The host fills the first buffer again when its copy, mark 1, is over.
    assert host == [1]
